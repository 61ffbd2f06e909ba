package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/rollout"
)

// A stepper makes this filer's own step of a rollout: it lets the kernel follow
// the change, proves that the filer is still within reach, and goes back by
// itself, without anybody's help, if it is not.
//
// It keeps nothing on disk. Who was restarted in the middle of a step boots with
// what was before, and says that it was interrupted.
type stepper struct {
	filer    string
	state    func() *fsm.State
	changed  func() <-chan struct{}
	inTouch  func() bool // the leader was heard of, and its newest revision is known
	interval time.Duration
	follower *follower
	prove    func(ctx context.Context, c netquorum.Config, known gateways) error
	// gateways are those that answer now.
	gateways func(ctx context.Context, c netquorum.Config) gateways
	instant  func(string)
	tell     func() // the leader, soon
	log      *slog.Logger

	caughtUp bool // used by Run only

	mu      sync.Mutex
	attempt rollout.Attempt
}

// Attempt is what to report to the leader.
func (s *stepper) Attempt() rollout.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt
}

func (s *stepper) set(a rollout.Attempt) {
	s.mu.Lock()
	s.attempt = a
	s.mu.Unlock()
	s.follower.Wake()
	s.tell()
}

// ahead tells which attempt the kernel follows, "" for none. An attempt counts
// for as long as the documents say that it is being made.
func (s *stepper) ahead(c netquorum.Config) string {
	now, _, ok := mine(c, s.filer)
	a := s.Attempt()
	if !ok || a.Rollout != now.Rollout || a.Number != now.Number || a.Outcome != rollout.Trying && a.Outcome != rollout.Proven {
		return ""
	}
	return nameOf(now)
}

func nameOf(a rollout.Attempt) string { return fmt.Sprintf("%s/%d", a.Rollout, a.Number) }

// mine is the attempt that the documents ask of a filer.
func mine(c netquorum.Config, filer string) (rollout.Attempt, time.Duration, bool) {
	doc, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return rollout.Attempt{}, 0, false
	}
	for _, step := range r.Steps {
		if sameName(step.Filer, filer) && step.State == netquorum.StepApplying {
			return rollout.Attempt{Rollout: doc.Name, Number: step.Attempt}, time.Duration(r.Timeout) * time.Millisecond, true
		}
	}
	return rollout.Attempt{}, 0, false
}

// Run makes the steps that are asked of this filer until the context ends.
func (s *stepper) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		changed := s.changed()
		if s.inTouch() {
			s.look(ctx, s.state().Config())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticker.C:
		}
	}
}

// look makes the step that is asked for, unless it was made. One that was asked
// for before this process knew the newest state is one that it was restarted in.
func (s *stepper) look(ctx context.Context, c netquorum.Config) {
	restarted := !s.caughtUp
	s.caughtUp = true
	want, timeout, ok := mine(c, s.filer)
	if had := s.Attempt(); !ok || had.Rollout == want.Rollout && had.Number == want.Number {
		return
	}
	if restarted {
		want.Outcome = rollout.Interrupted
		s.log.Warn("this filer was restarted in its step of a rollout and is as it was before", "rollout", want.Rollout, "attempt", want.Number)
		s.set(want)
		return
	}
	s.try(ctx, c, want, timeout)
}

// try makes one attempt.
func (s *stepper) try(ctx context.Context, c netquorum.Config, a rollout.Attempt, timeout time.Duration) {
	s.log.Info("applying a rollout here", "rollout", a.Rollout, "attempt", a.Number, "timeout", timeout)
	known := s.gateways(ctx, c)
	before, _ := s.follower.Outcome()
	step, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a.Outcome = rollout.Trying
	s.set(a)
	s.instant("trying")
	err := s.settled(step, nameOf(a), before)
	if err == nil {
		s.instant("followed")
		err = s.proven(step, c, known)
	}
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		a.Outcome = rollout.Proven
		s.set(a)
		s.log.Info("this filer is within reach with the change", "rollout", a.Rollout)
		s.instant("proven")
		return
	}
	a.Outcome, a.Reason = rollout.Reverted, strings.ReplaceAll(err.Error(), "\n", "; ")
	s.log.Error("this filer's step of a rollout failed; it goes back to what was before", "rollout", a.Rollout, "error", err)
	s.set(a)
	s.instant("reverted")
}

// partsPatience is how long a part of a change may be missing from the kernel
// until the step has failed. What the kernel refuses fails it at once.
const partsPatience = 3 * time.Second

// settled waits until the kernel follows the attempt, in every part that did not
// fail before.
func (s *stepper) settled(ctx context.Context, attempt string, before outcome) error {
	missing := errors.New("the kernel did not follow the change in time")
	var over <-chan time.Time // once a part of it is missing
	for {
		o, passed := s.follower.Outcome()
		if o.ahead == attempt {
			refused, err := newFailures(before, o)
			if err == nil {
				return nil
			}
			if missing = err; refused {
				return err
			}
			if over == nil {
				timer := time.NewTimer(partsPatience)
				defer timer.Stop()
				over = timer.C
			}
		}
		select {
		case <-over:
			return missing
		case <-ctx.Done():
			return missing
		case <-passed:
		}
	}
}

// newFailures tells what fails now and did not before, and whether all of the
// change was undone for it.
func newFailures(before, now outcome) (refused bool, err error) {
	var errs []error
	if now.err != nil {
		errs = append(errs, now.err)
	}
	for _, f := range now.report.Failures {
		refused = refused || f.Object == wholeConfiguration
		if _, known := before.failing[f.Object]; !known {
			errs = append(errs, f)
		}
	}
	refused = refused || now.report.RolledBack
	if refused {
		errs = append(errs, errors.New("the kernel refused the change"))
	}
	return refused, errors.Join(errs...)
}

// proven repeats the proof until it succeeds or there is no time left: links take
// a moment to come up, LACP some seconds.
func (s *stepper) proven(ctx context.Context, c netquorum.Config, known gateways) error {
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	var last error
	for {
		err := s.prove(ctx, c, known)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err // what an ended context says tells nothing
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

// stepper makes this filer's steps.
func (m *member) stepper() *stepper {
	return &stepper{
		filer: m.name, state: m.store.State, changed: m.store.Changed, interval: m.cfg.Heartbeat / 2, follower: m.follower,
		inTouch: func() bool {
			s := m.store.State()
			_, held := m.lease.Held(m.cfg.Now(), s.Revision())
			return held && s.Revision() >= m.boot.Revision
		},
		prove: m.prove, gateways: m.answering, instant: m.cfg.Instant, tell: func() {}, log: m.log,
	}
}

// views remembers what a filer follows, which several ask for all the time.
type views struct {
	mu       sync.Mutex
	revision netquorum.Revision
	ahead    string
	config   netquorum.Config
	valid    bool
}

// following returns the newest configuration as far as the rollout that may be
// open has brought it to this filer, and the attempt that this filer makes.
func (m *member) following() (c netquorum.Config, rev netquorum.Revision, ahead string) {
	config, revision := m.newest()
	if _, r, ok := config.Rollout(); !ok || !r.Open() {
		return config, revision, ""
	}
	ahead = m.step.ahead(config)
	v := &m.views
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.valid || v.revision != revision || v.ahead != ahead {
		v.valid, v.revision, v.ahead = true, revision, ahead
		if v.config = rollout.View(config, m.name); ahead != "" {
			v.config = rollout.Ahead(config, m.name)
		}
	}
	return v.config, revision, ahead
}
