package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// A goal is what the kernel should look like, and where that comes from.
type goal struct {
	config   netquorum.Config
	revision netquorum.Revision
	filer    string
	hosts    func(netquorum.Key) bool
	// until is when the goal changes by itself because a lease ends; zero for
	// never.
	until time.Time
	// network is the revision of the newest change that concerns the kernel.
	network netquorum.Revision
	// held says whether hosts was made under a lease, grace whether it names what
	// a restarted daemon found in the kernel.
	held, grace bool
	// ahead names the attempt at this filer's step of a rollout that config
	// follows; empty for none.
	ahead string
}

// same reports whether two goals ask the same of the kernel.
func (g goal) same(o goal) bool {
	return g.network == o.network && g.filer == o.filer && g.held == o.held && g.grace == o.grace && g.ahead == o.ahead
}

// A follower makes the kernel match its goal, whenever the goal or the kernel
// changes. It owns the kernel: nothing else in the process writes to it.
type follower struct {
	apply *netapply.Applier
	goal  func() (goal, bool) // false while there is nothing to follow
	now   func() time.Time
	log   *slog.Logger
	// follows is told of each goal after the pass for it, traced of what it came
	// to and of the revision that was followed before. under gives a pass the
	// trace that it is made for.
	follows func(goal)
	under   func(ctx context.Context, g goal, before netquorum.Revision) context.Context
	traced  func(g goal, before netquorum.Revision, began time.Time, r netapply.Report, err error)
	// period is how often the whole kernel is compared without any reason,
	// which catches what an event was lost for. retry is the first wait after a
	// failure; it doubles up to the period.
	period, retry time.Duration

	wake chan struct{}

	// followed is the goal that the kernel was last made to match, refused one
	// that it did not take. Only Run's goroutine uses them.
	followed *goal
	refused  *rejection

	mu      sync.Mutex
	settled netquorum.Revision
	// inertFrom..inertTo are revisions between which nothing concerns the kernel.
	inertFrom, inertTo netquorum.Revision

	passed  chan struct{} // closed and replaced when settled or the report changed
	last    netapply.Report
	err     error
	hosting []string
	ahead   string               // the last pass's
	failing map[string]time.Time // objects that are not as they should be, and since when
}

func newFollower(apply *netapply.Applier, now func() time.Time, log *slog.Logger) *follower {
	return &follower{
		apply: apply, now: now, log: log,
		period: 30 * time.Second, retry: 500 * time.Millisecond,
		wake: make(chan struct{}, 1), passed: make(chan struct{}),
		goal: func() (goal, bool) { return goal{}, false }, follows: func(goal) {},
		under:  func(ctx context.Context, _ goal, _ netquorum.Revision) context.Context { return ctx },
		traced: func(goal, netquorum.Revision, time.Time, netapply.Report, error) {},
	}
}

// Wake asks for a pass soon. It never blocks; several wakes make one pass.
func (f *follower) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run follows until the context ends. events are the kernel's own changes.
func (f *follower) Run(ctx context.Context, events <-chan struct{}) error {
	wait, due := f.retry, f.now()
	var done goal
	for {
		g, ok := f.current()
		// A lease that was renewed moves until and nothing else: no pass then.
		if ok && (!f.now().Before(due) || !g.same(done)) {
			if f.pass(ctx, g) {
				wait, due = f.retry, f.now().Add(f.period)
			} else {
				due, wait = f.now().Add(wait), min(2*wait, f.period)
			}
			done = g
		}
		next := max(due.Sub(f.now()), 0)
		if !ok {
			next = f.period
		} else if !g.until.IsZero() {
			next = min(next, max(g.until.Sub(f.now()), 0)+time.Millisecond)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-events:
			due = earlier(due, f.now().Add(f.patience()))
		case <-f.wake:
			due = f.now()
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (f *follower) current() (goal, bool) {
	f.mu.Lock()
	get := f.goal
	f.mu.Unlock()
	return get()
}

// Follow replaces where goals come from, and wakes.
func (f *follower) Follow(get func() (goal, bool)) {
	f.mu.Lock()
	f.goal = get
	f.mu.Unlock()
	f.Wake()
}

// pass makes the kernel match one goal and reports whether all of it worked.
func (f *follower) pass(ctx context.Context, g goal) bool {
	began, before := f.now(), f.settledAt()
	ctx = f.under(ctx, g, before)
	report, err := f.follow(ctx, g)
	if ctx.Err() != nil {
		return false
	}
	f.traced(g, before, began, report, err)
	f.follows(g)
	var hosting []string
	for h := range g.config.Hosted() {
		if g.hosts(h.Key) {
			hosting = append(hosting, h.Key.Name)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logPass(ctx, g, report, err)
	f.last, f.err, f.hosting, f.ahead = report, err, hosting, g.ahead
	f.failing = f.since(f.failing)
	if err == nil {
		// Objects that failed are in the report: the revision is followed as far
		// as this kernel can, and status says what is missing.
		f.settled = max(f.settled, g.revision)
		f.advance()
	}
	close(f.passed)
	f.passed = make(chan struct{})
	return err == nil && len(report.Failures) == 0
}

func (f *follower) settledAt() netquorum.Revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settled
}

func (f *follower) logPass(ctx context.Context, g goal, r netapply.Report, err error) {
	switch {
	case err != nil:
		f.log.ErrorContext(ctx, "the kernel could not be made to match the configuration", "revision", g.revision, "error", err)
	case len(r.Failures) > 0:
		for _, e := range r.Failures {
			f.log.WarnContext(ctx, "a part of the configuration is not in the kernel", "revision", g.revision, "error", e)
		}
	case len(r.Steps) > 0:
		f.log.InfoContext(ctx, "kernel changed to match the configuration", "revision", g.revision, "steps", len(r.Steps), "took", r.Duration)
	}
}

// Settle says that nothing between two revisions concerns the kernel, so that
// whoever has followed the first has followed the second.
func (f *follower) Settle(from, to netquorum.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inertTo != from {
		f.inertFrom = from
	}
	f.inertTo = to
	f.advance()
}

// advance moves settled over the inert revisions. f.mu is held.
func (f *follower) advance() {
	if f.settled >= f.inertFrom && f.settled < f.inertTo {
		f.settled = f.inertTo
		close(f.passed)
		f.passed = make(chan struct{})
	}
}

// An outcome is what the last pass came to.
type outcome struct {
	settled netquorum.Revision
	report  netapply.Report
	err     error
	hosting []string
	failing map[string]time.Time
	ahead   string
}

// since carries over when each failing object began to fail. f.mu is held.
func (f *follower) since(before map[string]time.Time) map[string]time.Time {
	objects := []string{}
	if f.err != nil {
		objects = append(objects, wholeConfiguration)
	}
	for _, e := range f.last.Failures {
		objects = append(objects, e.Object)
	}
	now := map[string]time.Time{}
	for _, o := range objects {
		at, ok := before[o]
		if !ok {
			at = f.now().UTC()
		}
		now[o] = at
	}
	return now
}

// wholeConfiguration is the object of a failure that concerns everything.
const wholeConfiguration = "configuration"

// Outcome returns the last pass's, and a channel that is closed after the next.
func (f *follower) Outcome() (outcome, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return outcome{f.settled, f.last, f.err, f.hosting, f.failing, f.ahead}, f.passed
}

// errors returns what is not as it should be, in words.
func (o outcome) errors() []string {
	var out []string
	if o.err != nil {
		out = append(out, o.err.Error())
	}
	for _, f := range o.report.Failures {
		out = append(out, f.Error())
	}
	return out
}
