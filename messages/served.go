package messages

// Served reports whether somebody handles a service's messages now, here and in
// this process: a handler, or a Receive that waits or has one.
func (n *Node) Served(service string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	sv := n.services[service]
	return sv != nil && sv.form() != "none"
}
