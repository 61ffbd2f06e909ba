package linktest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

// A flow is numbered messages in one direction at a steady rate. The receiver
// counts what is lost, twice or out of order, and notes the silences.
type flow struct {
	t    testing.TB
	s    *link.Stream
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
	sent uint64

	mu      sync.Mutex
	got     uint64
	last    time.Time
	longest time.Duration
}

const flowPeriod = 5 * time.Millisecond

// startFlow sends from A to B, or back.
func startFlow(t testing.TB, p *Pair, c link.Class, back bool) *flow {
	t.Helper()
	a, b := p.Streams(t, c)
	if back {
		a, b = b, a
	}
	f := &flow{t: t, s: a, stop: make(chan struct{}), last: time.Now()}
	t.Cleanup(f.halt)
	f.wg.Go(f.send)
	f.wg.Go(func() { f.receive(b) })
	return f
}

func (f *flow) send() {
	tick := time.NewTicker(flowPeriod)
	defer tick.Stop()
	defer f.s.CloseWrite()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		m := make([]byte, 200)
		binary.BigEndian.PutUint64(m, f.sent)
		if err := link.WriteMessage(f.s, m, len(m)); err != nil {
			f.t.Errorf("message %d: %v", f.sent, err)
			return
		}
		f.sent++
	}
}

func (f *flow) receive(s *link.Stream) {
	var buf []byte
	for {
		m, err := link.ReadMessage(s, buf, 200)
		if err == io.EOF {
			return
		}
		if err != nil {
			f.t.Errorf("after %d messages: %v", f.got, err)
			return
		}
		buf = m
		now := time.Now()
		f.mu.Lock()
		if n := binary.BigEndian.Uint64(m); n != f.got {
			f.t.Errorf("message %d came, want %d", n, f.got)
		}
		f.got++
		f.longest = max(f.longest, now.Sub(f.last))
		f.last = now
		f.mu.Unlock()
	}
}

// gap returns the longest silence since it was called last.
func (f *flow) gap() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := max(f.longest, time.Since(f.last))
	f.longest = 0
	return d
}

func (f *flow) received() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got
}

func (f *flow) halt() { f.once.Do(func() { close(f.stop) }) }

// end stops the flow and checks that all has arrived.
func (f *flow) end() {
	f.t.Helper()
	f.halt()
	f.wg.Wait()
	if f.got != f.sent {
		f.t.Errorf("%d messages of %d arrived", f.got, f.sent)
	}
}

// more waits until n more messages have come, or for a while.
func (f *flow) more(n uint64) {
	f.t.Helper()
	at := f.received() + n
	Eventually(f.t, "more messages", func() bool { return f.received() >= at })
}

// state waits until all carriers at both ends are in one of the states.
func state(t testing.TB, p *Pair, path int, want ...link.State) {
	t.Helper()
	Eventually(t, "a carrier to be "+string(want[0]), func() bool {
		for _, l := range []*link.Link{p.A, p.B} {
			st := l.Status()
			i := slices.IndexFunc(st.Carriers, func(c link.CarrierStatus) bool { return c.Path.Rank == path })
			if i < 0 || !slices.Contains(want, st.Carriers[i].State) {
				return false
			}
		}
		return true
	})
}

var directions = []memlink.Direction{memlink.Both, memlink.AToB, memlink.BToA}

// quick makes a link return to a path that is back without waiting long.
func quick(c *link.Config) { c.Settle = 50 * time.Millisecond }

func cutPath(t *testing.T, k Kind) {
	p := NewPair(t, k, 2, quick)
	p.Keep(t)
	there, back := startFlow(t, p, link.Control, false), startFlow(t, p, link.Control, true)
	bulk := startFlow(t, p, link.Bulk, false)
	there.more(50)
	var gaps []time.Duration
	for range k.rounds(2) {
		for _, d := range directions {
			there.gap()
			back.gap()
			p.Paths[0].Cut(d)
			there.more(60)
			back.more(60)
			gaps = append(gaps, there.gap(), back.gap())
			p.Paths[0].Heal()
			state(t, p, 0, link.Up)
			there.more(40) // and it settles
		}
	}
	there.end()
	back.end()
	bulk.end()
	slices.Sort(gaps)
	median, most := gaps[len(gaps)/2], gaps[len(gaps)-1]
	t.Logf("gaps: median %v, longest %v", median, most)
	if median > k.bound(100*time.Millisecond, 100*time.Millisecond) || most > k.bound(150*time.Millisecond, time.Second) {
		t.Errorf("gaps %v", gaps)
	}
	if st := p.A.Status(); st.Switches == 0 {
		t.Errorf("%+v", st)
	}
}

func cutPathUrgent(t *testing.T, k Kind) {
	p := NewPair(t, k, 2, quick)
	f := startFlow(t, p, link.Urgent, false)
	f.more(20)
	f.gap()
	for _, d := range directions {
		for path := range p.Paths {
			p.Paths[path].Cut(d)
			f.more(40)
			p.Paths[path].Heal()
			state(t, p, path, link.Up)
		}
	}
	if gap := f.gap(); gap > k.bound(2*flowPeriod, 200*time.Millisecond) {
		t.Errorf("a gap of %v", gap)
	}
	f.end()
}

func pathBack(t *testing.T, k Kind) {
	p := NewPair(t, k, 2, quick)
	f := startFlow(t, p, link.Control, false)
	used := func(path int) func() bool {
		return func() bool {
			for _, c := range p.A.Status().Carriers {
				if c.Path.Rank == path {
					return slices.Contains(c.Classes, link.Control.String())
				}
			}
			return false
		}
	}
	for range 3 {
		Eventually(t, "the first path to be used", used(0))
		p.Paths[0].Cut(memlink.Both)
		Eventually(t, "the second path to be used", used(1))
		state(t, p, 0, link.Suspect, link.Down)
		p.Paths[0].Heal()
	}
	Eventually(t, "the first path to be used again", used(0))
	f.end()
}

func cycles(t *testing.T, k Kind) {
	n := k.rounds(200)
	p := NewPair(t, k, 2, quick)
	p.Keep(t)
	flows := []*flow{
		startFlow(t, p, link.Control, false), startFlow(t, p, link.Control, true),
		startFlow(t, p, link.Urgent, false), startFlow(t, p, link.Bulk, true),
	}
	a, b := p.Streams(t, link.Bulk) // a heavy one beside
	heavy := make(chan struct{})
	var wg sync.WaitGroup
	var sent, got int64
	wg.Go(func() {
		defer a.CloseWrite()
		for buf := make([]byte, 100_000); ; {
			m, err := a.Write(buf)
			sent += int64(m)
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-heavy:
				return
			case <-time.After(flowPeriod):
			}
		}
	})
	wg.Go(func() { got, _ = io.Copy(io.Discard, b) })
	r := rand.New(rand.NewPCG(4, uint64(n)))
	for range n {
		path := p.Paths[r.IntN(2)]
		path.Cut(directions[r.IntN(3)])
		flows[r.IntN(4)].more(uint64(1 + r.IntN(20)))
		path.Heal()
		if r.IntN(2) == 0 {
			flows[r.IntN(4)].more(uint64(r.IntN(10)))
		}
	}
	for _, f := range flows {
		f.end()
	}
	close(heavy)
	wg.Wait()
	if got != sent {
		t.Errorf("%d bytes of %d arrived", got, sent)
	}
	st := p.A.Status()
	t.Logf("%d cycles, %d messages: %d switches, %d bytes resent, %d arrived twice", n, flows[0].sent, st.Switches, st.Resent, p.B.Status().Duplicates)
}

func comeAndGo(t *testing.T, k Kind) {
	p := NewPair(t, k, 3, quick)
	f, g := startFlow(t, p, link.Control, false), startFlow(t, p, link.Bulk, true)
	f.more(10)
	carriers := map[int]*link.Carrier{}
	for i := range 12 {
		path := (i + 1) % 3
		switch i % 4 {
		case 3:
			if err := carriers[path].Close(); err != nil { // by its owner
				t.Error(err)
			}
		default:
			p.Paths[path].Break() // by a reset
		}
		f.more(5)
		var err error
		if carriers[path], err = Join(t.Context(), p.A, p.B, p.Paths[path], path); err != nil {
			t.Fatal(err)
		}
		g.more(5)
	}
	for path := range p.Paths { // none at all for a moment
		p.Paths[path].Break()
	}
	Eventually(t, "all carriers to be gone", func() bool {
		return len(p.A.Status().Carriers)+len(p.B.Status().Carriers) == 0
	})
	if err := p.Attach(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.more(10)
	f.end()
	g.end()
}

func silentPeer(t *testing.T, k Kind) {
	const patience = 600 * time.Millisecond
	p := NewPair(t, k, 2, func(c *link.Config) { c.Patience, c.GiveUp = patience, patience/2 })
	a, b := p.Streams(t, link.Control)
	start := time.Now()
	for _, path := range p.Paths {
		path.Cut(memlink.Both)
	}
	for _, s := range []*link.Stream{a, b} {
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, link.ErrPeerLost) || !errors.Is(err, link.ErrSilent) {
			t.Errorf("%v", err)
		}
	}
	if took := time.Since(start); took < patience-100*time.Millisecond || took > k.bound(patience+100*time.Millisecond, time.Second) {
		t.Errorf("it took %v, patience is %v", took, patience)
	}
	for _, path := range p.Paths {
		path.Heal()
	}
}

func halfOpen(t *testing.T, k Kind) {
	p := NewPair(t, k, 1, func(c *link.Config) { c.GiveUp = 300 * time.Millisecond })
	f := startFlow(t, p, link.Control, false)
	// One that never says hello.
	mute, other, err := p.Paths[0].Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.A.Attach(ctx, mute, link.Path{Kind: k.Name}); err == nil {
		t.Error("a mute connection was attached")
	}
	if took := time.Since(start); took > k.bound(100*time.Millisecond, time.Second) {
		t.Errorf("it took %v to refuse it", took)
	}
	// One that talks like nobody of us.
	strange, other, err := p.Paths[0].Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go io.WriteString(other, "GET / HTTP/1.1\r\n\r\n")
	if _, err := p.A.Attach(t.Context(), strange, link.Path{Kind: k.Name}); !errors.Is(err, link.ErrProtocol) {
		t.Errorf("a strange connection: %v", err)
	}
	if err := p.A.Err(); err != nil {
		t.Errorf("the link has ended: %v", err)
	}
	// A carrier whose peer has vanished is closed, and replaced by a new one.
	p.Paths[0].Cut(memlink.Both)
	Eventually(t, "the carrier to be given up", func() bool {
		return len(p.A.Status().Carriers)+len(p.B.Status().Carriers) == 0
	})
	p.Paths[0].Heal()
	if err := p.Attach(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	f.more(10)
	f.end()
}

func heartbeats(t *testing.T, k Kind) {
	size := k.large()
	for _, paths := range []int{1, 2} {
		p := NewPair(t, k, paths)
		if w, ok := p.Paths[0].(interface{ Set(memlink.Faults) }); ok {
			w.Set(memlink.Faults{Rate: 100 << 20, Delay: 100 * time.Microsecond})
		}
		a := p.Open(t, Sink, link.Bulk)
		done := make(chan error, 1)
		go func() {
			_, err := a.Write(make([]byte, size))
			done <- errors.Join(err, a.CloseWrite())
		}()
		worst := map[link.Class][]time.Duration{}
		beats := map[link.Class]*link.Stream{link.Urgent: p.Open(t, Echo, link.Urgent), link.Control: p.Open(t, Echo, link.Control)}
		tick := time.NewTicker(5 * time.Millisecond)
		for busy := true; busy; {
			for c, s := range beats {
				start := time.Now()
				s.Write(make([]byte, 50))
				if _, err := io.ReadFull(s, make([]byte, 50)); err != nil {
					t.Fatal(err)
				}
				worst[c] = append(worst[c], time.Since(start))
			}
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				busy = false
			case <-tick.C:
			}
		}
		tick.Stop()
		for c, d := range worst {
			slices.Sort(d)
			median, most := d[len(d)/2], d[len(d)-1]
			t.Logf("%d paths, %v: %d round trips beside %d MiB, median %v, longest %v", paths, c, len(d), size>>20, median, most)
			if median > k.bound(10*time.Millisecond, 40*time.Millisecond) || most > k.bound(20*time.Millisecond, time.Second) {
				t.Errorf("%v: median %v, longest %v", c, median, most)
			}
		}
		p.A.Close()
		p.B.Close()
	}
}

func incarnations(t *testing.T, k Kind) {
	p := NewPair(t, k, 2)
	a, _ := p.Streams(t, link.Control)
	old := p.B
	t.Cleanup(func() { old.Close() })
	// The process b starts anew; a does not know yet that the old one is dead.
	na, nb := p.New()
	t.Cleanup(func() { na.Close(); nb.Close() })
	if _, err := Join(t.Context(), p.A, nb, p.Paths[0], 0); !errors.Is(err, link.ErrOtherIncarnation) {
		t.Errorf("%v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, link.ErrPeerLost) || !errors.Is(err, link.ErrOtherIncarnation) {
		t.Errorf("a stream to the old process: %v", err)
	}
	if err := nb.Err(); err != nil {
		t.Errorf("the new process has ended its link: %v", err)
	}
	// The old one's carriers, if any still arrive, do not harm.
	if _, err := Join(t.Context(), na, nb, p.Paths[0], 0); err != nil {
		t.Fatal(err)
	}
	s, err := na.Open(t.Context(), Echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), old, na, p.Paths[1], 1); !errors.Is(err, link.ErrOtherIncarnation) {
		t.Errorf("%v", err)
	}
	if err := na.Err(); err != nil {
		t.Errorf("a late carrier of the old process has ended the link: %v", err)
	}
	io.WriteString(s, "still here")
	if _, err := io.ReadFull(s, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	other := link.New(link.Config{Local: "mallory", Peer: "b"})
	defer other.Close()
	if _, err := Join(t.Context(), other, nb, p.Paths[1], 1); err == nil {
		t.Error("another filer was attached")
	}
}

func goodbye(t *testing.T, k Kind) {
	changes := make(chan struct{}, 100)
	p := NewPair(t, k, 2, func(c *link.Config) {
		c.Changed = func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	})
	a, b := p.Streams(t, link.Control)
	io.WriteString(b, "last words")
	Eventually(t, "the words to arrive", func() bool { return p.A.Status().Carriers[0].Received > 100 })
	p.B.End(errors.New("an upgrade"))
	<-p.A.Done()
	if err := p.A.Err(); !errors.Is(err, link.ErrPeerLost) {
		t.Errorf("%v", err)
	}
	if got, err := io.ReadAll(a); !errors.Is(err, link.ErrPeerLost) || (len(got) > 0 && string(got) != "last words") {
		t.Errorf("%q, %v", got, err)
	}
	<-changes
	if len(p.A.Status().Carriers) > 0 {
		Eventually(t, "the carriers to be closed", func() bool { return len(p.A.Status().Carriers) == 0 })
	}
}

func mischief(t *testing.T, k Kind) {
	badly(t, k, 2, memlink.Faults{Duplicate: 0.2, Reorder: 0.2, Lose: 0.02})
	// With one path there is nowhere to go.
	badly(t, k, 1, memlink.Faults{Reorder: 0.05, Lose: 0.1}, func(c *link.Config) { c.Window, c.BulkWindow = 32<<10, 32<<10 })
}

// badly has a link carry data over paths with faults.
func badly(t *testing.T, k Kind, paths int, f memlink.Faults, set ...func(*link.Config)) {
	p := NewPair(t, k, paths, append(set, quick)...)
	for i, path := range p.Paths {
		w, ok := path.(interface{ Set(memlink.Faults) })
		if !ok {
			t.Skip("this kind does neither")
		}
		f.Delay = time.Duration(i) * 3 * time.Millisecond
		w.Set(f)
	}
	flows := []*flow{startFlow(t, p, link.Control, false), startFlow(t, p, link.Urgent, true), startFlow(t, p, link.Bulk, false)}
	var all sync.WaitGroup
	size := k.large() / 16
	for i := range 6 {
		all.Go(func() {
			s := p.Open(t, Copy, link.Class(i%3))
			s.SetDeadline(time.Now().Add(time.Minute))
			what := make([]byte, min(400_000, size))
			rand.NewChaCha8([32]byte{byte(i)}).Read(what)
			go s.Write(what)
			got := make([]byte, len(what))
			if n, err := io.ReadFull(s, got); err != nil || !slices.Equal(got, what) {
				t.Errorf("stream %d: damaged after %d bytes, %v", i, n, err)
			}
		})
	}
	all.Wait()
	for _, f := range flows {
		f.more(200)
		f.end()
	}
	for range 20 { // the last words on a stream may be lost as well
		a, b := p.Streams(t, link.Control)
		a.CloseWrite()
		b.CloseWrite()
		for _, s := range []*link.Stream{a, b} {
			if _, err := io.ReadAll(s); err != nil {
				t.Error(err)
			}
		}
	}
}

// A writer that waits for room hears of it by another path when the one that
// the reader used is cut.
func cutAcks(t *testing.T, k Kind) {
	const window = 64 << 10
	p := NewPair(t, k, 2, func(c *link.Config) { c.Window = window })
	a, b := p.Streams(t, link.Control)
	if _, err := a.Write(make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the window to be full and acknowledged", func() bool {
		return errors.Is(a.TryWrite([]byte("x")), link.ErrFull) && p.A.Status().Carriers[0].Received > 100
	})
	p.Paths[0].Cut(memlink.BToA)
	start := time.Now()
	if _, err := io.ReadFull(b, make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write(make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > k.bound(150*time.Millisecond, time.Second) {
		t.Errorf("it took %v to hear of it", took)
	}
}
