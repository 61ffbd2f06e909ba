package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// ErrNone: no rollout is open.
var ErrNone = errors.New("no rollout is open")

func open(c netquorum.Config) (netquorum.Document, *netquorum.Rollout, error) {
	doc, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return doc, nil, ErrNone
	}
	return doc, r.Clone(), nil
}

// Confirm accepts a change that waits for it.
func Confirm(c netquorum.Config) ([]netquorum.Document, error) {
	doc, r, err := open(c)
	switch {
	case err != nil:
		return nil, err
	case r.Confirm == 0 || r.Confirmed:
		return nil, fmt.Errorf("%s does not wait to be confirmed", doc.Name)
	case r.Phase != netquorum.RolloutConfirm:
		return nil, fmt.Errorf("%s is not in force yet (%s); confirm it when it is", doc.Name, r.Phase)
	}
	r.Confirmed, r.Deadline, r.Phase = true, 0, netquorum.RolloutFilers
	doc.Spec = r
	return []netquorum.Document{doc}, nil
}

// Revert turns the rollout round: the documents that it changed become what they
// were, and the filers that follow the change go back one by one. Whatever else
// was changed since stays.
func Revert(c netquorum.Config, why string) (puts []netquorum.Document, deletes []netquorum.Key, err error) {
	doc, r, err := open(c)
	if err != nil {
		return nil, nil, err
	}
	if r.Reverting {
		return nil, nil, fmt.Errorf("%s is being reverted already (%s); `netquorum rollout resume` goes on if it was stopped", doc.Name, r.Phase)
	}
	was := map[netquorum.Key]bool{}
	for _, d := range documents(r.Before) {
		was[d.Key().Fold()] = true
		puts = append(puts, d)
	}
	for _, d := range documents(r.After) {
		if !was[d.Key().Fold()] {
			deletes = append(deletes, d.Key())
		}
	}
	joint := r.Phase == netquorum.RolloutJoint
	if r.Revision == 0 {
		r.Revision = doc.Revision
	}
	r.Reverting, r.Phase, r.Failure, r.Deadline = true, netquorum.RolloutReverting, why, 0
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.State == netquorum.StepDone {
			s.State, s.Servers = netquorum.StepWaiting, nil
		} else {
			s.State = netquorum.StepDone // it is, or goes by itself, where this leads
		}
	}
	if joint {
		end(r) // nobody has left what was before
	}
	doc.Spec = r
	return append(puts, doc), deletes, nil
}

// Resume lets a rollout that was stopped go on: filers that failed try again.
// force lets steps be made that leave no quorum meanwhile. without names filers
// that are away and are no longer waited for: they follow the change unguarded
// when they return, if they find the others.
func Resume(c netquorum.Config, force bool, without []string) ([]netquorum.Document, error) {
	doc, r, err := open(c)
	if err != nil {
		return nil, err
	}
	if r.Phase == netquorum.RolloutJoint || r.Phase == netquorum.RolloutConfirm {
		return nil, fmt.Errorf("%s goes on by itself (%s)", doc.Name, r.Phase)
	}
	if r.Phase != netquorum.RolloutStopped && !force && len(without) == 0 {
		return nil, fmt.Errorf("%s was not stopped (%s)", doc.Name, r.Phase)
	}
	if r.Phase == netquorum.RolloutStopped {
		r.Phase = netquorum.RolloutFilers
		if r.Reverting {
			r.Phase = netquorum.RolloutReverting
		} else {
			r.Failure = ""
		}
		r.Deadline = 0
	}
	for i := range r.Steps {
		if r.Steps[i].State == netquorum.StepFailed {
			r.Steps[i].State = netquorum.StepWaiting
		}
	}
	r.Force = r.Force || force
	for _, name := range without {
		member := slices.ContainsFunc(members(c), func(m string) bool { return strings.EqualFold(m, name) })
		if !member {
			return nil, fmt.Errorf("%s is no member of the cluster", name)
		}
		if i := stepIndex(r, name); i >= 0 {
			r.Steps[i].State = netquorum.StepDone
		}
		for _, m := range members(c) {
			if strings.EqualFold(m, name) && !slices.Contains(r.Cached, m) {
				r.Cached = append(r.Cached, m)
			}
		}
	}
	doc.Spec = r
	return []netquorum.Document{doc}, nil
}
