package messages

import "time"

// A hint is what a filer that refused a message said about who hosts the virtual
// server. It counts for a moment only: this filer hears of placements too, and a
// server that was deleted and made again begins with small epochs.
type hint struct {
	place Place
	until time.Time
}

const hintFor = 2 * time.Second

// learn remembers what a refusal said. The caller holds mu.
func (n *Node) learn(server string, p Place) {
	if p.Epoch > n.newest(server) {
		n.hints[server] = hint{p, n.cfg.Clock.Now().Add(hintFor)}
	}
}

func (n *Node) hint(server string) Place {
	h, ok := n.hints[server]
	if ok && !n.cfg.Clock.Now().Before(h.until) {
		delete(n.hints, server)
		return Place{}
	}
	return h.place
}

// newest is the newest epoch of a server's placement that this filer has heard of.
func (n *Node) newest(server string) uint64 {
	return max(n.cfg.Hosts.Epoch(server), n.hint(server).Epoch)
}

// where says who hosts a virtual server by the newest that this filer has heard.
func (n *Node) where(server string) (Place, bool) {
	if h := n.hint(server); h.Epoch > n.cfg.Hosts.Epoch(server) {
		return h, h.Filer != ""
	}
	return n.cfg.Hosts.Host(server)
}

// A standing says whether a message for a virtual server may be handled here.
type standing uint8

const (
	hosted    standing = iota // by this filer, in the message's epoch
	unsettled                 // this filer does not know yet, or has no lease at the moment
	elsewhere                 // a later placement exists
)

// standing asks about a message. It needs no lock.
func (n *Node) standing(e *envelope) standing {
	if e.to.Server == "" {
		return hosted
	}
	if epoch, ok := n.cfg.Hosts.Hosting(e.to.Server); ok && epoch == e.epoch {
		return hosted
	}
	if n.cfg.Hosts.Epoch(e.to.Server) > e.epoch {
		return elsewhere
	}
	return unsettled
}
