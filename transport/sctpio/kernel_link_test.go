package sctpio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

// kind is TLS over associations between the namespaces. Each path of the suite is
// associations of one port, which all go over both cables.
func kind(t testing.TB) linktest.Kind {
	f := newFaults(t)
	return linktest.Kind{Name: "sctp", Slow: true, NewPath: func(t testing.TB) linktest.Path {
		t.Helper()
		p := &linkPath{t: t, faults: f, conns: map[*Conn]bool{}}
		var err error
		if p.server, p.client, err = linktest.Config(); err != nil {
			t.Fatal(err)
		}
		p.l = listenFar(t, Control(), far...)
		t.Cleanup(func() {
			p.Break()
			p.Heal()
		})
		return p
	}}
}

type linkPath struct {
	t              testing.TB
	l              *Listener
	faults         *faults
	server, client *tls.Config

	connecting sync.Mutex // one at a time: the listener's association is then of this call

	mu    sync.Mutex
	cut   memlink.Direction
	conns map[*Conn]bool
}

func (p *linkPath) Connect() (a, b net.Conn, err error) {
	p.connecting.Lock()
	defer p.connecting.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	if cut != 0 {
		return nil, nil, errors.New("the path is cut")
	}
	from, to, err := associate(ctx, p.l, Control())
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	p.conns[from], p.conns[to] = true, true
	p.mu.Unlock()
	c, s, err := linktest.Secure(from, to, p.server, p.client)
	if err != nil {
		return nil, nil, err
	}
	return c, s, nil
}

func (p *linkPath) Cut(d memlink.Direction) { p.change(func() memlink.Direction { return p.cut | d }) }
func (p *linkPath) Heal()                   { p.change(func() memlink.Direction { return 0 }) }

func (p *linkPath) change(f func() memlink.Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := f()
	for d, at := range map[memlink.Direction]*dropper{memlink.AToB: &p.faults.there, memlink.BToA: &p.faults.here} {
		if to&d != p.cut&d {
			if err := at.port(p.l.port, to&d != 0); err != nil {
				panic(err) // the rules are gone: no test means anything
			}
		}
	}
	p.cut = to
}

// Set lets the cables, both of them in both directions, treat packets badly. The
// last path's faults are those of all.
func (p *linkPath) Set(f memlink.Faults) {
	netem := fmt.Sprintf("netem limit 10000 delay %dus", max(f.Delay, time.Millisecond).Microseconds())
	if f.Rate > 0 {
		netem += fmt.Sprintf(" rate %dbit", 8*f.Rate)
	}
	for word, share := range map[string]float64{"loss": f.Lose, "duplicate": f.Duplicate, "reorder": f.Reorder} {
		if share > 0 {
			netem += fmt.Sprintf(" %s %.1f%%", word, 100*share)
		}
	}
	onCables := func(tail string) {
		for _, ns := range []string{"", "-n far"} {
			for _, cable := range []string{"path0", "path1"} {
				nstest.Sh(p.t, "tc "+ns+" qdisc replace dev "+cable+" root "+tail)
			}
		}
	}
	onCables(netem)
	p.t.Cleanup(func() { onCables("pfifo") })
}

func (p *linkPath) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *linkPath) At() (a, b link.Path) {
	to := AddrPorts(p.l.Addr())[0]
	return link.Path{Kind: "sctp", Remote: to}, link.Path{Kind: "sctp", Local: to}
}

// A keeper sees to it that a link has what it has between two filers: an
// association for control and one for bulk data, each over both cables. A machine
// that stands still for a moment may cost it one; then there is a new one.
type keeper struct {
	t              testing.TB
	p              *linktest.Pair
	server, client *tls.Config
	stop           context.CancelFunc
	wg             sync.WaitGroup

	mu    sync.Mutex
	ends  map[bool][]*Conn // of both associations, by whether it is for bulk data
	again int
}

func keep(t testing.TB, p *linktest.Pair) *keeper {
	t.Helper()
	k := &keeper{t: t, p: p, ends: map[bool][]*Conn{}}
	var err error
	if k.server, k.client, err = linktest.Config(); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		k.stop()
		k.wg.Wait()
	})
	for bulk, o := range map[bool]Options{false: Control(), true: Bulk()} {
		l := listenFar(t, o, far...)
		c, err := k.attach(ctx, l, o, bulk)
		if err != nil {
			t.Fatal(err)
		}
		k.wg.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
					return
				case <-c.Done():
				}
				if next, err := k.attach(ctx, l, o, bulk); err == nil {
					c = next
					k.mu.Lock()
					k.again++
					k.mu.Unlock()
				}
			}
		})
	}
	return k
}

func (k *keeper) attach(ctx context.Context, l *Listener, o Options, bulk bool) (*link.Carrier, error) {
	here, there, err := associate(ctx, l, o)
	if err != nil {
		return nil, err
	}
	a, b, err := linktest.Secure(here, there, k.server, k.client)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.ends[bulk] = []*Conn{here, there}
	k.mu.Unlock()
	return attach(ctx, k.p, a, b, link.Path{Kind: "sctp", Bulk: bulk})
}

// conns are both ends of both associations.
func (k *keeper) conns() []*Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(slices.Clone(k.ends[false]), k.ends[true]...)
}

func (k *keeper) redials() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.again
}

// associate makes an association with a listener that nobody else calls just now.
func associate(ctx context.Context, l *Listener, o Options) (from, to *Conn, err error) {
	if from, err = Dial(ctx, Addr(0, near...), l.Addr().(*sctp.SCTPAddr), o); err != nil {
		return nil, nil, err
	}
	l.SetDeadline(time.Now().Add(5 * time.Second))
	for {
		if to, err = l.AcceptSCTP(); err != nil {
			from.Close()
			return nil, nil, err
		}
		if to.remote.Port == from.local.Port {
			return from, to, nil
		}
		to.Close() // of a call that was given up
	}
}

// attach makes a carrier of a connection's ends, and returns this one.
func attach(ctx context.Context, p *linktest.Pair, a, b net.Conn, path link.Path) (*link.Carrier, error) {
	attached := async(func() error { _, err := p.B.Attach(ctx, b, path); return err })
	c, err := p.A.Attach(ctx, a, path)
	return c, errors.Join(err, <-attached)
}
