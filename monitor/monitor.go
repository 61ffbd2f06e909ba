package monitor

import (
	"context"
	"iter"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"time"
)

// A Monitor watches the links of one filer. Its Run can end and begin again as
// often as somebody likes: plan, snapshot and subscriptions stay, and all else
// is found out anew.
type Monitor struct {
	log    *slog.Logger
	source Source
	probe  func() Prober

	board  board
	change chan struct{} // wakes Run when the plan changed

	mu   sync.Mutex
	plan Plan
}

// Options are what a monitor works with. A nil logger is silent.
type Options struct {
	Source Source
	// Probe opens a prober each time Run begins; nil asks nobody.
	Probe func() Prober
	Log   *slog.Logger
}

// New returns a monitor that watches what the kernel has until Configure says
// what to watch.
func New(o Options) *Monitor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Monitor{log: o.Log, source: o.Source, probe: o.Probe, change: make(chan struct{}, 1), plan: Plan{Timing: DefaultTiming}}
}

// DefaultTiming is that of a configuration that says nothing.
var DefaultTiming = Timing{Interval: 500 * time.Millisecond, Fault: 2 * time.Second, Repair: 10 * time.Second, LinkRepair: 3 * time.Second}

// Configure says what to watch from now on. What is watched before and after
// keeps its history.
func (m *Monitor) Configure(p Plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if reflect.DeepEqual(m.plan, p) {
		return
	}
	m.plan = p
	select {
	case m.change <- struct{}{}:
	default:
	}
}

func (m *Monitor) current() Plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plan
}

// Snapshot returns what the monitor said last.
func (m *Monitor) Snapshot() Snapshot { return m.board.snapshot() }

// Subscribe yields the snapshot and then every change, until the context ends.
func (m *Monitor) Subscribe(ctx context.Context) iter.Seq[Event] { return m.board.subscribe(ctx) }

const (
	// detailPeriod is how often LACP's details are read without a reason.
	detailPeriod = 5 * time.Second
	// detailPause is between two readings, however many reasons there are.
	detailPause = 250 * time.Millisecond
	// resubscribe is the first wait after a subscription broke; it doubles.
	resubscribe, maxResubscribe = 10 * time.Millisecond, 5 * time.Second
)

// Run watches until the context ends.
func (m *Monitor) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	updates := make(chan Update, 64)
	wait.Go(func() { m.watch(ctx, updates) })
	r := run{Monitor: m, judge: newJudge(), asked: asked{}, plan: m.current()}
	r.kernel.clear()
	var heard <-chan Heard
	asks := make(chan []Ask, 1)
	if m.probe != nil {
		p := m.probe()
		defer p.Close()
		heard = p.Heard()
		r.asks = asks
		r.prober = p
		// Sending may wait for the kernel, and must not keep us from its news.
		wait.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case list := <-asks:
					p.Ask(list)
				}
			}
		})
	}
	return r.loop(ctx, updates, heard)
}

// watch keeps a subscription to the kernel's news.
func (m *Monitor) watch(ctx context.Context, updates chan<- Update) {
	pause := resubscribe
	for {
		begun := time.Now()
		err := m.source.Watch(ctx, func(u Update) {
			select {
			case updates <- u:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > time.Minute {
			pause = resubscribe
		}
		m.log.Warn("watching the kernel's links anew", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxResubscribe)
	}
}

// A run is what Run knows. One goroutine owns it.
type run struct {
	*Monitor
	judge  *judge
	kernel table
	asked  asked
	plan   Plan
	asks   chan<- []Ask
	prober Prober
	listed bool // everything was seen once

	detailed    time.Time // when details were read
	stale       bool      // there is a reason to read them
	lastAsked   time.Time
	knownChange bool
}

func (r *run) loop(ctx context.Context, updates <-chan Update, heard <-chan Heard) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-updates:
			r.take(u)
		case h := <-heard:
			r.hear(h)
		case <-r.change:
			r.plan = r.current()
			r.asked.only(r.plan.Targets)
			r.lastAsked = time.Time{}
		case <-timer.C:
		}
		next := r.step(time.Now())
		timer.Reset(next)
	}
}

// take takes news of the kernel.
func (r *run) take(u Update) {
	for _, c := range u.Changes {
		switch {
		case c.Address != nil:
			r.knownChange = true
		case c.Link != nil && (c.Link.Port != nil || c.Link.Bond != nil):
			r.stale = r.stale || !reflect.DeepEqual(r.kernel.links[c.Link.Index], *c.Link)
		}
	}
	r.kernel.apply(u)
	r.listed = r.listed || u.Reset
	r.knownChange = r.knownChange || u.Reset
}

func (r *run) hear(h Heard) {
	now := time.Now()
	if h.Answer {
		r.asked.answer(now, targetKey{h.Interface, h.Address})
	}
	r.judge.wire.hear(now, h, &r.kernel)
}

// step does what is due, publishes what changed, and returns how long nothing
// is due.
func (r *run) step(now time.Time) time.Duration {
	if !r.listed {
		return time.Minute
	}
	s, due := r.judge.look(now, r.plan, &r.kernel, r.asked)
	if r.board.publish(s) {
		r.say(s)
	}
	wait := time.Minute
	sooner := func(at time.Time) { wait = min(wait, max(at.Sub(now), 0)) }
	if !due.IsZero() {
		sooner(due)
	}
	if at, any := r.details(now); any {
		sooner(at)
	}
	if r.asks != nil && len(r.plan.Targets) > 0 {
		sooner(r.ask(now))
	}
	return wait
}

// say logs the states that changed for the worse or back.
func (r *run) say(s Snapshot) {
	for _, i := range s.Interfaces {
		if !i.Since.Equal(s.Time) {
			continue
		}
		switch i.State {
		case Failed:
			r.log.Warn("interface failed", "interface", i.Name, "reason", i.Reason)
		case Running:
			r.log.Info("interface runs", "interface", i.Name)
		default:
			r.log.Info("interface is "+string(i.State), "interface", i.Name, "reason", i.Reason)
		}
	}
}

// details reads what is told of 802.3ad bonds outside netlink, not more often
// than is useful, and returns when to do it next.
func (r *run) details(now time.Time) (next time.Time, any bool) {
	period := detailPeriod
	if r.stale {
		period = detailPause
	}
	due := !now.Before(r.detailed.Add(period))
	for _, l := range r.kernel.links {
		if !l.Bond.LACP() {
			continue
		}
		any = true
		if !due {
			continue
		}
		if d, err := r.source.Detail(l.Name); err == nil {
			r.kernel.details[l.Name] = d
		}
	}
	if !any || !due {
		return r.detailed.Add(period), any
	}
	r.detailed, r.stale = now, false
	// What was read is looked at in the next step, soon.
	return now, true
}

// ask asks all targets when it is time, and returns when it is next.
func (r *run) ask(now time.Time) time.Time {
	next := r.lastAsked.Add(r.plan.Timing.Interval)
	if now.Before(next) {
		return next
	}
	if r.knownChange {
		r.knownChange = false
		r.tellOwn()
	}
	list := r.plan.asks(&r.kernel, r.judge.works)
	select {
	case r.asks <- list:
		r.asked.ask(now, list)
	default: // the last round is not through: the kernel is busy
	}
	r.lastAsked = now
	return now.Add(r.plan.Timing.Interval)
}

// tellOwn tells the prober which addresses are this filer's.
func (r *run) tellOwn() {
	own := make(map[netip.Addr]bool, len(r.kernel.addresses))
	for a := range r.kernel.addresses {
		own[a] = true
	}
	r.prober.Know(own)
}
