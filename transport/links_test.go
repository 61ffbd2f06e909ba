package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// nets are addresses of a filer in networks of the loopback, which has them all.
type nets struct {
	mu  sync.Mutex
	own []netip.Prefix
}

func (n *nets) set(f *transporttest.Filer, c *transporttest.Cluster, hosts ...string) {
	_, port, _ := net.SplitHostPort(f.Addr().String())
	var endpoints []string
	n.mu.Lock()
	n.own = nil
	for _, h := range hosts {
		n.own = append(n.own, netip.MustParsePrefix(h+"/24"))
		endpoints = append(endpoints, net.JoinHostPort(h, port))
	}
	n.mu.Unlock()
	c.Route(f.ID, endpoints...)
}

func (n *nets) get() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.own)
}

// newFilersOnNets makes two filers, each with an address in two networks.
func newFilersOnNets(t *testing.T, set ...func(*transport.Config)) (c *transporttest.Cluster, a, b *transporttest.Filer, ofA, ofB *nets) {
	t.Helper()
	c, ofA, ofB = transporttest.New(t, 0), &nets{}, &nets{}
	a = c.Add(t, "filer-1", append(set, func(cfg *transport.Config) { cfg.Listen, cfg.Addresses = ":0", ofA.get })...)
	b = c.Add(t, "filer-2", append(set, func(cfg *transport.Config) { cfg.Listen, cfg.Addresses = ":0", ofB.get })...)
	ofA.set(a, c, "127.1.0.1", "127.2.0.1")
	ofB.set(b, c, "127.1.0.2", "127.2.0.2")
	return c, a, b, ofA, ofB
}

// locals are the local addresses of the paths that work.
func locals(f *transporttest.Filer, to netquorum.FilerID) []string {
	var out []string
	for _, p := range pathsOf(f, to) {
		if p.State == "up" {
			out = append(out, p.Local)
		}
	}
	slices.Sort(out)
	return out
}

func awaitLocals(t *testing.T, f *transporttest.Filer, to netquorum.FilerID, want ...string) {
	t.Helper()
	transporttest.Eventually(t, fmt.Sprintf("%s to reach %s from %v only", f.ID, to, want), func() bool {
		return slices.Equal(locals(f, to), want) && len(pathsOf(f, to)) == len(want)
	})
}

// Both filers dial both paths at the same instant, and come to one carrier each.
func TestEachPathHasOneCarrierWhoeverDials(t *testing.T) {
	_, a, b, _, _ := newFilersOnNets(t)
	serveEcho(t, a)
	serveEcho(t, b)
	var wg sync.WaitGroup
	for _, pair := range [][2]*transporttest.Filer{{a, b}, {b, a}} {
		wg.Go(func() {
			conn, err := pair[0].Open(within(t, 10*time.Second), pair[1].ID, echo, link.Control)
			if err != nil {
				t.Error(err)
				return
			}
			mustSay(t, conn, "hello")
		})
	}
	wg.Wait()
	awaitLocals(t, a, b.ID, "127.1.0.1", "127.2.0.1")
	awaitLocals(t, b, a.ID, "127.1.0.2", "127.2.0.2")
	transporttest.Eventually(t, "two connections", func() bool { return a.Stats().Open == 2 && b.Stats().Open == 2 })
}

// Addresses change while messages flow: each new path is there before the old
// one is gone, and nothing is lost.
func TestAddressesChangeWhileMessagesFlow(t *testing.T) {
	c, a, b, ofA, ofB := newFilersOnNets(t)
	out := newPost(t, a, b, "test-out/1", 2*time.Millisecond)
	back := newPost(t, b, a, "test-back/1", 2*time.Millisecond)
	awaitLocals(t, a, b.ID, "127.1.0.1", "127.2.0.1")
	awaitLocals(t, b, a.ID, "127.1.0.2", "127.2.0.2")
	transporttest.Eventually(t, "messages both ways", func() bool { return out.count() > 0 && back.count() > 0 })
	goroutines := runtime.NumGoroutine()
	link := a.Links()[0].Incarnation
	for _, step := range []struct{ a, b []string }{
		{[]string{"127.1.0.1", "127.2.0.1", "127.3.0.1"}, []string{"127.1.0.2", "127.2.0.2", "127.3.0.2"}}, // added
		{[]string{"127.2.0.1", "127.3.0.1"}, []string{"127.2.0.2", "127.3.0.2"}},                           // removed
		{[]string{"127.4.0.1", "127.5.0.1"}, []string{"127.4.0.2", "127.5.0.2"}},                           // all others
		{[]string{"127.4.0.9", "127.5.0.9"}, []string{"127.4.0.2", "127.5.0.2"}},                           // one filer's
		{[]string{"127.1.0.1", "127.2.0.1"}, []string{"127.1.0.2", "127.2.0.2"}},                           // as before
	} {
		ofA.set(a, c, step.a...)
		ofB.set(b, c, step.b...)
		a.Readdress()
		b.Readdress()
		awaitLocals(t, a, b.ID, step.a...)
		awaitLocals(t, b, a.ID, step.b...)
		sofar := out.count()
		transporttest.Eventually(t, "more messages", func() bool { return out.count() > sofar+50 })
	}
	if gap := max(out.longest(), back.longest()); gap > 300*time.Millisecond {
		t.Errorf("the longest silence was %v", gap)
	}
	if now := a.Links()[0].Incarnation; now != link {
		t.Errorf("the link was made anew")
	}
	transporttest.Eventually(t, "no connection to be left over", func() bool {
		return a.Stats().Open == 2 && b.Stats().Open == 2 && runtime.NumGoroutine() <= goroutines
	})
	t.Logf("%d messages, longest silence %v", out.end()+back.end(), max(out.gap, back.gap))
}

// A renewed identity is shown on every carrier, without a pause in what the link
// carries.
func TestRenewReplacesCarriersUnderMessages(t *testing.T) {
	var identity atomic.Pointer[transport.Identity]
	c := transporttest.New(t, 1)
	a := c.Filers[0]
	b := c.Add(t, "renewed", func(cfg *transport.Config) { cfg.Identity = identity.Load })
	identity.Store(b.Identity)
	out := newPost(t, a, b, "test-out/1", 2*time.Millisecond)
	back := newPost(t, b, a, "test-back/1", 2*time.Millisecond)
	for i := range 5 {
		next, err := c.Authority.Renew(b.Identity)
		if err != nil {
			t.Fatal(err)
		}
		before := pathsOf(b, a.ID)
		identity.Store(next)
		b.Renew()
		transporttest.Eventually(t, fmt.Sprintf("renewal %d to replace the carrier", i+1), func() bool {
			now := pathsOf(b, a.ID)
			return len(now) == 1 && now[0].State == "up" && now[0].Since.After(before[0].Since) && b.Stats().Open == 1
		})
	}
	if gap := max(out.longest(), back.longest()); gap > 300*time.Millisecond {
		t.Errorf("the longest silence was %v", gap)
	}
	out.end()
	back.end()
}

// What a killed process leaves behind is known at once: its host refuses.
func TestADeadProcessEndsItsLinkAtOnce(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	serveEcho(t, b)
	relay := transporttest.NewRelay(t, b.Addr().String())
	c.Route(b.ID, relay.Addr)
	c.Route(a.ID)
	conn, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "hello")
	start := time.Now()
	relay.Close() // its sockets are closed, and nobody listens any more
	if err := conn.SetReadDeadline(start.Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	if took := time.Since(start); !errors.Is(err, link.ErrPeerLost) || !errors.Is(err, syscall.ECONNREFUSED) || took > 100*time.Millisecond {
		t.Errorf("after %v: %v", took, err)
	}
	if _, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("opening another stream: %v", err)
	}
}

// A filer that was started anew under its old address is spoken to by a new link.
func TestARestartedFilerIsReachedAgain(t *testing.T) {
	c := transporttest.New(t, 1)
	a := c.Filers[0]
	b := c.Add(t, "restarted")
	serveEcho(t, b)
	conn, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "hello")
	listen := b.Addr().String()
	b.Close()
	again := c.Add(t, "restarted", func(cfg *transport.Config) { cfg.Listen = listen })
	serveEcho(t, again)
	if _, err := say(conn, "still there?"); err == nil {
		t.Error("a stream outlives the process at its other end")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for { // the first attempt may still meet the old process's end
		conn, err = a.Open(ctx, again.ID, echo, link.Control)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	mustSay(t, conn, "back again")
}
