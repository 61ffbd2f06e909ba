package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/rollout"
)

// proposeChange commits what a user asks, with a rollout if it needs one, and
// returns the rollout's name. What was decided on a state that others have
// changed since is decided anew.
func (m *member) proposeChange(ctx context.Context, t fsm.Transaction, o api.RolloutOptions) (fsm.Result, string, error) {
	if !touchesKernel(t) {
		result, err := m.propose(ctx, t)
		return result, "", err
	}
	t.Level = fsm.LevelRollout
	id := t.ID
	for try := 1; ; try++ {
		now, name, err := m.guarded(ctx, t, o)
		if err != nil {
			return fsm.Result{}, "", err
		}
		if try > 1 { // a refusal stays on record under its id
			now.ID = fmt.Sprintf("%s/%d", id, try)
		}
		result, err := m.propose(ctx, now)
		again := errors.Is(err, errGuarded) || name != "" && errors.Is(err, api.ErrStaleRevision) && !staleByItself(t, m.store.State())
		if err == nil || !again || try == 3 {
			return result, name, err
		}
		if _, err := m.read(ctx); err != nil {
			return fsm.Result{}, "", err
		}
	}
}

// errGuarded marks the refusal of a change that needs a rollout after all.
var errGuarded = errors.New("the change needs a rollout")

// staleByItself reports whether the user's own preconditions fail.
func staleByItself(t fsm.Transaction, s *fsm.State) bool {
	t.ID = ""
	_, result := fsm.DryRun(s, t)
	return result.Refusal != nil && result.Refusal.Code == fsm.RefusedStaleRevision
}

// guarded adds a rollout to a transaction that needs one. What the state machine
// refuses anyway is left to it.
func (m *member) guarded(ctx context.Context, t fsm.Transaction, o api.RolloutOptions) (fsm.Transaction, string, error) {
	s := m.store.State()
	before := s.Config()
	asked := t
	asked.Level = 0 // to see what it does by itself
	after, result := fsm.DryRun(s, asked)
	if result.Refusal != nil || result.Duplicate {
		return t, "", nil
	}
	need := rollout.Guard(before, after)
	if _, r, ok := before.Rollout(); !need.Needed() || ok && r.Open() {
		return t, "", nil
	}
	if !o.Force {
		live := m.answeringFilers(ctx)
		if reasons := rollout.Strands(before, after, need, func(f string) bool { return live[f] }); len(reasons) > 0 {
			return t, "", api.Refuse(api.ErrUnsafe, fmt.Sprintf("the change could leave the cluster without a quorum: %s. Use --force if that is what you want", strings.Join(reasons, "; ")), nil)
		}
	}
	doc, gone, err := rollout.Begin(before, after, need, rollout.Order{
		Actor: t.Actor, Confirm: time.Duration(o.Confirm), Timeout: time.Duration(o.Timeout), Force: o.Force,
		Leader: memberName(before, m.store.Status().Leader),
	})
	if err != nil {
		return t, "", fmt.Errorf("%w: %w", api.ErrInternal, err)
	}
	t.System = true // a rollout is the cluster's own document
	t.Puts, t.Deletes = pinned(before, t)
	t.Puts = append(t.Puts, fsm.Put{Document: doc, MustNotExist: true})
	for _, k := range gone {
		t.Deletes = append(t.Deletes, fsm.Delete{Key: k})
	}
	if _, result := fsm.DryRun(s, asAnother(t)); result.Refusal != nil && result.Refusal.Code == fsm.RefusedRollout {
		return t, "", api.Refuse(api.ErrUnsafe, "old and new addresses cannot stand beside each other; make the change in two: "+result.Refusal.Message, result.Refusal.Problems)
	}
	return t, doc.Name, nil
}

// foreseeRollout says in the answer to a dry run what a rollout would do.
func (m *member) foreseeRollout(ctx context.Context, before, after netquorum.Config, out *api.ApplyResult) {
	need := rollout.Guard(before, after)
	if !need.Needed() {
		return
	}
	there := m.answeringFilers(ctx)
	live := func(f string) bool { return there[f] }
	out.Guarded = need.Text
	out.Unsafe = rollout.Strands(before, after, need, live)
	out.Grounded = rollout.Grounded(before, need, live)
}

func asAnother(t fsm.Transaction) fsm.Transaction { t.ID = ""; return t }

// pinned ties a transaction to the documents that it was decided on: the rollout
// holds what they were.
func pinned(c netquorum.Config, t fsm.Transaction) (puts []fsm.Put, deletes []fsm.Delete) {
	for _, p := range t.Puts {
		if old, ok := c.Get(p.Document.Kind, p.Document.Name); p.IfRevision == nil && ok {
			p.IfRevision = &old.Revision
		} else if !ok {
			p.MustNotExist = true
		}
		puts = append(puts, p)
	}
	for _, d := range t.Deletes {
		if old, ok := c.Get(d.Key.Kind, d.Key.Name); d.IfRevision == nil && ok {
			d.IfRevision = &old.Revision
		}
		deletes = append(deletes, d)
	}
	return puts, deletes
}

// answeringFilers asks which members are there.
func (m *member) answeringFilers(ctx context.Context) map[string]bool {
	there, _ := ask(ctx, members(m.store.State().Config()), func(ctx context.Context, id netquorum.FilerID) (bool, error) {
		if id == m.id {
			return true, nil
		}
		ctx, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		var f []api.Feature
		return true, call(ctx, m.client, id, pathFeatures, struct{}{}, &f)
	})
	return there
}

// waitRollout waits until a rollout has come as far as it does by itself: to an
// end, or to where a human decides. It returns the revision of that.
func (m *member) waitRollout(ctx context.Context, name string, revision netquorum.Revision) (netquorum.Revision, error) {
	for {
		changed := m.store.Changed()
		s := m.store.State()
		doc, r, ok := s.Config().Rollout()
		switch {
		case s.Revision() < revision:
		case !ok || doc.Name != name || r.Phase == netquorum.RolloutDone || r.Phase == netquorum.RolloutConfirm:
			return s.Revision(), nil
		case r.Phase == netquorum.RolloutStopped, r.Phase == netquorum.RolloutReverted:
			return revision, &api.Error{Code: api.ErrRollout, Revision: revision,
				Message: fmt.Sprintf("%s is %s: %s; `netquorum rollout` shows where", name, r.Phase, r.Failure)}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return revision, fmt.Errorf("%w: %s is in phase %s and goes on by itself; `netquorum rollout` shows how far it is", api.ErrTimeout, name, r.Phase)
		}
	}
}

// Rollout implements api.Backend.
func (b backend) Rollout(ctx context.Context) (api.Rollout, error) {
	m, err := b.running()
	if err != nil {
		return api.Rollout{}, err
	}
	config, _ := m.newest()
	waiting := m.lead.Waiting()
	if leader := m.store.Status().Leader; leader != "" && leader != m.id {
		ctx, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		var s selfAnswer
		if call(ctx, m.client, leader, pathSelf, struct{}{}, &s) == nil {
			waiting = s.Waiting
		}
	}
	out := rolloutStatus(config, waiting)
	if out == nil {
		return api.Rollout{}, fmt.Errorf("%w: there was no rollout yet", api.ErrNotFound)
	}
	return *out, nil
}

// rolloutStatus tells of the rollout that is open or was the last, nil when
// there is none.
func rolloutStatus(c netquorum.Config, waiting string) *api.Rollout {
	doc, r, ok := c.Rollout()
	if !ok {
		return nil
	}
	out := &api.Rollout{Name: doc.Name, Phase: r.Phase, Open: r.Open(), Reverting: r.Reverting, Revision: r.Revision, Actor: r.Actor,
		Reason: r.Reason, Failure: r.Failure, Steps: r.Steps}
	if out.Revision == 0 {
		out.Revision = doc.Revision
	}
	if out.Steps == nil {
		out.Steps = []netquorum.RolloutStep{}
	}
	if r.Open() {
		out.Waiting = waiting
	}
	if r.Deadline > 0 {
		at := time.UnixMilli(r.Deadline).UTC()
		out.Deadline = &at
	}
	return out
}

// SteerRollout implements api.Backend.
func (b backend) SteerRollout(ctx context.Context, req api.RolloutRequest) (api.Rollout, error) {
	m, err := b.running()
	if err != nil {
		return api.Rollout{}, err
	}
	for try := 1; ; try++ {
		state, err := m.read(ctx)
		if err != nil {
			return api.Rollout{}, err
		}
		c := state.Config()
		puts, deletes, err := steer(c, req)
		if errors.Is(err, rollout.ErrNone) {
			return api.Rollout{}, api.Refuse(api.ErrNotFound, "no rollout is open", nil)
		} else if err != nil {
			return api.Rollout{}, api.Refuse(api.ErrRefused, err.Error(), nil)
		}
		result, err := m.propose(ctx, rolloutTransaction(c, newRequestID(), req.Actor, puts, deletes))
		if errors.Is(err, api.ErrStaleRevision) && try < 5 {
			continue // the leader led it on just now
		}
		if err != nil {
			return api.Rollout{}, err
		}
		if err := m.store.Wait(ctx, result.Revision); err != nil {
			return api.Rollout{}, apiError(err)
		}
		return *rolloutStatus(m.store.State().Config(), ""), nil
	}
}

func steer(c netquorum.Config, req api.RolloutRequest) (puts []netquorum.Document, deletes []netquorum.Key, err error) {
	switch req.Action {
	case api.RolloutConfirm:
		puts, err = rollout.Confirm(c)
	case api.RolloutRevert:
		puts, deletes, err = rollout.Revert(c, strings.TrimSpace("reverted by "+req.Actor))
	default:
		puts, err = rollout.Resume(c, req.Force, slices.Clone(req.Without))
	}
	return puts, deletes, err
}
