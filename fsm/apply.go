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
	w := workOn(s)
	w.index = index
	results := make([]Result, len(parts))
	for i, part := range parts {
		t, err := DecodeTransaction(part)
		if err != nil {
			return nil, nil, fmt.Errorf("index %d: transaction %d of %d: %w", index, i+1, len(parts), err)
		}
		results[i] = w.apply(&t, len(part))
	}
	return w.state(), results, nil
}

// A work is the state after some of an entry's transactions. Nobody sees it: its
// configuration is a draft, instead of the one that it was before.
type work struct {
	State
	draft *netquorum.Draft
}

func workOn(s *State) *work { return &work{*s, s.config.Draft()} }

// state is what the work has come to.
func (w *work) state() *State {
	next := w.State
	next.config = w.draft.Config()
	return &next
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
	w := workOn(s)
	result, _ := w.try(&t, len(encoded)) // on record it would be in the way of what is really applied
	return w.draft.Config(), result
}

// apply applies one transaction.
func (w *work) apply(t *Transaction, size int) Result {
	r, known := w.try(t, size)
	if !known {
		stored := r
		stored.Refusal = r.Refusal.stored()
		w.requests = w.requests.add(t.ID, stored)
	}
	return r
}

// try is apply without putting the result on record, which it reports not to be
// needed for those that are, and for transactions that cannot be.
func (w *work) try(t *Transaction, size int) (r Result, known bool) {
	if len(t.ID) > MaxID || len(t.Actor) > MaxActor {
		return Result{Revision: w.revision, Refusal: refuse(RefusedInvalid,
			"request id of %d bytes, actor of %d bytes; at most %d and %d", len(t.ID), len(t.Actor), MaxID, MaxActor)}, true
	}
	if t.ID == "" {
		return w.execute(t, size), true
	}
	if r, known = w.Result(t.ID); known {
		return r, true
	}
	return w.execute(t, size), false
}

// execute applies a transaction that is not a duplicate.
func (w *work) execute(t *Transaction, size int) Result {
	refused := Result{Revision: w.revision}
	if refused.Refusal = w.check(t, size); refused.Refusal != nil {
		return refused
	}
	change := &Change{Revision: w.revision + 1, Time: t.Time, Actor: t.Actor, Trace: t.Trace, ID: t.ID}
	if refused.Refusal = change.fill(w.draft, t); refused.Refusal != nil {
		return refused
	}
	if len(change.Documents) == 0 {
		return Result{Revision: w.revision}
	}
	if p, ok := w.puts(t, change); ok {
		w.keep(p)
		return Result{Revision: w.revision, Changed: 1}
	}
	config, problems := change.applyTo(w.draft.Config())
	if len(problems) > 0 {
		refused.Refusal = refuseFor(RefusedInvalid, problems)
		return refused
	}
	if refused.Refusal = w.checkRollout(t, change, config); refused.Refusal != nil {
		return refused
	}
	p, err := newPast(change)
	if err != nil {
		refused.Refusal = refuse(RefusedInvalid, "%v", err)
		return refused
	}
	w.draft.Set(config)
	w.keep(p)
	return Result{Revision: w.revision, Changed: len(change.Documents)}
}

// puts applies a change that puts one document of which nothing else depends, as
// most do. It has done nothing if the change is another or is refused.
func (w *work) puts(t *Transaction, change *Change) (p past, ok bool) {
	if len(change.Documents) != 1 || change.Documents[0].After == nil || concernsRollouts(change.Documents[0].Key.Kind, t.System) {
		return p, false
	}
	p, err := newPast(change)
	if err != nil || !w.draft.Put(*change.Documents[0].After) {
		return p, false
	}
	return p, true
}

// keep makes a change, which the draft has, the newest.
func (w *work) keep(p past) {
	w.revision = p.change.Revision
	w.history = w.history.add(p, historyLimit(w.draft))
}

// fill completes the change with the documents that the transaction really
// changes.
func (c *Change) fill(config *netquorum.Draft, t *Transaction) *Refusal {
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
