package monitor

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeKernel is a source that a test changes. Subscriptions can be cut.
type fakeKernel struct {
	mu     sync.Mutex
	table  table
	send   func(Update)
	cut    chan struct{}
	opened int
}

func newFakeKernel() *fakeKernel {
	k := &fakeKernel{cut: make(chan struct{})}
	k.table.clear()
	k.set(Link{Index: 1, Name: "eth0", Up: true, Carrier: true})
	k.set(Link{Index: 3, Name: "data0", Up: true, Carrier: true, Parent: 1})
	return k
}

func (k *fakeKernel) Watch(ctx context.Context, send func(Update)) error {
	k.mu.Lock()
	k.opened++
	u := Update{Reset: true}
	for _, l := range k.table.links {
		u.Changes = append(u.Changes, Change{Link: &l})
	}
	k.send = send
	cut := k.cut
	send(u)
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-cut:
		return errors.New("lost messages")
	}
}

func (*fakeKernel) Detail(string) (Detail, error) { return nil, nil }

// set changes a link and tells of it, if anybody listens.
func (k *fakeKernel) set(l Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table.link(l, false)
	if k.send != nil {
		k.send(Update{Changes: []Change{{Link: &l}}})
	}
}

func (k *fakeKernel) signal(on bool) {
	k.set(Link{Index: 1, Name: "eth0", Up: true, Carrier: on})
}

// overflow loses the messages from now on, and the subscription with them.
func (k *fakeKernel) overflow(while func()) {
	k.mu.Lock()
	k.send = nil
	k.mu.Unlock()
	while()
	k.mu.Lock()
	close(k.cut)
	k.cut = make(chan struct{})
	k.mu.Unlock()
}

// A fakeProber answers for the addresses that are alive.
type fakeProber struct {
	mu    sync.Mutex
	heard chan Heard
	alive map[netip.Addr]bool
	asked int
	open  int
}

func newFakeProber() *fakeProber {
	return &fakeProber{heard: make(chan Heard, 100), alive: map[netip.Addr]bool{}}
}

func (p *fakeProber) Ask(list []Ask) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range list {
		p.asked++
		if p.alive[a.Address] {
			p.heard <- Heard{Interface: a.Interface, Address: a.Address, Answer: true}
		}
	}
}
func (*fakeProber) Know(map[netip.Addr]bool) {}
func (p *fakeProber) Heard() <-chan Heard    { return p.heard }
func (p *fakeProber) Close()                 { p.mu.Lock(); defer p.mu.Unlock(); p.open-- }
func (p *fakeProber) count() int             { p.mu.Lock(); defer p.mu.Unlock(); return p.asked }
func (p *fakeProber) set(a netip.Addr, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive[a] = alive
}

// begin runs a monitor of the fakes in a synctest bubble until the test ends it.
func begin(t *testing.T, k *fakeKernel, p *fakeProber, targets ...Target) (m *Monitor, end func()) {
	t.Helper()
	o := Options{Source: k}
	if p != nil {
		o.Probe = func() Prober { p.mu.Lock(); defer p.mu.Unlock(); p.open++; return p }
	}
	m = New(o)
	m.Configure(Plan{Filer: "f1", Groups: []Group{card, data0}, Timing: testTiming, Targets: targets})
	return m, run1(m)
}

func run1(m *Monitor) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func wantState(t *testing.T, m *Monitor, want State) {
	t.Helper()
	synctest.Wait()
	if i := m.Snapshot().Interface("data0"); i.State != want {
		t.Errorf("data0 is %s (%s), want %s", i.State, i.Reason, want)
	}
}

// Somebody who flaps and somebody who follows the states: the states change
// rarely, however often the link does.
func TestFlappingIsNotPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		m, end := begin(t, k, nil)
		defer end()
		wantState(t, m, Running)
		ctx, cancel := context.WithCancel(t.Context())
		var changes []State
		var wait sync.WaitGroup
		wait.Go(func() {
			for e := range m.Subscribe(ctx) {
				if e.Interface == "data0" && e.Finding == nil {
					changes = append(changes, e.Is)
				}
			}
		})
		synctest.Wait()
		for range 1000 { // ten minutes
			k.signal(false)
			time.Sleep(300 * time.Millisecond)
			k.signal(true)
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(59 * time.Second)
		wantState(t, m, Failed)
		time.Sleep(time.Second)
		wantState(t, m, Running)
		cancel()
		wait.Wait()
		if want := []State{Failed, Up, Failed, Up, Failed, Running}; !slices.Equal(changes, want) {
			t.Errorf("the states were %v, want %v", changes, want)
		}
	})
}

func TestProbesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, p := newFakeKernel(), newFakeProber()
		p.set(gateway, true)
		m, end := begin(t, k, p, Target{Interface: "data0", Address: gateway, Reason: Gateway, OnLink: true})
		time.Sleep(5 * time.Second)
		wantState(t, m, Running)
		if n := p.count(); n < 9 || n > 12 {
			t.Errorf("asked %d times in 5 s, want every 500 ms", n)
		}
		p.set(gateway, false)
		time.Sleep(1400 * time.Millisecond)
		wantState(t, m, Running)
		time.Sleep(700 * time.Millisecond)
		wantState(t, m, Failed)
		p.set(gateway, true)
		time.Sleep(time.Second)
		wantState(t, m, Up)
		time.Sleep(10 * time.Second)
		wantState(t, m, Running)

		// Nobody asks on a link without signal.
		k.signal(false)
		synctest.Wait()
		asked := p.count()
		time.Sleep(10 * time.Second)
		wantState(t, m, Failed)
		if n := p.count() - asked; n > 0 {
			t.Errorf("asked %d times on a link without signal", n)
		}
		end()
		if p.open != 0 {
			t.Errorf("%d probers were left open", p.open)
		}
	})
}

// Messages that were lost are made up for by listing.
func TestOverflowListsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		m, end := begin(t, k, nil)
		defer end()
		wantState(t, m, Running)
		k.overflow(func() { k.signal(false) })
		time.Sleep(100 * time.Millisecond)
		wantState(t, m, Failed)
		if k.opened != 2 {
			t.Errorf("subscribed %d times, want 2", k.opened)
		}
	})
}

// S3: a monitor that is killed and started again says the same, to the same
// subscribers.
func TestRestartedMonitorSaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		k.signal(false)
		m, end := begin(t, k, nil)
		wantState(t, m, Failed)
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		var events []Event
		wait.Go(func() {
			for e := range m.Subscribe(ctx) {
				events = append(events, e)
			}
		})
		synctest.Wait()
		for range 5 {
			end()
			wantState(t, m, Failed) // what was said last
			end = run1(m)
			wantState(t, m, Failed)
		}
		time.Sleep(time.Minute)
		cancel()
		wait.Wait()
		end()
		if len(events) != 1 || events[0].Snapshot == nil {
			t.Errorf("subscribers were told of %d events, want the first snapshot only: %+v", len(events), events)
		}
	})
}

// A subscriber that does not read holds up nobody, and is given everything when
// it reads again.
func TestSlowSubscriberGetsASnapshot(t *testing.T) {
	var b board
	n := 0
	change := func() {
		n++
		s := Snapshot{Interfaces: []Interface{{Name: "eth0", State: Running}}}
		if n%2 == 0 {
			s.Interfaces[0].State = Failed
		}
		b.publish(s)
	}
	change()
	read, gaps := 0, 0
	for e := range b.subscribe(t.Context()) {
		read++
		switch {
		case read == 1: // while this is handled, more happens than there is room for
			for range 3 * room {
				change()
			}
		case e.Snapshot != nil:
			gaps++
			if e.Seq != b.snapshot().Seq || e.Snapshot.Interfaces[0].State != b.snapshot().Interfaces[0].State {
				t.Errorf("after a gap, %d of %d was given", e.Seq, b.snapshot().Seq)
			}
		}
		if gaps > 0 || read > room+1 {
			break
		}
	}
	if gaps != 1 {
		t.Errorf("%d events were read and %d snapshots after the gap, want 1", read, gaps)
	}
	if len(b.subscribers) != 0 {
		t.Errorf("%d subscribers are left", len(b.subscribers))
	}
}

// What is watched may change at any time; what stays keeps its history.
func TestConfigureKeepsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		m, end := begin(t, k, nil)
		defer end()
		k.signal(false)
		synctest.Wait()
		k.signal(true)
		wantState(t, m, Up)
		m.Configure(Plan{Filer: "f1", Groups: []Group{card, data0, {Name: "data1", Layer: data0.Layer, Below: "eth0"}}, Timing: testTiming})
		wantState(t, m, Up)
		if s := m.Snapshot().Interface("data1").State; s != Offline {
			t.Errorf("data1, which the kernel lacks, is %s", s)
		}
		time.Sleep(testTiming.LinkRepair)
		wantState(t, m, Running)
	})
}
