package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/store"
)

// A Prober finds out what a filer reaches by its own addresses and links.
type Prober interface {
	// Peer reports whether a filer listens at an address, asked from an address
	// of this filer.
	Peer(ctx context.Context, from netip.Addr, to netip.AddrPort) error
	// Gateway reports whether a neighbour on a link answers.
	Gateway(ctx context.Context, link string, gateway netip.Addr) error
}

// probePatience bounds one look at one peer or gateway.
const probePatience = time.Second

// A gateway is a neighbour that routes of the filer's own addresses go by.
type gateway struct {
	link    string
	address netip.Addr
}

// gateways are those that were there before a step, by whether they answered.
type gateways map[gateway]bool

// gatewaysOf lists the gateways that a filer's own routes have.
func gatewaysOf(c netquorum.Config, filer string) []gateway {
	_, policy, _ := c.RoutesOf(netquorum.Key{Kind: netquorum.KindFiler, Name: filer})
	if policy == nil {
		return nil
	}
	var out []gateway
	for _, r := range policy.Routes {
		for _, i := range c.Interfaces(filer) {
			reaches := slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Masked().Contains(r.Via) })
			if g := (gateway{string(i.Name), r.Via}); (r.Alias == i.Name || r.Alias == "" && reaches) && !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}

// answering looks which gateways answer.
func (m *member) answering(ctx context.Context, c netquorum.Config) gateways {
	out := gateways{}
	if m.cfg.Prober == nil {
		return out
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, g := range gatewaysOf(c, m.name) {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probePatience)
			defer cancel()
			err := m.cfg.Prober.Gateway(ctx, g.link, g.address)
			mu.Lock()
			defer mu.Unlock()
			out[g] = err == nil
		})
	}
	wait.Wait()
	return out
}

// prove makes sure that this filer reaches the quorum, by the addresses that it
// is to have, and every gateway but those that were silent before.
func (m *member) prove(ctx context.Context, c netquorum.Config, known gateways) error {
	read, cancel := context.WithTimeout(ctx, 2*probePatience)
	_, err := m.store.Read(read, store.Linearizable)
	cancel()
	if err != nil {
		return fmt.Errorf("it does not reach a leader with a quorum: %w", err)
	}
	if m.cfg.Prober == nil {
		return nil
	}
	if err := m.provePeers(ctx, c); err != nil {
		return err
	}
	var errs []error
	before := map[netip.Addr]bool{}
	for g, answered := range known {
		before[g.address] = before[g.address] || answered
	}
	for g, answers := range m.answering(ctx, c) {
		if was, there := before[g.address]; !answers && (was || !there) {
			errs = append(errs, fmt.Errorf("gateway %s on %s does not answer", g.address, g.link))
		}
	}
	return errors.Join(errs...)
}

// provePeers calls the other filers at the addresses that they are to have, from
// those that this one is to have. Connections that were open before prove
// nothing.
func (m *member) provePeers(ctx context.Context, c netquorum.Config) error {
	type call struct {
		peer string
		from netip.Addr
		to   netip.AddrPort
	}
	var calls []call
	all := members(c)
	asked := map[string]bool{}
	for name, id := range all {
		if sameName(name, m.name) {
			continue
		}
		for _, e := range endpoints(c, id, m.cfg.port()) {
			to, err := netip.ParseAddrPort(e)
			if err != nil || !slices.Contains(managementAddresses(c, name), to.Addr()) {
				continue
			}
			if from, ok := sourceFor(c, m.name, to.Addr()); ok {
				calls = append(calls, call{name, from, to})
				asked[name] = true
			}
		}
	}
	need := min(len(all)/2, len(asked))
	if need == 0 {
		return nil
	}
	var (
		mu      sync.Mutex
		wait    sync.WaitGroup
		reached = map[string]bool{}
		errs    []error
	)
	for _, c := range calls {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probePatience)
			defer cancel()
			err := m.cfg.Prober.Peer(ctx, c.from, c.to)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s at %s: %w", c.peer, c.to, err))
				return
			}
			reached[c.peer] = true
		})
	}
	wait.Wait()
	if len(reached) < need {
		return fmt.Errorf("it reaches %d of %d other filers by mgmt addresses, %d are a quorum with it: %w", len(reached), len(all)-1, need, errors.Join(errs...))
	}
	return nil
}

// sourceFor returns the mgmt address from which a filer calls another.
func sourceFor(c netquorum.Config, filer string, to netip.Addr) (netip.Addr, bool) {
	var any netip.Addr
	for _, i := range c.Interfaces(filer) {
		if i.Name.Stem() != "mgmt" {
			continue
		}
		for _, p := range i.Addresses {
			if p.Masked().Contains(to) {
				return p.Addr(), true
			}
			if p.Addr().Is4() == to.Is4() && !any.IsValid() {
				any = p.Addr()
			}
		}
	}
	return any, any.IsValid()
}

// netProber probes by the network of this process.
type netProber struct{}

// Peer implements Prober: a listener that accepts is enough, because who it is
// shows in the quorum that is asked beside it.
func (netProber) Peer(ctx context.Context, from netip.Addr, to netip.AddrPort) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	return conn.Close()
}
