package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
)

// DefaultTimeout bounds one filer's step when nobody says.
const DefaultTimeout = 15 * time.Second

// An Order is what somebody asks of a rollout.
type Order struct {
	Actor   string
	Confirm time.Duration // 0: nobody has to
	Timeout time.Duration // of one step; DefaultTimeout when 0
	Force   bool
	// Leader goes last: while it makes its step, another has to lead.
	Leader string
}

// Begin makes the document of a rollout that leads from one configuration to
// another, and the key of the closed one that it replaces, if there is one.
func Begin(before, after netquorum.Config, need Reason, o Order) (netquorum.Document, []netquorum.Key, error) {
	last, lastSpec, replaces := before.Rollout()
	var gone []netquorum.Key
	if replaces {
		if lastSpec.Open() {
			return netquorum.Document{}, nil, fmt.Errorf("%s is open (%s)", last.Name, lastSpec.Phase)
		}
		gone = append(gone, last.Key())
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	r := &netquorum.Rollout{
		Actor: o.Actor, Reason: need.Text, Phase: netquorum.RolloutJoint, Steps: slices.Clone(need.Steps), Force: o.Force,
		Timeout: o.Timeout.Milliseconds(), Confirm: o.Confirm.Milliseconds(),
	}
	slices.SortStableFunc(r.Steps, func(a, b netquorum.RolloutStep) int { return leads(a, o.Leader) - leads(b, o.Leader) })
	var was, is []netquorum.Document
	for _, kind := range netquorum.Kinds {
		if kind.Machine() || !kind.Network() {
			continue
		}
		for d := range before.All(kind) {
			if now, ok := after.Get(kind, d.Name); !ok || !now.Equal(d) {
				was = append(was, d)
			}
		}
		for d := range after.All(kind) {
			if old, ok := before.Get(kind, d.Name); !ok || !old.Equal(d) {
				d.Revision = 0 // the transaction's, which is not known yet
				is = append(is, d)
			}
		}
	}
	var err1, err2 error
	r.Before, err1 = encode(was)
	r.After, err2 = encode(is)
	if err := errors.Join(err1, err2); err != nil {
		return netquorum.Document{}, nil, err
	}
	return netquorum.Document{Kind: netquorum.KindRollout, Name: nextName(last.Name), Spec: r}, gone, nil
}

func leads(s netquorum.RolloutStep, leader string) int {
	if strings.EqualFold(s.Filer, leader) {
		return 1
	}
	return 0
}

// nextName counts rollouts.
func nextName(last string) string {
	n, _ := strconv.Atoi(strings.TrimPrefix(last, "rollout-"))
	return "rollout-" + strconv.Itoa(n+1)
}

// Check returns why a configuration with an open rollout cannot be led to where
// the rollout goes, or back: some filer would have to follow what breaks rules.
// The state machine refuses what would make it so, which is why Revert is never
// refused.
func Check(c netquorum.Config) netquorum.Problems {
	_, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return nil
	}
	s, problems := sidesOf(c, r)
	if len(problems) > 0 {
		return problems
	}
	if _, problems = joint(s.from, s.to); len(problems) == 0 {
		_, problems = joint(s.to, s.from)
	}
	return problems
}
