package fsm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/netquorum/netquorum"
)

// Apply returns the state after a log entry, with one result for each of its
// transactions. An error means that this version cannot know what the entry
// says: the filer must stop, because going on would make it differ from the
// others.
func Apply(s *State, index uint64, entry []byte) (*State, []Result, error) {
	if index <= s.index {
		return nil, nil, fmt.Errorf("log entry %d was given after entry %d", index, s.index)
	}
	parts, err := splitEntry(entry)
	if err != nil {
		return nil, nil, fmt.Errorf("index %d: %w", index, err)
	}
	next := *s
	next.index = index
	results := make([]Result, len(parts))
	for i, part := range parts {
		t, err := DecodeTransaction(part)
		if err != nil {
			return nil, nil, fmt.Errorf("index %d: transaction %d of %d: %w", index, i+1, len(parts), err)
		}
		results[i] = next.apply(&t, len(part))
	}
	return &next, results, nil
}

// DryRun returns what the transaction would do to the state, and the
// configuration that it would leave. Nothing that it refuses needs to be
// proposed; what it accepts may still be refused once other transactions have
// come first.
func DryRun(s *State, t Transaction) (netquorum.Config, Result) {
	encoded, err := EncodeTransaction(t)
	if err != nil {
		return s.config, Result{Revision: s.revision, Refusal: refuse(RefusedInvalid, "%v", err)}
	}
	return DryRunEncoded(s, encoded)
}

// DryRunEncoded is DryRun for a transaction that is encoded already.
func DryRunEncoded(s *State, encoded []byte) (netquorum.Config, Result) {
	t, err := DecodeTransaction(encoded)
	if err != nil {
		code := RefusedInvalid
		if errors.Is(err, ErrUnsupported) {
			code = RefusedFeatureLevel
		}
		return s.config, Result{Revision: s.revision, Refusal: refuse(code, "%v", err)}
	}
	next := *s
	result := next.apply(&t, len(encoded))
	return next.config, result
}

// apply applies one transaction to a state that is still being built.
func (s *State) apply(t *Transaction, size int) Result {
	if len(t.ID) > MaxID || len(t.Actor) > MaxActor {
		return Result{Revision: s.revision, Refusal: refuse(RefusedInvalid,
			"request id of %d bytes, actor of %d bytes; at most %d and %d", len(t.ID), len(t.Actor), MaxID, MaxActor)}
	}
	if t.ID == "" {
		return s.execute(t, size)
	}
	if r, known := s.Result(t.ID); known {
		return r
	}
	r := s.execute(t, size)
	stored := r
	stored.Refusal = r.Refusal.stored()
	s.requests = s.requests.add(&request{t.ID, stored})
	return r
}

// execute applies a transaction that is not a duplicate.
func (s *State) execute(t *Transaction, size int) Result {
	refused := Result{Revision: s.revision}
	if refused.Refusal = s.check(t, size); refused.Refusal != nil {
		return refused
	}
	revision := s.revision + 1
	changes, err := s.changes(t, revision)
	if err != nil {
		refused.Refusal = refuse(RefusedInvalid, "%v", err)
		return refused
	}
	if len(changes) == 0 {
		return Result{Revision: s.revision}
	}
	puts := make([]netquorum.Document, 0, len(t.Puts))
	deletes := make([]netquorum.Key, 0, len(t.Deletes))
	documents := s.documents
	for _, c := range changes {
		if c.after.doc != nil {
			puts = append(puts, *c.after.doc)
		} else {
			deletes = append(deletes, c.key)
		}
		documents = documents.minus(c.before.sum).plus(c.after.sum)
	}
	config, problems := s.config.Change(puts, deletes)
	if len(problems) > 0 {
		refused.Refusal = refuseFor(RefusedInvalid, problems)
		return refused
	}
	s.config, s.revision, s.documents = config, revision, documents
	p := newPast(Change{Revision: revision, Time: t.Time, Actor: t.Actor, Trace: t.Trace, ID: t.ID}, changes)
	s.history = s.history.add(p, historyLimit(config))
	return Result{Revision: revision, Changed: len(changes)}
}

// changes returns the documents that the transaction really changes.
func (s *State) changes(t *Transaction, revision netquorum.Revision) ([]revised, error) {
	changes := make([]revised, 0, len(t.Puts)+len(t.Deletes))
	var spec, oldSpec, encoded []byte
	for i := range t.Puts {
		d := &t.Puts[i].Document
		d.Revision = revision
		var err error
		if spec, err = appendSpec(spec[:0], d); err != nil {
			return nil, err
		}
		c := revised{key: d.Key()}
		if old, ok := s.config.Get(d.Kind, d.Name); ok {
			if oldSpec, err = appendSpec(oldSpec[:0], &old); err != nil {
				return nil, err
			}
			if old.Name == d.Name && bytes.Equal(spec, oldSpec) {
				continue
			}
			encoded = appendDocument(append(encoded[:0], itemDocument), old.Key(), old.Revision, oldSpec)
			c.before = versionOf(&old, encoded)
		}
		encoded = appendDocument(append(encoded[:0], itemDocument), c.key, revision, spec)
		c.after = versionOf(d, encoded)
		changes = append(changes, c)
	}
	for _, del := range t.Deletes {
		old, _ := s.config.Get(del.Key.Kind, del.Key.Name)
		before, err := weigh(&old)
		if err != nil {
			return nil, err
		}
		changes = append(changes, revised{key: old.Key(), before: before})
	}
	return changes, nil
}

// weigh encodes a document to weigh it.
func weigh(d *netquorum.Document) (version, error) {
	spec, err := appendSpec(nil, d)
	if err != nil {
		return version{}, err
	}
	return versionOf(d, appendDocument([]byte{itemDocument}, d.Key(), d.Revision, spec)), nil
}
