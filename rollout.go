package netquorum

import (
	"encoding/json"
	"slices"
)

// A Rollout carries a change that touches how filers reach each other, or takes
// links down, over the cluster. The transaction that makes the change writes it
// too: from then on each filer follows the documents of before or of after as
// package rollout says, until the rollout is closed. There is one document at
// most; a closed one stays, for status, until the next.
//
// All that decides what comes next is in it, so that any leader can go on with
// it and a filer that boots knows what to follow.
type Rollout struct {
	// Actor made the change; Reason is why it needs a rollout.
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Revision is that of the change. The leader writes it down when it leaves
	// the phase joint; until then it is the document's own.
	Revision Revision     `json:"revision,omitempty"`
	Phase    RolloutPhase `json:"phase"`
	// Reverting is set once the rollout leads from After back to Before.
	Reverting bool `json:"reverting,omitempty"`
	// Before and After are the network documents that the change touched, as
	// JSON; both are empty once the rollout is closed.
	Before []json.RawMessage `json:"before,omitempty"`
	After  []json.RawMessage `json:"after,omitempty"`
	// Steps are the filers that change, in their order.
	Steps []RolloutStep `json:"steps,omitempty"`
	// Cached are the filers known to have the joint configuration on disk.
	Cached []string `json:"cached,omitempty"`
	// Timeout bounds one filer's step, in milliseconds.
	Timeout int64 `json:"timeout,omitempty"`
	// Confirm is how long the change waits for a human once it is in force, in
	// milliseconds; 0 for not at all. Deadline is when that ends, in
	// milliseconds since 1970 by the clock of the leader that set it.
	Confirm   int64 `json:"confirm,omitempty"`
	Deadline  int64 `json:"deadline,omitempty"`
	Confirmed bool  `json:"confirmed,omitempty"`
	// Force lets steps be made that leave no quorum meanwhile.
	Force bool `json:"force,omitempty"`
	// Failure is why the rollout was stopped or is led back.
	Failure string `json:"failure,omitempty"`
}

// A RolloutPhase is how far a rollout is.
type RolloutPhase string

const (
	// RolloutJoint: filers put old and new addresses beside each other.
	RolloutJoint RolloutPhase = "joint"
	// RolloutFilers: filers follow the change one by one.
	RolloutFilers RolloutPhase = "filers"
	// RolloutConfirm: the change is in force and waits for a human.
	RolloutConfirm RolloutPhase = "confirm"
	// RolloutStopped: a filer's step failed; a human decides.
	RolloutStopped RolloutPhase = "stopped"
	// RolloutReverting: filers go back one by one.
	RolloutReverting RolloutPhase = "reverting"
	// RolloutDone and RolloutReverted are the two ends.
	RolloutDone     RolloutPhase = "done"
	RolloutReverted RolloutPhase = "reverted"
)

// A RolloutStep is one filer's part.
type RolloutStep struct {
	Filer string           `json:"filer"`
	State RolloutStepState `json:"state"`
	// Attempt counts how often the filer was told to apply, so that a report of
	// an earlier attempt is recognised.
	Attempt int `json:"attempt,omitempty"`
	// Interrupts is set when links go down, so that servers leave first.
	Interrupts bool `json:"interrupts,omitempty"`
	// Servers were hosted by the filer and return to it.
	Servers []string `json:"servers,omitempty"`
	// Reason is why the step failed.
	Reason string `json:"reason,omitempty"`
}

// A RolloutStepState is how far one filer is.
type RolloutStepState string

const (
	StepWaiting  RolloutStepState = "waiting"
	StepDraining RolloutStepState = "draining" // its servers leave
	StepApplying RolloutStepState = "applying" // it changes its kernel and proves that it is within reach
	StepDone     RolloutStepState = "done"
	StepFailed   RolloutStepState = "failed" // it went back by itself
)

var (
	rolloutPhases = []RolloutPhase{RolloutJoint, RolloutFilers, RolloutConfirm, RolloutStopped, RolloutReverting, RolloutDone, RolloutReverted}
	rolloutSteps  = []RolloutStepState{StepWaiting, StepDraining, StepApplying, StepDone, StepFailed}
)

func (*Rollout) Kind() Kind { return KindRollout }

// Open reports whether the rollout is under way or waits for somebody.
func (s *Rollout) Open() bool { return s.Phase != RolloutDone && s.Phase != RolloutReverted }

// Clone returns a copy whose steps may be changed.
func (s *Rollout) Clone() *Rollout {
	c := *s
	c.Steps, c.Cached = slices.Clone(s.Steps), slices.Clone(s.Cached)
	return &c
}

// Rollout returns the rollout that is open or was the last.
func (c Config) Rollout() (Document, *Rollout, bool) {
	for d := range c.All(KindRollout) {
		return d, d.Spec.(*Rollout), true
	}
	return Document{}, nil, false
}

func (s *Rollout) check(c *checker) {
	if !slices.Contains(rolloutPhases, s.Phase) {
		c.add("spec.phase", RuleOptionValue, "%q is no phase of a rollout", s.Phase)
	}
	for _, step := range s.Steps {
		if !slices.Contains(rolloutSteps, step.State) {
			c.add("spec.steps", RuleOptionValue, "%q is no state of a step", step.State)
		}
	}
	for _, list := range [][]json.RawMessage{s.Before, s.After} {
		for _, text := range list {
			var d Document
			if err := d.UnmarshalJSON(text); err != nil {
				c.add("spec", RuleDocumentKind, "holds a document that cannot be read: %v", err)
			}
		}
	}
}

func (*Rollout) checkAmong(Config, *checker) {}
func (*Rollout) uses() []use                 { return nil }

// There is one rollout at a time.
func (*Rollout) claims(Key) []claim {
	return []claim{{thing: nameThing + "rollout", field: "name", rule: RuleRolloutOne, what: "the one rollout"}}
}
