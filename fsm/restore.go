package fsm

import (
	"iter"

	"github.com/netquorum/netquorum"
)

// maxRestoreBodies is up to how many encoded bytes, before and after together,
// the history keeps the documents of a restore.
const maxRestoreBodies = 1 << 20

// An Origin says where a restore comes from, for the history.
type Origin struct {
	Actor string
	Trace uint64
	Time  int64 // in milliseconds since 1970
}

// FromDocuments returns the state after the documents have replaced every
// document that users write, at one stroke and as the next revision. They are as
// EncodeTransaction leaves them. Documents that the cluster writes stay: members,
// tokens, and the placements of servers that still exist. So do the history and the
// results on record.
func FromDocuments(prev *State, docs []netquorum.Document, from Origin) (*State, *Refusal) {
	if doc, r, ok := prev.config.Rollout(); ok && r.Open() {
		return nil, refuse(RefusedRollout, "%s is open (%s); confirm, resume or revert it before a restore", doc.Name, r.Phase)
	}
	revision := prev.revision + 1
	all := make([]netquorum.Document, 0, len(docs)+16)
	var c conditions
	for _, d := range docs {
		if c.key = d.Key(); d.Kind.Machine() {
			c.machine()
		}
		d.Revision = revision
		all = append(all, d)
	}
	if len(c.problems) > 0 {
		return nil, refuseFor(c.code, c.problems)
	}
	all = append(all, kept(prev.config, docs)...)

	config, problems := netquorum.Config{}.Change(all, nil)
	if len(problems) > 0 {
		return nil, refuseFor(RefusedInvalid, problems)
	}
	change := &Change{Revision: revision, Time: from.Time, Actor: from.Actor, Trace: from.Trace, Restore: true}
	change.fillFrom(prev.config, config)
	p, err := newPast(change)
	if err != nil {
		return nil, refuse(RefusedInvalid, "%v", err)
	}
	next := *prev
	next.config, next.revision = config, revision
	next.history = prev.history.add(p, historyLimit(config))
	return &next, nil
}

// kept returns the machine documents that survive a restore of the given ones.
func kept(c netquorum.Config, docs []netquorum.Document) []netquorum.Document {
	placed := map[string]bool{} // by folded name: virtual servers and services share their names
	for _, d := range docs {
		if d.Kind == netquorum.KindVirtualServer || d.Kind == netquorum.KindService {
			placed[d.Key().Fold().Name] = true
		}
	}
	var kept []netquorum.Document
	for _, kind := range netquorum.Kinds {
		if !kind.Machine() {
			continue
		}
		for d := range c.All(kind) {
			if kind != netquorum.KindPlacement || placed[d.Key().Fold().Name] {
				kept = append(kept, d)
			}
		}
	}
	return kept
}

// fillFrom completes the change that a restore makes: all that is at its
// revision, and all that is gone. It leaves out what the documents say when that
// is too much to keep.
func (c *Change) fillFrom(was, is netquorum.Config) {
	limit := maxRestoreBodies
	for d := range c.differences(was, is) {
		limit -= d.bodies()
		if c.Abridged = limit < 0; c.Abridged {
			break
		}
	}
	// One piece of memory for the versions of all documents.
	room := make([]netquorum.Document, 0, was.Len()+is.Len())
	version := func(d netquorum.Document) *netquorum.Document {
		if d.Spec == nil {
			return nil
		}
		if c.Abridged {
			d.Spec = nil // of which only the revision is kept
		}
		room = append(room, d)
		return &room[len(room)-1]
	}
	c.Documents = make([]DocumentChange, 0, is.Len())
	var gone []DocumentChange
	for d := range c.differences(was, is) {
		dc := DocumentChange{Key: d.key(), Before: version(d.before), After: version(d.after)}
		if dc.After == nil {
			gone = append(gone, dc)
		} else {
			c.Documents = append(c.Documents, dc)
		}
	}
	c.Documents = append(c.Documents, gone...)
}

// A difference is a document before a restore and after it; the side on which
// it does not exist has no spec.
type difference struct{ before, after netquorum.Document }

// differences yields what a restore writes and removes, but not the cluster's own
// documents that it keeps.
func (c *Change) differences(was, is netquorum.Config) iter.Seq[difference] {
	return func(yield func(difference) bool) {
		for after, before := range is.Beside(was) {
			if after.Spec != nil && after.Revision != c.Revision {
				continue
			}
			if !yield(difference{before, after}) {
				return
			}
		}
	}
}

func (d difference) key() netquorum.Key {
	if d.after.Spec != nil {
		return d.after.Key()
	}
	return d.before.Key()
}

// bodies is how large the versions are, encoded.
func (d difference) bodies() (n int) {
	for _, v := range []*netquorum.Document{&d.before, &d.after} {
		if r, ok := v.Spec.(*netquorum.Record); ok {
			n += specRecordSize(r)
		} else if v.Spec != nil {
			b, _ := appendSpec(nil, v) // what fails here fails in newPast
			n += len(b)
		}
	}
	return n
}
