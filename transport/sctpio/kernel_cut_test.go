package sctpio

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
)

// cyclesEnv is how many times TestKernelPathCut cuts a path. With it, the limits
// are those that are promised for a machine that does nothing else.
const cyclesEnv = "NQ_SCTP_CYCLES"

// TestKernelPathCut: a link has an association for control and one for bulk data,
// both over two cables. 200 messages a second go each way, one cable is cut, in
// every manner, and put back. Nothing is lost or comes twice, and the silence is
// short. The long version is
//
//	NQ_SCTP_CYCLES=200 go run ./test/vm/kerneltests -packages ./transport/sctpio -run TestKernelPathCut -timeout 20m
func TestKernelPathCut(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	cycles, median, most := len(manners), 300*time.Millisecond, time.Second // this machine may be busy
	if s := os.Getenv(cyclesEnv); s != "" {
		var err error
		if cycles, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", cyclesEnv, err)
		}
		median, most = 150*time.Millisecond, 300*time.Millisecond
	}
	c := newCutter(t)
	r := rand.New(rand.NewPCG(17, uint64(cycles)))
	busy, idle, back := gaps{}, gaps{}, gaps{}
	for i := range cycles {
		cable := r.IntN(2)
		m := manners[i%len(manners)]
		// Which path each end of each association prefers is up to chance; what
		// counts is a cable that the messages of both directions go by.
		mine := r.IntN(4) > 0
		c.prefer(func() int {
			if mine {
				return cable
			}
			return r.IntN(2)
		})
		c.restart()
		if err := m.cut(c, cable); err != nil {
			t.Fatal(err)
		}
		c.more(40 + r.Uint64N(100)) // a cut of any length
		if gap := c.longest(); mine {
			busy.add(m.name, gap)
		} else {
			idle.add(m.name, gap)
		}
		c.restart()
		if err := m.heal(c, cable); err != nil {
			t.Fatal(err)
		}
		await(t, "all paths to be used again", c.allActive)
		c.more(10)
		back.add(m.name, c.longest())
	}
	c.end()
	t.Logf("gaps of messages when a busy path was cut: %v", busy)
	t.Logf("when any path was cut: %v", idle)
	t.Logf("when a path came back: %v", back)
	st := c.p.A.Status()
	t.Logf("%d messages each way, %d switches of the link, %d bytes resent, %d arrived twice, %d associations lost",
		c.flows[0].sent, st.Switches, st.Resent, c.p.B.Status().Duplicates, c.k.redials())
	all := busy.all()
	if got := all[len(all)/2]; got > median {
		t.Errorf("the median gap is %v", got)
	}
	if got := all[(len(all)*99-1)/100]; got > most {
		t.Errorf("the 99th percentile of gaps is %v", got)
	}
}

// A manner is a way of cutting a cable.
type manner struct {
	name      string
	cut, heal func(c *cutter, cable int) error
}

var manners = []manner{
	{"silence both ways", drops(true, true, true), drops(true, true, false)},
	{"silence of what is sent", drops(false, true, true), drops(false, true, false)},
	{"silence of what is answered", drops(true, false, true), drops(true, false, false)},
	{"down at this end", sets("", "down"), sets("", "up")},
	{"down at the far end", sets("-n far", "down"), sets("-n far", "up")},
}

func drops(here, there, drop bool) func(*cutter, int) error {
	return func(c *cutter, cable int) error {
		name := fmt.Sprintf("path%d", cable)
		if here {
			if err := c.faults.here.cable(name, drop); err != nil {
				return err
			}
		}
		if there {
			return c.faults.there.cable(name, drop)
		}
		return nil
	}
}

func sets(namespace, state string) func(*cutter, int) error {
	return func(c *cutter, cable int) error {
		nstest.Sh(c.t, fmt.Sprintf("ip %s link set path%d %s", namespace, cable, state))
		return nil
	}
}

// A cutter is a link under load whose cables can be cut.
type cutter struct {
	t      testing.TB
	faults *faults
	p      *linktest.Pair
	k      *keeper
	flows  [2]*flow
}

func newCutter(t testing.TB) *cutter {
	t.Helper()
	c := &cutter{t: t, faults: newFaults(t), p: linktest.NewPair(t, linktest.Kind{}, 0)}
	c.k = keep(t, c.p)
	a, b := c.p.Streams(t, link.Control)
	c.flows = [2]*flow{newFlow(t, a, b), newFlow(t, b, a)}
	c.more(20)
	return c
}

// prefer chooses the primary path of each end of each association.
func (c *cutter) prefer(cable func() int) {
	c.t.Helper()
	for i, conn := range c.k.conns() {
		at := [][]netip.Addr{far, near}[i%2]
		// One that has just been lost is made anew, with a choice of its own.
		if err := conn.SetPrimary(at[cable()]); err != nil && conn.over() == nil && !conn.s.closed.Load() {
			c.t.Fatal(err)
		}
	}
	c.more(4)
}

func (c *cutter) allActive() bool {
	for _, conn := range c.k.conns() {
		paths, err := conn.Paths()
		if err != nil || slices.ContainsFunc(paths, func(p PathInfo) bool { return p.State != Active }) {
			return false
		}
	}
	return true
}

func (c *cutter) restart() {
	for _, f := range c.flows {
		f.gap()
	}
}

func (c *cutter) longest() time.Duration { return max(c.flows[0].gap(), c.flows[1].gap()) }

func (c *cutter) more(n uint64) {
	c.t.Helper()
	for _, f := range c.flows {
		at := f.count() + n
		await(c.t, "more messages", func() bool { return f.count() >= at })
	}
}

func (c *cutter) end() {
	for _, f := range c.flows {
		f.end()
	}
}

// A flow is numbered messages, one each 5 ms.
type flow struct {
	t    testing.TB
	stop chan struct{}
	wg   sync.WaitGroup
	sent uint64

	mu     sync.Mutex
	got    uint64
	last   time.Time
	silent time.Duration
}

func newFlow(t testing.TB, from, to *link.Stream) *flow {
	f := &flow{t: t, stop: make(chan struct{}), last: time.Now()}
	f.wg.Go(func() { f.send(from) })
	f.wg.Go(func() { f.receive(to) })
	return f
}

func (f *flow) send(s *link.Stream) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	defer s.CloseWrite()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		if _, err := s.Write(binary.BigEndian.AppendUint64(nil, f.sent)); err != nil {
			f.t.Errorf("message %d: %v", f.sent, err)
			return
		}
		f.sent++
	}
}

func (f *flow) receive(s *link.Stream) {
	var m [8]byte
	for {
		if _, err := io.ReadFull(s, m[:]); err != nil {
			if err != io.EOF {
				f.t.Errorf("after %d messages: %v", f.got, err)
			}
			return
		}
		now := time.Now()
		f.mu.Lock()
		if n := binary.BigEndian.Uint64(m[:]); n != f.got {
			f.t.Errorf("message %d came, not %d", n, f.got)
		}
		f.got++
		f.silent = max(f.silent, now.Sub(f.last))
		f.last = now
		f.mu.Unlock()
	}
}

// gap is the longest silence since it was called last.
func (f *flow) gap() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := max(f.silent, time.Since(f.last))
	f.silent = 0
	return d
}

func (f *flow) count() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got
}

func (f *flow) end() {
	f.t.Helper()
	close(f.stop)
	f.wg.Wait()
	if f.got != f.sent {
		f.t.Errorf("%d messages of %d arrived", f.got, f.sent)
	}
}

// gaps are silences by what caused them.
type gaps map[string][]time.Duration

func (g gaps) add(what string, d time.Duration) { g[what] = append(g[what], d) }

func (g gaps) all() []time.Duration {
	var all []time.Duration
	for _, d := range g {
		all = append(all, d...)
	}
	slices.Sort(all)
	return all
}

func (g gaps) String() string {
	line := func(name string, d []time.Duration) string {
		if len(d) == 0 {
			return ""
		}
		slices.Sort(d)
		ms := func(i int) int64 { return d[i].Milliseconds() }
		return fmt.Sprintf("\n  %-28s %3d: median %3d, p90 %3d, p99 %3d, longest %3d ms", name, len(d), ms(len(d)/2), ms((len(d)*9-1)/10), ms((len(d)*99-1)/100), ms(len(d)-1))
	}
	out := line("all", g.all())
	for _, m := range manners {
		out += line(m.name, g[m.name])
	}
	return out
}
