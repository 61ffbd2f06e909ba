package transport_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// twoCables are this namespace and one called far, with a cable called east and
// one called west between them, each a network of its own.
func twoCables(t *testing.T) {
	t.Helper()
	nstest.Possible(t, "ip link add probe0 type veth peer name probe1 && ip link del probe0", "nft list ruleset")
	nstest.Sh(t, `
		ip netns add far
		ip netns exec far ip link set lo up`)
	for i, cable := range []string{"east", "west"} {
		nstest.Sh(t, fmt.Sprintf(`
			ip link add %[1]s type veth peer name %[1]s netns far
			ip addr add 10.%[2]d.0.1/24 dev %[1]s
			ip netns exec far ip addr add 10.%[2]d.0.2/24 dev %[1]s
			ip link set %[1]s up
			ip netns exec far ip link set %[1]s up`, cable, i+1))
	}
	// What the rules drop is dropped on arrival, so that who sent it sees nothing.
	rules := t.TempDir() + "/rules"
	if err := os.WriteFile(rules, []byte(`
		add table inet faults
		add set inet faults dead { type ifname; }
		add chain inet faults in { type filter hook prerouting priority -500; }
		add rule inet faults in iifname @dead drop`), 0o600); err != nil {
		t.Fatal(err)
	}
	nstest.Sh(t, "nft -f "+rules+"\nip netns exec far nft -f "+rules)
}

// A cut is a way to break the cable called east, and to mend it.
type cut struct{ name, cut, mend string }

var cuts = []cut{
	{name: "silent, both ends", cut: "nft add element inet faults dead '{ east }'; ip netns exec far nft add element inet faults dead '{ east }'",
		mend: "nft delete element inet faults dead '{ east }'; ip netns exec far nft delete element inet faults dead '{ east }'"},
	{name: "silent, towards this end", cut: "nft add element inet faults dead '{ east }'", mend: "nft delete element inet faults dead '{ east }'"},
	{name: "silent, towards the far end", cut: "ip netns exec far nft add element inet faults dead '{ east }'",
		mend: "ip netns exec far nft delete element inet faults dead '{ east }'"},
	{name: "link down at this end", cut: "ip link set east down", mend: "ip link set east up"},
	{name: "link down at the far end", cut: "ip netns exec far ip link set east down", mend: "ip netns exec far ip link set east up"},
}

// newFilersOnCables makes filer-1 here and filer-2 in the namespace far.
func newFilersOnCables(t *testing.T, set ...func(*transport.Config)) (c *transporttest.Cluster, near, far *transporttest.Filer, ofFar *nets) {
	t.Helper()
	c = transporttest.New(t, 0)
	ofFar = &nets{own: addresses("10.1.0.2/24", "10.2.0.2/24")()}
	near = c.Add(t, "filer-1", append(set, func(cfg *transport.Config) {
		cfg.Listen = ":7480"
		cfg.Addresses = addresses("10.1.0.1/24", "10.2.0.1/24")
	})...)
	err := nstest.Inside("far", func() error {
		far = c.Add(t, "filer-2", append(set, func(cfg *transport.Config) {
			cfg.Listen = ":7480"
			cfg.Addresses = ofFar.get
			cfg.Sockets = func(make func() error) error { return nstest.Inside("far", make) }
		})...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Route(near.ID, "10.1.0.1:7480", "10.2.0.1:7480")
	c.Route(far.ID, "10.1.0.2:7480", "10.2.0.2:7480")
	return c, near, far, ofFar
}

func addresses(list ...string) func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return func() []netip.Prefix { return out }
}

// A post sends numbered messages at a steady rate and checks them where they
// arrive.
type post struct {
	t        testing.TB
	interval time.Duration
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	last    time.Time
	gap     time.Duration
	arrived uint64
	bad     error
}

const messageSize = 64

// newPost begins to send from one filer to another over one stream.
func newPost(t testing.TB, from, to *transporttest.Filer, s transport.Service, every time.Duration) *post {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &post{t: t, interval: every, stop: cancel}
	l := to.Service(s)
	conn, err := from.Open(within(t, 10*time.Second), to.ID, s, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p.last = time.Now()
	p.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		defer conn.Close()
		buf := make([]byte, messageSize)
		for n := uint64(1); ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			binary.BigEndian.PutUint64(buf, n)
			if _, err := conn.Write(buf); err != nil {
				p.fail(fmt.Errorf("sending message %d: %w", n, err))
				return
			}
		}
	})
	p.done.Go(func() {
		defer in.Close()
		buf := make([]byte, messageSize)
		for n := uint64(1); ; n++ {
			if _, err := readFull(in, buf); err != nil {
				if ctx.Err() == nil {
					p.fail(fmt.Errorf("receiving message %d: %w", n, err))
				}
				return
			}
			p.note(n, binary.BigEndian.Uint64(buf))
		}
	})
	t.Cleanup(func() { p.end() })
	return p
}

func readFull(c net.Conn, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = c.Read(buf[n:])
		n += m
	}
	return n, err
}

func (p *post) note(want, got uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.gap, p.last, p.arrived = max(p.gap, now.Sub(p.last)), now, p.arrived+1
	if want != got && p.bad == nil {
		p.bad = fmt.Errorf("message %d arrived where %d was due", got, want)
	}
}

func (p *post) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bad == nil {
		p.bad = err
	}
}

// longest returns the longest silence since it was asked last.
func (p *post) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bad != nil {
		p.t.Fatal(p.bad)
	}
	gap := max(p.gap, time.Since(p.last))
	p.gap, p.last = 0, time.Now()
	return gap
}

func (p *post) count() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrived
}

// end stops sending and waits until what was sent has arrived.
func (p *post) end() uint64 {
	p.stop()
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bad != nil {
		p.t.Error(p.bad)
	}
	return p.arrived
}

// uses reports whether a filer sends a class of data by the path from an address.
func uses(f *transporttest.Filer, to netquorum.FilerID, local string, class link.Class) bool {
	return slices.ContainsFunc(pathsOf(f, to), func(p transport.PathStatus) bool {
		return p.Local == local && p.State == "up" && slices.Contains(p.Classes, class.String())
	})
}

// A distribution is a number of durations, sorted.
type distribution []time.Duration

func (d distribution) at(share float64) time.Duration {
	slices.Sort(d)
	return d[min(int(share*float64(len(d))), len(d)-1)]
}

func (d distribution) String() string {
	return fmt.Sprintf("median %d ms, p99 %d ms, longest %d ms of %d",
		d.at(0.5).Milliseconds(), d.at(0.99).Milliseconds(), d.at(1).Milliseconds(), len(d))
}
