package fsm

import (
	"encoding/binary"
	"iter"

	"github.com/netquorum/netquorum"
)

// A Change is one past transaction that changed something.
type Change struct {
	Revision netquorum.Revision `json:"revision"`
	Time     int64              `json:"time"` // milliseconds since 1970, by the proposer's clock
	Actor    string             `json:"actor"`
	Trace    uint64             `json:"trace,omitempty"`
	ID       string             `json:"id,omitempty"`
	// Restore is set when the change replaced the whole configuration.
	Restore bool `json:"restore,omitempty"`
	// Abridged is set when the change was too large to keep: the documents
	// below then have no Spec.
	Abridged  bool             `json:"abridged,omitempty"`
	Documents []DocumentChange `json:"documents"`
}

// A DocumentChange is one document before and after; nil where it did not
// exist.
type DocumentChange struct {
	Key    netquorum.Key       `json:"key"`
	Before *netquorum.Document `json:"before,omitempty"`
	After  *netquorum.Document `json:"after,omitempty"`
}

// maxHistoryBytes bounds the bodies that the history holds, whatever the number
// of revisions that the cluster asks for.
const maxHistoryBytes = 32 << 20

// A history is the latest changes, oldest first. Their revisions have no gaps.
type history struct {
	queue queue[past]
	bytes int // encoded size of what is kept
	sum   sum
}

// A past is a change with what is needed to forget it again.
type past struct {
	change *Change
	bytes  int
	sum    sum
}

// add appends a change and forgets the oldest ones beyond limit. The newest
// stays, however large.
func (h history) add(p past, limit int) history {
	h.queue = h.queue.append(p)
	h.bytes += p.bytes
	h.sum = h.sum.plus(p.sum)
	drop := 0
	for h.queue.len()-drop > 1 && (h.queue.len()-drop > limit || h.bytes > maxHistoryBytes) {
		old := h.queue.at(drop)
		h.bytes -= old.bytes
		h.sum = h.sum.minus(old.sum)
		drop++
	}
	h.queue = h.queue.trim(drop)
	return h
}

// historyLimit is how many changes the configuration asks to keep.
func historyLimit[C interface {
	Cluster() (string, *netquorum.Cluster, bool)
}](c C) int {
	if _, cluster, ok := c.Cluster(); ok && cluster.History > 0 {
		return cluster.History
	}
	return netquorum.DefaultHistory
}

// Oldest returns the oldest revision that History still has; one more than the
// state's revision when it has none.
func (s *State) Oldest() netquorum.Revision {
	return s.revision + 1 - netquorum.Revision(s.history.queue.len())
}

// History yields the changes with revisions from..to, both included, oldest
// first. What is older than Oldest is left out. A to of zero means no end.
func (s *State) History(from, to netquorum.Revision) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		oldest := s.Oldest()
		skip := netquorum.Revision(0)
		if from > oldest {
			skip = min(from-oldest, netquorum.Revision(s.history.queue.len()))
		}
		for p := range s.history.queue.all(int(skip)) {
			if to != 0 && p.change.Revision > to || !yield(*p.change) {
				return
			}
		}
	}
}

// NetworkChanged reports whether a transaction after the revision changed a
// document that concerns the network. What the history does not tell any more
// counts as a change.
func (s *State) NetworkChanged(since netquorum.Revision) bool {
	if since+1 < s.Oldest() {
		return true
	}
	for c := range s.History(since+1, 0) {
		for _, d := range c.Documents {
			if d.Key.Kind.Network() {
				return true
			}
		}
	}
	return false
}

// newPast weighs a change that is complete.
func newPast(c *Change) (past, error) {
	var scratch [1024]byte // most changes fit
	b := appendChangeHeader(append(scratch[:0], itemChange), c)
	for i := range c.Documents {
		d := &c.Documents[i]
		b = appendDocumentChange(b, d)
		for _, v := range []*netquorum.Document{d.Before, d.After} {
			if v == nil || v.Spec == nil {
				continue
			}
			var err error
			if b, err = appendDocument(b, v); err != nil {
				return past{}, err
			}
		}
	}
	return past{c, len(b), sumOf(b)}, nil
}

// appendChangeHeader encodes all of a change but its documents.
func appendChangeHeader(b []byte, c *Change) []byte {
	b = binary.AppendUvarint(b, uint64(c.Revision))
	b = append(b, flags(c.Restore, c.Abridged))
	b = binary.AppendVarint(b, c.Time)
	b = appendString(b, c.Actor)
	b = binary.AppendUvarint(b, c.Trace)
	return appendString(b, c.ID)
}

// appendDocumentChange encodes which versions of a document a change had before
// and after it. The versions themselves are stored once each, elsewhere.
func appendDocumentChange(b []byte, d *DocumentChange) []byte {
	b = appendKey(b, d.Key)
	for _, v := range []*netquorum.Document{d.Before, d.After} {
		if v == nil {
			b = append(b, 0)
		} else {
			b = binary.AppendUvarint(b, uint64(v.Revision))
		}
	}
	return b
}
