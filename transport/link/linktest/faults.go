package linktest

import (
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

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
			return // this kind does neither
		}
		f.Delay = time.Duration(i) * 3 * time.Millisecond
		w.Set(f)
	}
	flows := []*flow{startFlow(t, p, link.Control, false), startFlow(t, p, link.Urgent, true), startFlow(t, p, link.Bulk, false)}
	var all sync.WaitGroup
	size := k.large() / 32
	for i := range 6 {
		all.Go(func() {
			s := p.Open(t, Copy, link.Class(i%3))
			s.SetDeadline(time.Now().Add(time.Minute))
			what := make([]byte, min(400_000, size))
			rand.NewChaCha8([32]byte{byte(i)}).Read(what)
			if i < 3 {
				go s.Write(what)
			} else {
				go s.ReadFrom(&pieces{r: rand.New(rand.NewPCG(uint64(i), 3)), left: what})
			}
			got := make([]byte, len(what))
			if n, err := io.ReadFull(s, got); err != nil || !slices.Equal(got, what) {
				t.Errorf("stream %d: damaged after %d bytes, %v", i, n, err)
			}
		})
	}
	all.Wait()
	for _, f := range flows {
		f.more(uint64(k.rounds(200)))
		f.end()
	}
	for range k.rounds(20) { // the last words on a stream may be lost as well
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
