package fsm

import "github.com/netquorum/netquorum"

// maxRestoreBodies is up to how many encoded bytes, before and after together,
// the history keeps the documents of a restore.
const maxRestoreBodies = 1 << 20

// FromDocuments returns the state after the documents have replaced every
// document that users write, at one stroke and as the next revision. Documents
// that the cluster writes stay: members, tokens, and the placements of servers
// that still exist. So do the history and the results on record. time is in
// milliseconds since 1970.
//
// Unlike Apply it happens on one filer, whose state then replaces everyone's.
func FromDocuments(prev *State, docs []netquorum.Document, actor string, time int64) (*State, *Refusal) {
	if doc, r, ok := prev.config.Rollout(); ok && r.Open() {
		return nil, refuse(RefusedRollout, "%s is open (%s); confirm, resume or revert it before a restore", doc.Name, r.Phase)
	}
	revision := prev.revision + 1
	all := make([]netquorum.Document, 0, len(docs)+16)
	var c conditions
	keys := make(map[netquorum.Key]bool, len(docs))
	for _, d := range docs {
		c.key = d.Key()
		c.form(keys, false)
		d, err := normal(d)
		if err != nil {
			return nil, refuse(RefusedInvalid, "%v", err)
		}
		d.Revision = revision
		all = append(all, d)
	}
	if len(c.problems) > 0 {
		return nil, refuseFor(c.code, c.problems)
	}
	all = append(all, kept(prev.config, keys)...)

	config, problems := netquorum.Config{}.Change(all, nil)
	if len(problems) > 0 {
		return nil, refuseFor(RefusedInvalid, problems)
	}
	change := &Change{Revision: revision, Time: time, Actor: actor, Restore: true}
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

// kept returns the machine documents that survive a restore of documents with
// the given keys.
func kept(c netquorum.Config, keys map[netquorum.Key]bool) []netquorum.Document {
	var docs []netquorum.Document
	for d := range c.Documents() {
		if !d.Kind.Machine() {
			continue
		}
		if d.Kind == netquorum.KindPlacement &&
			!keys[netquorum.Key{Kind: netquorum.KindVirtualServer, Name: d.Name}.Fold()] &&
			!keys[netquorum.Key{Kind: netquorum.KindService, Name: d.Name}.Fold()] {
			continue
		}
		docs = append(docs, d)
	}
	return docs
}

// fillFrom completes the change that a restore makes: all that is at its
// revision, and all that is gone. It leaves out what the documents say when that
// is too much to keep.
func (c *Change) fillFrom(was, is netquorum.Config) {
	c.Documents = make([]DocumentChange, 0, is.Len())
	for d := range is.Documents() {
		if d.Revision != c.Revision {
			continue // the cluster's own, kept
		}
		dc := DocumentChange{Key: d.Key(), After: &d}
		if old, ok := was.Get(d.Kind, d.Name); ok {
			dc.Before = &old
		}
		c.Documents = append(c.Documents, dc)
	}
	for d := range was.Documents() {
		if _, ok := is.Get(d.Kind, d.Name); !ok {
			c.Documents = append(c.Documents, DocumentChange{Key: d.Key(), Before: &d})
		}
	}
	if c.Abridged = c.bodiesExceed(maxRestoreBodies); !c.Abridged {
		return
	}
	for i := range c.Documents {
		d := &c.Documents[i]
		if d.Before != nil {
			d.Before = stub(d.Key, d.Before.Revision)
		}
		if d.After != nil {
			d.After = stub(d.Key, d.After.Revision)
		}
	}
}

// bodiesExceed reports whether the encoded documents are larger than limit.
func (c *Change) bodiesExceed(limit int) bool {
	var b []byte
	for _, d := range c.Documents {
		for _, v := range []*netquorum.Document{d.Before, d.After} {
			if v == nil {
				continue
			}
			b, _ = appendSpec(b[:0], v) // what fails here fails in newPast
			if limit -= len(b); limit < 0 {
				return true
			}
		}
	}
	return false
}

// stub stands for a version of a document of which only the revision is kept.
func stub(k netquorum.Key, r netquorum.Revision) *netquorum.Document {
	return &netquorum.Document{Kind: k.Kind, Name: k.Name, Revision: r}
}
