package agent

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages"
	"github.com/netquorum/netquorum/transport"
)

// pathServed is where a filer asks another whether a service is served there.
const pathServed = "/agent/served"

// servedPatience is how long the answer may be held back while nothing changes.
const servedPatience = 10 * time.Second

// An attendance knows the programs beside the daemon that receive messages.
type attendance struct {
	mu      sync.Mutex
	count   map[string]int
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// join counts one more for a service, until leave is called.
func (a *attendance) join(service string) (leave func()) {
	a.add(service, 1)
	return sync.OnceFunc(func() { a.add(service, -1) })
}

func (a *attendance) add(service string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count == nil {
		a.count = map[string]int{}
	}
	if a.count[service] += n; a.count[service] == 0 {
		delete(a.count, service)
	}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

func (a *attendance) has(service string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count[service] > 0
}

// change returns a channel that is closed at the next change.
func (a *attendance) change() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

// A servedQuestion asks whether a service is served, and to hear only when that is
// not what the asker believes.
type servedQuestion struct {
	Service  string `json:"service"`
	Believed *bool  `json:"believed,omitempty"`
}

type servedAnswer struct {
	Served bool `json:"served"`
}

// served answers a question about this filer. A handler inside of the daemon says
// nothing when it comes and goes, so it is looked for from time to time.
func (m *member) served(ctx context.Context, q servedQuestion) (servedAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, servedPatience)
	defer cancel()
	tick := time.NewTicker(m.cfg.Heartbeat)
	defer tick.Stop()
	for {
		changed := m.agent.attendance.change()
		now := m.agent.attendance.has(q.Service)
		if node := m.messages.node; node != nil {
			now = now || node.Served(q.Service)
		}
		if q.Believed == nil || *q.Believed != now {
			return servedAnswer{now}, nil
		}
		select {
		case <-ctx.Done():
			return servedAnswer{now}, nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// Target implements api.MessagesBackend.
func (b mail) Target(ctx context.Context, t api.MessageTarget) iter.Seq2[api.TargetState, error] {
	return func(yield func(api.TargetState, error) bool) {
		_, m, err := b.open()
		if err != nil {
			yield(api.TargetState{}, err)
			return
		}
		to, err := m.target(t)
		if err != nil {
			yield(api.TargetState{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		w := &targetWatch{member: m, to: to, answers: make(chan targetAnswer), stop: func() {}}
		w.run(ctx, func(st api.TargetState) bool { return yield(st, nil) })
		cancel()
		w.asking.Wait()
	}
}

// A targetWatch follows one target: where it is by the configuration, whether the
// link to that filer works, and what that filer says of the service.
type targetWatch struct {
	member *member
	to     messages.Target

	answers chan targetAnswer
	asking  sync.WaitGroup
	stop    context.CancelFunc // ends the question under way
	busy    bool               // one is
	round   int                // of the newest question

	place    messages.Place
	answered bool
	served   bool
	failure  error
}

type targetAnswer struct {
	round  int
	served bool
	err    error
}

func (w *targetWatch) run(ctx context.Context, tell func(api.TargetState) bool) {
	tick := time.NewTicker(w.member.cfg.Heartbeat)
	defer tick.Stop()
	var last *api.TargetState
	again := true // a filer that did not answer is asked again at the next tick
	for {
		changed := w.member.store.Changed()
		w.locate()
		if w.place.Filer != "" && !w.busy && again {
			w.ask(ctx)
		}
		again = w.failure == nil
		if st, known := w.state(); known && (last == nil || !same(*last, st)) {
			if !tell(st) {
				return
			}
			last = &st
		}
		select {
		case <-ctx.Done():
			return
		case a := <-w.answers:
			w.hear(a)
			again = again && a.err == nil
		case <-changed:
		case <-tick.C:
			again = true
		}
	}
}

// same reports whether two states differ in words alone.
func same(a, b api.TargetState) bool {
	a.Reason, b.Reason = "", ""
	return a == b
}

// locate finds out where the target is. What another filer said does not count
// any more.
func (w *targetWatch) locate() {
	place := messages.Place{Filer: w.to.Filer}
	if w.to.Server != "" {
		place, _ = hosts{w.member}.Host(w.to.Server)
	}
	if place == w.place {
		return
	}
	w.place, w.answered, w.served, w.failure = place, false, false, nil
	w.stop()
	w.busy = false
}

// ask asks the target's filer, which answers when something has changed.
func (w *targetWatch) ask(ctx context.Context) {
	q := servedQuestion{Service: w.to.Service}
	if w.answered {
		believed := w.served
		q.Believed = &believed
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.busy = true
	w.round++
	stop, m, id, round := w.stop, w.member, w.place.Filer, w.round
	w.asking.Go(func() {
		defer stop()
		var a servedAnswer
		var err error
		if id == m.id {
			a, err = m.served(ctx, q)
		} else {
			bounded, cancel := context.WithTimeout(ctx, servedPatience+peerPatience)
			err = call(bounded, m.client, id, pathServed, q, &a)
			cancel()
		}
		select {
		case w.answers <- targetAnswer{round, a.Served, err}:
		case <-ctx.Done(): // nobody wants to know any more
		}
	})
}

func (w *targetWatch) hear(a targetAnswer) {
	if a.round != w.round || !w.busy {
		return // of another question
	}
	w.busy, w.failure = false, a.err
	w.answered, w.served = a.err == nil, a.served
}

// state is what is known, if anything is.
func (w *targetWatch) state() (api.TargetState, bool) {
	if w.place.Filer == "" {
		return api.TargetState{Reason: w.to.Server + " is on no filer now"}, true
	}
	st := api.TargetState{Filer: w.member.filerName(w.place.Filer), Epoch: w.place.Epoch}
	switch lost := w.lost(); {
	case w.failure != nil:
		st.Reason = fmt.Sprintf("%s does not answer: %v", st.Filer, w.failure)
	case lost:
		st.Reason = "no path to " + st.Filer + " works"
	case !w.answered:
		return st, false
	case !w.served:
		st.Reachable, st.Reason = true, fmt.Sprintf("nobody receives messages of %s on %s", w.to.Service, st.Filer)
	default:
		st.Reachable, st.Served = true, true
	}
	return st, true
}

// lost reports whether there was a link to the target's filer that works no more:
// sooner than the question fails.
func (w *targetWatch) lost() bool {
	if w.place.Filer == w.member.id || !w.answered {
		return false
	}
	links := w.member.endpoint.Links()
	i := slices.IndexFunc(links, func(l transport.LinkStatus) bool { return l.Filer == w.place.Filer })
	return i >= 0 && !links[i].Up
}
