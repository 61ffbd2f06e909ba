package store

import (
	"fmt"
	"strconv"
)

// A repair is a node that has to be opened again, and why.
type repair struct {
	node *node
	why  string
}

// check looks at the answer to an attempt to append and has a wedged node opened
// again.
func (s *Store) check(n *node, err error) {
	if n.wedged(err, s.o.Now(), 2*s.o.Timing.Election) {
		s.mend(repair{n, "a transfer of leadership never ended"})
	}
}

func (s *Store) mend(r repair) {
	select {
	case s.repairs <- r:
	default: // one is under way
	}
}

// wiped is called by raft's own goroutine, in the middle of installing a
// snapshot, so it only leaves word.
func (s *Store) wiped() {
	select {
	case s.wipes <- struct{}{}:
	default:
	}
}

// checkWiped opens the node again if it still believes in a log that it has
// deleted. When a snapshot replaces a log that was longer, raft forgets to forget
// where the log ended: it then compares what follows the snapshot with an entry
// that is gone, refuses it, and is sent the snapshot again, for ever. A node that
// is opened anew finds an empty log and goes on from the snapshot.
func (s *Store) checkWiped() {
	n := s.node.Load()
	stats := n.raft.Stats()
	last, err1 := strconv.ParseUint(stats["last_log_index"], 10, 64)
	snapshot, err2 := strconv.ParseUint(stats["last_snapshot_index"], 10, 64)
	onDisk, err3 := s.disk.LastIndex()
	if err1 == nil && err2 == nil && err3 == nil && onDisk == 0 && last > snapshot {
		s.reopen(repair{n, fmt.Sprintf("a snapshot through entry %d replaced a log through %d", snapshot, last)})
	}
}

// reopen replaces a node by a new one over the same files. What was in flight
// ends with an unknown outcome, and is proposed again.
func (s *Store) reopen(r repair) {
	s.nodeMu.Lock()
	defer s.nodeMu.Unlock()
	if s.node.Load() != r.node || s.usable() != nil {
		return
	}
	s.o.Log.Warn("opening raft again", "because", r.why)
	if err := r.node.stop(); err != nil {
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
