package sctpio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
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
	from, to, err := p.associate(ctx)
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

func (p *linkPath) associate(ctx context.Context) (from, to *Conn, err error) {
	from, err = Dial(ctx, Addr(0, near...), p.l.Addr().(*sctp.SCTPAddr), Control())
	if err != nil {
		return nil, nil, err
	}
	p.l.SetDeadline(time.Now().Add(5 * time.Second))
	for {
		if to, err = p.l.AcceptSCTP(); err != nil {
			from.Close()
			return nil, nil, err
		}
		if to.remote.Port == from.local.Port {
			return from, to, nil
		}
		to.Close() // of a call that was given up
	}
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
	sh(p.t, onCables("tc %s qdisc replace dev %s root "+netem))
	p.t.Cleanup(func() { sh(p.t, onCables("tc %s qdisc del dev %s root || true")) })
}

// onCables is a command for both ends of both cables.
func onCables(command string) string {
	var lines string
	for _, ns := range []string{"", "-n far"} {
		for _, cable := range []string{"path0", "path1"} {
			lines += fmt.Sprintf(command, ns, cable) + "\n"
		}
	}
	return lines
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

// carriers gives a link what it has between two filers: an association for
// control and one for bulk data, each over both cables.
func carriers(t testing.TB, p *linktest.Pair) (control, bulk *Conn) {
	t.Helper()
	server, client, err := linktest.Config()
	if err != nil {
		t.Fatal(err)
	}
	attach := func(o Options, bulk bool) *Conn {
		here, there := pair(t, o, near, far)
		a, b, err := linktest.Secure(here, there, server, client)
		if err != nil {
			t.Fatal(err)
		}
		path := link.Path{Kind: "sctp", Bulk: bulk}
		attached := async(func() error { _, err := p.B.Attach(t.Context(), b, path); return err })
		if _, err := p.A.Attach(t.Context(), a, path); err != nil {
			t.Fatal(err)
		}
		if err := within(t, "the other end's carrier", attached); err != nil {
			t.Fatal(err)
		}
		return here
	}
	return attach(Control(), false), attach(Bulk(), true)
}
