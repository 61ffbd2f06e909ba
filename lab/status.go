package lab

import "slices"

// A NodeStatus tells how one node of a lab is.
type NodeStatus struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // switch, filer, client
	On   bool   `json:"on"`
	PID  int    `json:"pid,omitempty"` // of its init process
	// Daemon is the pid of a filer's daemon; 0 when none runs.
	Daemon int `json:"daemon,omitempty"`
	// Unplugged names the interfaces whose cables are out.
	Unplugged []string `json:"unplugged,omitempty"`
	// Part of a partitioned network that the node is in; 0 is the rest.
	Part int `json:"part,omitempty"`
	// Namespace is the node's for ip netns.
	Namespace string `json:"namespace"`
}

// Status lists the nodes in the order of the topology, filers first.
func (l *Lab) Status() ([]NodeStatus, error) {
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	var all []NodeStatus
	add := func(name, kind string) {
		n := s.Nodes[name]
		st := NodeStatus{Name: name, Kind: kind, On: n.on(), Part: n.Domain, Namespace: "nq-" + l.name + "-" + name}
		if st.On {
			st.PID = n.Init.PID
		}
		if n.Daemon.alive() {
			st.Daemon = n.Daemon.PID
		}
		for _, c := range l.topology.cables() {
			if c.owner == name && s.Unplugged[c.name] {
				st.Unplugged = append(st.Unplugged, c.iface())
			}
		}
		slices.Sort(st.Unplugged)
		all = append(all, st)
	}
	for _, m := range l.topology.Filers {
		add(m.Name, "filer")
	}
	for _, m := range l.topology.Clients {
		add(m.Name, "client")
	}
	for _, sw := range l.topology.Switches {
		add(sw.Name, "switch")
	}
	return all, nil
}
