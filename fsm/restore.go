package fsm

import (
	"slices"

	"github.com/netquorum/netquorum"
)

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
	revision := prev.revision + 1
	next := *prev
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
	changes, err := replaced(prev.config, config, revision)
	if err != nil {
		return nil, refuse(RefusedInvalid, "%v", err)
	}
	size := 0
	for _, r := range changes {
		next.documents = next.documents.minus(r.before.sum).plus(r.after.sum)
		size += r.before.size + r.after.size
	}
	change := Change{Revision: revision, Time: time, Actor: actor, Restore: true}
	if change.Abridged = size > maxRestoreBodies; change.Abridged {
		for i := range changes {
			changes[i] = changes[i].abridged()
		}
	}
	next.config, next.revision = config, revision
	next.history = prev.history.add(newPast(change, changes), historyLimit(config))
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

// replaced lists what a restore changes: all that is at the new revision, and
// all that is gone.
func replaced(prev, next netquorum.Config, revision netquorum.Revision) ([]revised, error) {
	var changes []revised
	for d := range next.Documents() {
		if d.Revision != revision {
			continue
		}
		r := revised{key: d.Key()}
		var err error
		if r.after, err = weigh(&d); err != nil {
			return nil, err
		}
		if old, ok := prev.Get(d.Kind, d.Name); ok {
			if r.before, err = weigh(&old); err != nil {
				return nil, err
			}
		}
		changes = append(changes, r)
	}
	for d := range prev.Documents() {
		if _, ok := next.Get(d.Kind, d.Name); ok {
			continue
		}
		before, err := weigh(&d)
		if err != nil {
			return nil, err
		}
		changes = append(changes, revised{key: d.Key(), before: before})
	}
	return slices.Clip(changes), nil
}

// abridged returns the change without what the documents say.
func (r revised) abridged() revised {
	short := func(v version) version {
		if v.doc == nil {
			return version{}
		}
		return version{doc: stub(r.key, v.doc.Revision)}
	}
	return revised{r.key, short(r.before), short(r.after)}
}

// stub stands for a version of a document of which only the revision is kept.
func stub(k netquorum.Key, r netquorum.Revision) *netquorum.Document {
	return &netquorum.Document{Kind: k.Kind, Name: k.Name, Revision: r}
}
