package fsm

import (
	"slices"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/rollout"
)

// LevelRollout is the feature level from which a user's transaction that needs a
// rollout is refused without one. What older versions wrote keeps its meaning.
const LevelRollout = 2

// checkRollout returns why a change that breaks no rule is refused all the same:
// it would come in the way of the rollout that is open, or it needs one and
// brings none.
func (w *work) checkRollout(t *Transaction, change *Change, after netquorum.Config) *Refusal {
	if !slices.ContainsFunc(change.Documents, func(d DocumentChange) bool { return concernsRollouts(d.Key.Kind, t.System) }) {
		return nil
	}
	before := w.draft.Config()
	doc, r, ok := before.Rollout()
	open := ok && r.Open()
	if open {
		if refusal := inTheWay(t, change, doc, r); refusal != nil {
			return refusal
		}
	}
	if now, r, ok := after.Rollout(); ok && r.Open() {
		// Filers must be able to follow what was before as well as what is to
		// be, and the rollout must be able to go back.
		if problems := rollout.Check(after); len(problems) > 0 {
			return &Refusal{RefusedRollout, "the configuration could not be led through " + now.Name + ", or back: " + problems.Error(), problems}
		}
		if !open {
			return nil // it is begun here
		}
	}
	if t.System || t.Level < LevelRollout {
		return nil
	}
	if need := rollout.Guard(before, after); need.Needed() {
		if open {
			return refuse(RefusedRollout, "%s is open (%s), and this change needs a rollout too (%s): wait until it is closed, or revert it", doc.Name, r.Phase, need.Text)
		}
		return refuse(RefusedGuarded, "the change needs a rollout: %s", need.Text)
	}
	return nil
}

// concernsRollouts tells the kinds whose documents rollouts hold or depend on.
// The cluster's own documents do neither, but for the rollout itself.
func concernsRollouts(k netquorum.Kind, system bool) bool {
	return k == netquorum.KindRollout || k.Network() && !k.Machine() && !system || k == netquorum.KindFiler
}

// inTheWay refuses what others do to documents of an open rollout, and what
// would put another in its place.
func inTheWay(t *Transaction, change *Change, doc netquorum.Document, r *netquorum.Rollout) *Refusal {
	held := rollout.Holds(r)
	var problems netquorum.Problems
	for _, d := range change.Documents {
		switch {
		case d.Key.Kind == netquorum.KindRollout && d.After == nil:
			return refuse(RefusedRollout, "%s is open (%s); confirm, resume or revert it first", doc.Name, r.Phase)
		case !t.System && held[d.Key.Fold()]:
			problems = append(problems, netquorum.Problem{Document: d.Key, Rule: netquorum.Rule(RefusedRollout),
				Message: "is part of " + doc.Name + ", which is open (" + string(r.Phase) + "); wait until it is closed, or revert it"})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return refuseFor(RefusedRollout, problems)
}
