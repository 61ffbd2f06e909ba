package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/trace"
)

// apiError turns an error of the store into one of the API's. What the API
// knows already passes through.
func apiError(err error) error {
	if err == nil {
		return nil
	}
	code := api.ErrorOf(err).Code
	if code != api.ErrInternal && code != api.ErrTimeout {
		return err
	}
	for _, m := range []struct {
		is   error
		code api.Code
		says string // instead of the error's own text, which is for developers
	}{
		{syscall.ENOSPC, api.ErrDiskFull, ""},
		{store.ErrUnknownOutcome, api.ErrUnknownOutcome, "the leader was lost while the change was on its way: it may have been committed or not"},
		{store.ErrNoQuorum, api.ErrNoQuorum, noQuorum},
		{store.ErrNotLeader, api.ErrNoQuorum, noQuorum},
		{store.ErrNotMember, api.ErrUnconfigured, ""},
		{store.ErrCompacted, api.ErrCompacted, ""},
		{store.ErrTooLarge, api.ErrTooLarge, ""},
		{store.ErrDamaged, api.ErrDamaged, ""},
		{store.ErrDiskFailed, api.ErrDamaged, ""},
		{store.ErrClosed, api.ErrUnreachable, "the daemon is ending"},
		{context.DeadlineExceeded, api.ErrTimeout, ""},
	} {
		if !errors.Is(err, m.is) {
			continue
		}
		if m.says == "" {
			m.says = strings.ReplaceAll(err.Error(), "\n", "; ") // joined errors come on lines of their own
		}
		return api.Refuse(m.code, m.says, nil)
	}
	return err
}

const noQuorum = "no quorum: fewer than half of the filers reach each other, and nothing was changed; `netquorum status` shows which do not answer"

// refusal turns a refusal of the state machine into the API's.
func refusal(r *fsm.Refusal) error {
	codes := map[fsm.RefusalCode]api.Code{
		fsm.RefusedInvalid:       api.ErrInvalid,
		fsm.RefusedStaleRevision: api.ErrStaleRevision,
		fsm.RefusedExists:        api.ErrExists,
		fsm.RefusedNotFound:      api.ErrNotFound,
		fsm.RefusedMachineKind:   api.ErrMachineKind,
		fsm.RefusedTooLarge:      api.ErrTooLarge,
		fsm.RefusedFeatureLevel:  api.ErrFeatureLevel,
		fsm.RefusedRollout:       api.ErrRolloutOpen,
	}
	if r.Code == fsm.RefusedGuarded {
		return fmt.Errorf("%w: %w", errGuarded, api.Refuse(api.ErrRefused, r.Message, nil))
	}
	code, ok := codes[r.Code]
	if !ok {
		code = api.ErrRefused
	}
	return api.Refuse(code, r.Message, r.Problems)
}

// transaction makes the store's transaction of an API request.
func transaction(r api.ApplyRequest) fsm.Transaction {
	t := fsm.Transaction{ID: r.RequestID, Actor: r.Actor, Trace: uint64(r.Trace)}
	for _, p := range r.Puts {
		t.Puts = append(t.Puts, fsm.Put{Document: p.Document, IfRevision: p.IfRevision, MustNotExist: p.MustNotExist})
	}
	for _, d := range r.Deletes {
		t.Deletes = append(t.Deletes, fsm.Delete{Key: d.Key(), IfRevision: d.IfRevision})
	}
	return t
}

// change turns one entry of the history into the API's.
func change(c fsm.Change) api.Change {
	out := api.Change{
		Revision: c.Revision, Time: time.UnixMilli(c.Time).UTC(),
		Actor: c.Actor, Trace: trace.ID(c.Trace), RequestID: c.ID,
	}
	for _, d := range c.Documents {
		out.Documents = append(out.Documents, documentChange(d))
	}
	return out
}

func documentChange(d fsm.DocumentChange) api.DocumentChange {
	return api.DocumentChange{Kind: d.Key.Kind, Name: d.Key.Name, Before: d.Before, After: d.After}
}

func features(list []netapply.Feature) []api.Feature {
	var out []api.Feature
	for _, f := range list {
		out = append(out, api.Feature{Name: f.Name, Available: f.Present, Detail: f.Detail})
	}
	return out
}
