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
func historyLimit(c netquorum.Config) int {
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

// changeOverhead is what a document change counts for beside its bodies.
const changeOverhead = 64

// A version is one document at one revision with what its encoding weighs.
type version struct {
	doc  *netquorum.Document // nil when the document did not exist
	size int
	sum  sum
}

// versionOf weighs an encoded document.
func versionOf(d *netquorum.Document, encoded []byte) version {
	return version{d, len(encoded), sumOf(encoded)}
}

// A revised is one document of a change: its versions before and after.
type revised struct {
	key           netquorum.Key
	before, after version
}

// newPast completes a change with its documents, and weighs it.
func newPast(c Change, documents []revised) past {
	c.Documents = make([]DocumentChange, len(documents))
	size := 0
	b := appendChangeHeader([]byte{itemChange}, &c)
	for i, d := range documents {
		c.Documents[i] = DocumentChange{d.key, d.before.doc, d.after.doc}
		b = appendDocumentChange(b, &c.Documents[i])
		b = d.after.sum.append(d.before.sum.append(b))
		size += changeOverhead + len(d.key.Name) + d.before.size + d.after.size
	}
	return past{&c, size, sumOf(b)}
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
