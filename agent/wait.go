package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// A waitRequest asks a filer to answer when it has come as far as a revision,
// or when its patience ends.
type waitRequest struct {
	Revision netquorum.Revision `json:"revision"`
	For      api.Wait           `json:"for"`
	Patience time.Duration      `json:"patience"`
}

// A waitAnswer says that the filer has come so far, or what keeps it.
type waitAnswer struct {
	Reached bool               `json:"reached"`
	At      netquorum.Revision `json:"at"`
	Errors  []string           `json:"errors,omitempty"`
}

// The patience of a wait without a deadline, and how much earlier than a
// deadline a filer answers, so that its reasons arrive before it.
const (
	defaultPatience = 30 * time.Second
	answerEarly     = 200 * time.Millisecond
)

// waitEverywhere waits until every member has cached or applied the revision.
// The error names those that have not, and why.
func (m *member) waitEverywhere(ctx context.Context, rev netquorum.Revision, what api.Wait) error {
	r := waitRequest{rev, what, defaultPatience}
	if end, ok := ctx.Deadline(); ok {
		r.Patience = max(time.Until(end)-answerEarly, 0)
	}
	answers, failed := ask(ctx, members(m.store.State().Config()), func(ctx context.Context, id netquorum.FilerID) (waitAnswer, error) {
		if id == m.id {
			return m.wait(ctx, r)
		}
		ctx, cancel := context.WithTimeout(ctx, r.Patience+answerEarly)
		defer cancel()
		for {
			var a waitAnswer
			err := call(ctx, m.client, id, pathWait, r, &a)
			if err == nil || ctx.Err() != nil {
				return a, err
			}
			// The filer is away; it may come back before the patience ends.
			select {
			case <-ctx.Done():
				return a, err
			case <-time.After(m.cfg.Heartbeat):
			}
		}
	})
	var late []string
	for name, a := range answers {
		if !a.Reached {
			late = append(late, fmt.Sprintf("%s is at revision %d: %s", name, a.At, strings.Join(a.Errors, "; ")))
		}
	}
	for _, name := range slices.Collect(maps.Keys(failed)) {
		late = append(late, name+" does not answer")
	}
	if len(late) == 0 {
		return nil
	}
	slices.Sort(late)
	return fmt.Errorf("%w: revision %d is committed, but not %s everywhere: %s", api.ErrTimeout, rev, what, strings.Join(late, ", "))
}

// wait answers when this filer has come as far as asked, or its patience ends.
func (m *member) wait(ctx context.Context, r waitRequest) (waitAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()
	switch r.For {
	case api.WaitCached:
		reached := m.keeper.Wait(ctx, r.Revision) == nil
		s := m.keeper.Status()
		a := waitAnswer{Reached: reached, At: s.Revision}
		if s.Error != "" {
			a.Errors = []string{s.Error}
		}
		return a, nil
	case api.WaitApplied:
		return m.waitApplied(ctx, r.Revision), nil
	}
	return waitAnswer{}, fmt.Errorf("%w: no such thing to wait for: %q", api.ErrUsage, r.For)
}

// waitApplied waits until the kernel follows the revision in every part.
func (m *member) waitApplied(ctx context.Context, rev netquorum.Revision) waitAnswer {
	for {
		o, next := m.follower.Outcome()
		a := waitAnswer{At: o.settled, Errors: o.errors()}
		a.Reached = o.settled >= rev && len(a.Errors) == 0
		if a.Reached {
			return a
		}
		select {
		case <-ctx.Done():
			return a
		case <-next:
		}
	}
}
