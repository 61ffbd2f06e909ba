package netapply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// An Applier makes a kernel match what is desired. Its methods may be called
// from several goroutines; one pass runs at a time.
type Applier struct {
	Kernel    Kernel
	Announcer *Announcer       // nil: neighbours are not told
	Log       *slog.Logger     // nil: silent
	Now       func() time.Time // nil: the machine's clock

	mu     sync.Mutex
	drifts drifts
}

// A Report says what one pass did.
type Report struct {
	Steps    []Step        // carried out successfully, in order
	Failures []ObjectError // objects that are not as desired
	Writes   uint64        // changes asked of the kernel
	Rounds   int           // how often the kernel was read
	Duration time.Duration
	// RolledBack says that a change was undone because steps of it failed;
	// Failures are those that were the reason, Left is what could not be put
	// back.
	RolledBack bool
	Left       []ObjectError
	// Drifts are what somebody else changed lately; those that are a fight and
	// not put right now are among the failures, too.
	Drifts []Drift
}

// Err joins the failures; nil when everything is as desired.
func (r Report) Err() error {
	errs := make([]error, 0, len(r.Failures)+len(r.Left))
	for _, f := range r.Failures {
		errs = append(errs, f)
	}
	for _, f := range r.Left {
		errs = append(errs, fmt.Errorf("not rolled back: %w", f))
	}
	return errors.Join(errs...)
}

// maxRounds bounds how often one pass looks again after it changed something.
// One change and one look is the rule. A further round is needed when a step
// had effects beyond itself, or when somebody else changed something meanwhile.
const maxRounds = 4

// Apply observes, plans and executes until the kernel is as desired or nothing
// more can be done. It does what it can: one object that cannot be had does not
// keep the others away, which is right at boot, after drift, and when a server
// arrives. An error means that the pass could not be made; objects that failed
// are in the report.
func (a *Applier) Apply(ctx context.Context, want Desired) (Report, error) {
	return a.pass(want, func(r *Report) error {
		have, err := a.observe(ctx, want)
		if err == nil {
			_, err = a.roundsFrom(ctx, want, have, r, true)
		}
		if err == nil {
			a.drifts.end(want, *r)
		}
		return err
	})
}

// pass runs one pass and completes its report.
func (a *Applier) pass(want Desired, run func(*Report) error) (Report, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	start, writes := time.Now(), a.Kernel.Writes()
	var r Report
	err := run(&r)
	r.Writes = a.Kernel.Writes() - writes
	r.Duration = time.Since(start)
	r.Drifts = a.drifts.list()
	a.announce(want, r.Steps)
	return r, err
}

func (a *Applier) observe(ctx context.Context, want Desired) (Observed, error) {
	have, err := a.Kernel.Observe(ctx, want.Looks()...)
	if err != nil {
		return have, fmt.Errorf("cannot read the network state of the kernel: %w", err)
	}
	return have, nil
}

func (a *Applier) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// roundsFrom begins with a state that was just observed, and returns the last.
// With drift, the first look may find what somebody else has done.
func (a *Applier) roundsFrom(ctx context.Context, want Desired, have Observed, r *Report, drift bool) (Observed, error) {
	tried := map[string]error{} // why steps of the round before failed, by text
	for round := 1; ; round++ {
		r.Rounds++
		steps, failures := Plan(want, have)
		if drift {
			if round == 1 {
				a.drifts.begin(want, steps, a.now(), a.Log)
			}
			var fights []ObjectError
			steps, fights = a.drifts.hold(want, steps)
			failures = append(failures, fights...)
		}
		left := prospects(steps, tried)
		if round == maxRounds || !slices.Contains(left, nil) {
			r.Failures = failures
			for i, s := range steps {
				if left[i] == nil {
					left[i] = errUnsettled
				}
				r.Failures = append(r.Failures, ObjectError{s.Object(), fmt.Errorf("%s: %w", s, left[i])})
			}
			return have, nil
		}
		var err error
		if tried, err = a.execute(ctx, steps, r); err != nil {
			return have, err
		}
		if have, err = a.observe(ctx, want); err != nil {
			return have, err
		}
	}
}

var errUnsettled = errors.New("still needed after several rounds; somebody else may be changing it back")

// prospects says of every step why it will not succeed, nil if it may: it just
// failed, or it needs a link that just could not be made.
func prospects(steps []Step, tried map[string]error) []error {
	broken := brokenLinks{}
	list := make([]error, len(steps))
	for i, s := range steps {
		if list[i] = broken.stops(s); list[i] == nil && len(tried) > 0 {
			list[i] = tried[s.String()]
		}
		broken.failed(s, list[i])
	}
	return list
}

// errUnguarded keeps an address away that would be open to everybody.
var errUnguarded = errors.New("needs " + accessObject)

// brokenLinks are links that could not be made, and the access rules' table.
type brokenLinks map[string]bool

func (b brokenLinks) failed(s Step, err error) {
	if err == nil {
		return
	}
	switch s := s.(type) {
	case AddLink:
		b[s.Link.Name] = true
	case SwapLink:
		b[s.Old] = true
	case SetAccess:
		b[accessObject] = true
	}
}

func (b brokenLinks) stops(s Step) error {
	if len(b) == 0 {
		return nil
	}
	if add, ok := s.(AddAddress); ok && add.Address.Guarded && b[accessObject] {
		return errUnguarded
	}
	for _, link := range needs(s) {
		if b[link] {
			return fmt.Errorf("needs link %s", link)
		}
	}
	return nil
}

// execute carries out the steps and returns why some failed. One that fails
// stops those that need its link, and no others. The kernel gets as many steps
// at once as have none among them that others wait for.
func (a *Applier) execute(ctx context.Context, steps []Step, r *Report) (map[string]error, error) {
	failed := map[string]error{}
	broken := brokenLinks{}
	for len(steps) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := together(steps)
		now := make([]Step, 0, n)
		for _, s := range steps[:n] {
			if err := broken.stops(s); err != nil {
				broken.failed(s, err)
				continue
			}
			a.withdraw(s)
			now = append(now, s)
		}
		steps = steps[n:]
		r.Steps = slices.Grow(r.Steps, len(now))
		for i, err := range a.Kernel.Do(ctx, now...) {
			a.log(now[i], err)
			if err != nil {
				failed[now[i].String()] = &stepError{err}
				broken.failed(now[i], err)
				continue
			}
			r.Steps = append(r.Steps, now[i])
		}
	}
	return failed, nil
}

// together is how many steps the kernel may have at once: new links that do not
// need each other, or all up to the next step for whose outcome others wait.
func together(steps []Step) int {
	if n := newLinks(steps); n > 0 {
		return n
	}
	n := 1
	for n < len(steps) && !alone(steps[n-1]) && !alone(steps[n]) {
		n++
	}
	return n
}

// alone reports whether other steps wait for what becomes of this one.
func alone(s Step) bool {
	switch s.(type) {
	case AddLink, SwapLink, SetAccess:
		return true
	}
	return false
}

func (a *Applier) log(s Step, err error) {
	switch {
	case a.Log == nil:
	case err != nil:
		a.Log.Warn("network change failed", "step", s.String(), "error", err)
	default:
		a.Log.Info("network changed", "step", s.String())
	}
}

// needs names the links that a step cannot do without.
func needs(s Step) []string {
	switch s := s.(type) {
	case AddLink:
		return []string{s.Link.Parent}
	case SetLink:
		if s.Master != nil {
			return append(s.After[:len(s.After):len(s.After)], s.Name, *s.Master)
		}
		return append(s.After[:len(s.After):len(s.After)], s.Name)
	case DelLink:
		return s.After
	case SwapLink:
		return []string{s.Name, s.Next}
	case SetSettings:
		return []string{s.Link}
	case SetTuning:
		return []string{s.Link}
	case AddAddress:
		return []string{s.Address.Link}
	case AddRoute:
		return []string{s.Route.Link}
	}
	return nil
}

// withdraw ends announcements of what a step is about to remove.
func (a *Applier) withdraw(s Step) {
	if a.Announcer == nil {
		return
	}
	switch s := s.(type) {
	case DelAddress:
		a.Announcer.Withdraw(s.Address.Link, s.Address.Prefix.Addr())
	case DelLink:
		a.Announcer.Withdraw(s.Name, netip.Addr{})
	case SwapLink:
		a.Announcer.Withdraw(s.Name, netip.Addr{})
	}
}

// announce tells the neighbours about addresses that are new here. IPv6
// addresses of the filer itself are left to duplicate address detection.
func (a *Applier) announce(want Desired, steps []Step) {
	if a.Announcer == nil {
		return
	}
	macs := map[string]Link{}
	for _, l := range want.Links {
		macs[l.Name] = l
	}
	var list []Announcement
	for _, s := range steps {
		if add, ok := s.(AddAddress); ok && (add.Address.Hosted || add.Address.Prefix.Addr().Is4()) {
			list = append(list, Announcement{
				Link: add.Address.Link, MAC: macs[add.Address.Link].MAC, Address: add.Address.Prefix.Addr(),
			})
		}
	}
	a.Announcer.Announce(list...)
}
