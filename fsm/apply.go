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
	result, _ := next.try(&t, len(encoded)) // on record it would be in the way of what is really applied
	return next.config, result
}

// apply applies one transaction to a state that is still being built.
func (s *State) apply(t *Transaction, size int) Result {
	r, known := s.try(t, size)
	if !known {
		stored := r
		stored.Refusal = r.Refusal.stored()
		s.requests = s.requests.add(t.ID, stored)
	}
	return r
}

// try is apply without putting the result on record, which it reports not to be
// needed for those that are, and for transactions that cannot be.
func (s *State) try(t *Transaction, size int) (r Result, known bool) {
	if len(t.ID) > MaxID || len(t.Actor) > MaxActor {
		return Result{Revision: s.revision, Refusal: refuse(RefusedInvalid,
			"request id of %d bytes, actor of %d bytes; at most %d and %d", len(t.ID), len(t.Actor), MaxID, MaxActor)}, true
	}
	if t.ID == "" {
		return s.execute(t, size), true
	}
	if r, known = s.Result(t.ID); known {
		return r, true
	}
	return s.execute(t, size), false
}

// execute applies a transaction that is not a duplicate.
func (s *State) execute(t *Transaction, size int) Result {
	refused := Result{Revision: s.revision}
	if refused.Refusal = s.check(t, size); refused.Refusal != nil {
		return refused
	}
	change := &Change{Revision: s.revision + 1, Time: t.Time, Actor: t.Actor, Trace: t.Trace, ID: t.ID}
	if refused.Refusal = change.fill(s.config, t); refused.Refusal != nil {
		return refused
	}
	if len(change.Documents) == 0 {
		return Result{Revision: s.revision}
	}
	config, problems := change.applyTo(s.config)
	if len(problems) > 0 {
		refused.Refusal = refuseFor(RefusedInvalid, problems)
		return refused
	}
	if refused.Refusal = s.checkRollout(t, change, config); refused.Refusal != nil {
		return refused
	}
	p, err := newPast(change)
	if err != nil {
		refused.Refusal = refuse(RefusedInvalid, "%v", err)
		return refused
	}
	s.config, s.revision = config, change.Revision
	s.history = s.history.add(p, historyLimit(config))
	return Result{Revision: s.revision, Changed: len(change.Documents)}
}

// fill completes the change with the documents that the transaction really
// changes.
func (c *Change) fill(config netquorum.Config, t *Transaction) *Refusal {
	c.Documents = make([]DocumentChange, 0, len(t.Puts)+len(t.Deletes))
	var scratch [2][1024]byte // most specs fit
	for i := range t.Puts {
		d := &t.Puts[i].Document
		d.Revision = c.Revision
		dc := DocumentChange{Key: d.Key(), After: d}
		if old, ok := config.Get(d.Kind, d.Name); ok {
			is, err := appendSpec(scratch[0][:0], d)
			if err != nil {
				return refuse(RefusedInvalid, "%v", err)
			}
			was, err := appendSpec(scratch[1][:0], &old)
			if err != nil {
				return refuse(RefusedInvalid, "%v", err)
			}
			if old.Name == d.Name && bytes.Equal(is, was) {
				continue
			}
			dc.Before = &old
		}
		c.Documents = append(c.Documents, dc)
	}
	for _, d := range t.Deletes {
		old, _ := config.Get(d.Key.Kind, d.Key.Name)
		c.Documents = append(c.Documents, DocumentChange{Key: old.Key(), Before: &old})
	}
	return nil
}

// applyTo returns the configuration after the change.
func (c *Change) applyTo(config netquorum.Config) (netquorum.Config, netquorum.Problems) {
	puts := make([]netquorum.Document, 0, len(c.Documents))
	var deletes []netquorum.Key
	for _, d := range c.Documents {
		if d.After != nil {
			puts = append(puts, *d.After)
		} else {
			deletes = append(deletes, d.Key)
		}
	}
	return config.Change(puts, deletes)
}
