package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/trace"
)

// Propose commits a transaction, on whichever filer it is called. A refusal is a
// result and not an error. A transaction without an ID is given one.
//
// As long as the context lasts, Propose follows changes of leader and tries
// again under the same id, so that the transaction takes effect once. When the
// context ends, the error is ErrNoQuorum if the transaction reached no leader,
// and ErrUnknownOutcome if it may take effect yet.
func (s *Store) Propose(ctx context.Context, t fsm.Transaction) (fsm.Result, error) {
	return s.ProposeWhile(ctx, nil, t)
}

// A While bounds waits for a leader. It returns a context that ends with the given
// one, or earlier, and what releases it. It is called when there is somebody to wait
// for: what a leader serves, thousands of times a second, ends with the leader, and
// needs no context of its own.
type While func(context.Context) (context.Context, func())

// ProposeWhile is Propose that waits for a leader no longer than while says, which
// may be nil.
func (s *Store) ProposeWhile(ctx context.Context, while While, t fsm.Transaction) (fsm.Result, error) {
	if t.Level > fsm.Level {
		return fsm.Result{Revision: s.State().Revision(), Refusal: &fsm.Refusal{
			Code:    fsm.RefusedFeatureLevel,
			Message: fmt.Sprintf("the transaction needs feature level %d, this version has %d", t.Level, fsm.Level),
		}}, nil
	}
	if t.ID == "" {
		t.ID = uuid.NewString()
	}
	if t.Trace == 0 {
		t.Trace = uint64(trace.From(ctx))
	}
	if t.Time == 0 {
		t.Time = s.o.Now().UnixMilli()
	}
	encoded, err := fsm.EncodeTransaction(t)
	if err != nil {
		return fsm.Result{Revision: s.State().Revision(), Refusal: &fsm.Refusal{Code: fsm.RefusedInvalid, Message: err.Error()}}, nil
	}
	if len(encoded) > fsm.MaxTransaction {
		// Every filer would refuse it; it need not pass through all their logs.
		_, refused := fsm.DryRunEncoded(s.State(), encoded)
		return refused, nil
	}
	var results []fsm.Result
	err = s.leadWhile(ctx, while, func(ctx context.Context, now *reign) (err error) {
		what := "raft: commit"
		if now.leader != s.o.ID {
			what = "raft: commit by the leader " + string(now.leader)
		}
		done := s.spans([]trace.ID{trace.ID(t.Trace)}, what)
		results, err = s.group.propose(ctx, now.ctx.Done(), encoded)
		done(results, err)
		return err
	})
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], nil
}

// retryPause is how long a leader that could not serve is left alone, unless
// another one comes first.
const retryPause = 20 * time.Millisecond

// lead calls attempt with the leader, and again with the next one until it
// succeeds or the context ends. An attempt ends when the reign does. Attempts say
// by errNotAppended that they had no effect, and by errMaybeAppended that they may
// have had one; any other error is final.
func (s *Store) lead(ctx context.Context, attempt func(context.Context, *reign) error) error {
	return s.leadWhile(ctx, nil, attempt)
}

// leadWhile is lead that waits for a leader no longer than while says.
func (s *Store) leadWhile(ctx context.Context, while While, attempt func(context.Context, *reign) error) error {
	maybe := false
	var last error
	for {
		if err := s.member(); err != nil {
			if maybe {
				return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
			}
			return err
		}
		now := s.reigns.load()
		if now.leader != "" {
			err := attempt(ctx, now)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, errMaybeAppended):
				maybe = true
			case !errors.Is(err, errNotAppended):
				return err
			}
			last = err
		}
		if while != nil && ctx.Err() == nil {
			var release func()
			ctx, release = while(ctx)
			defer release()
			while = nil
		}
		if ctx.Err() == nil {
			s.awaitLeader(ctx, now)
		}
		if ctx.Err() == nil {
			continue
		}
		if maybe {
			return fmt.Errorf("%w: %w", ErrUnknownOutcome, errors.Join(ctx.Err(), last))
		}
		return fmt.Errorf("%w: %w", ErrNoQuorum, errors.Join(ctx.Err(), last))
	}
}

// during makes an attempt of a function that takes the leader, and a context that
// ends with the reign as well. What is asked thousands of times a second looks at
// the reign by itself, which costs less.
func during(f func(context.Context, netquorum.FilerID) error) func(context.Context, *reign) error {
	return func(ctx context.Context, now *reign) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(now.ctx, func() { cancel(errReignOver) })()
		return f(ctx, now.leader)
	}
}

var errReignOver = errors.New("the leader has changed")

// awaitLeader waits for another leader, or for the present one to be asked again.
func (s *Store) awaitLeader(ctx context.Context, now *reign) {
	var again <-chan time.Time
	if now.leader != "" {
		timer := time.NewTimer(retryPause)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-now.ctx.Done():
	case <-again:
	case <-ctx.Done():
	case <-s.life.Done():
	}
}
