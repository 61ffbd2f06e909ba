package store

import "fmt"

// check looks at the answer to an attempt to append and has a wedged node opened
// again.
func (s *Store) check(n *node, err error) {
	if !n.wedged(err, s.o.Now(), 2*s.o.Timing.Election) {
		return
	}
	select {
	case s.repairs <- n:
	default: // it is being done
	}
}

// reopen replaces a node by a new one over the same files. What was in flight
// ends with an unknown outcome, and is proposed again.
func (s *Store) reopen(old *node) {
	s.nodeMu.Lock()
	defer s.nodeMu.Unlock()
	if s.node.Load() != old || s.usable() != nil {
		return
	}
	s.o.Log.Warn("raft is stuck in a transfer of leadership, opening it again")
	if err := old.stop(); err != nil {
		s.o.Log.Warn("raft did not end cleanly", "err", err)
	}
	s.reigns.set("", 0)
	n, err := s.startNode()
	if err != nil {
		s.fail(fmt.Errorf("open raft again: %w", err))
		return
	}
	s.node.Store(n)
	s.look(n)
}
