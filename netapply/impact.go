package netapply

import (
	"net/netip"
	"slices"

	netquorum "github.com/netquorum/netquorum"
)

// An Impact says whom one step of a plan takes traffic away from.
type Impact struct {
	Step  Step
	Index int // of the step in the plan
	// Links stop carrying traffic: those with addresses, aliases, and what
	// somebody else has put on an interface.
	Links []string
	// Addresses on them are not reached.
	Addresses []netip.Prefix
	// Servers are the virtual servers and services among the addresses' owners;
	// all other addresses are the filer's.
	Servers []netquorum.Key
	// Denials are what no longer comes through to the addresses from now on, when
	// the step changes access; all else still does.
	Denials []Denial
	// Lasting says that the rest of the plan does not bring it back. Otherwise
	// the interruption ends with the plan, or as soon after it as switches and
	// bonds have settled.
	Lasting bool
}

// An Interrupter is a step whose effect on traffic does not show in the state
// that it leaves behind, like a setting for which a driver restarts its card.
type Interrupter interface {
	// Interrupts names the links that stop for an instant, and everything that
	// stands on them, when the step is carried out.
	Interrupts() []string
}

// Impacts tells which steps interrupt traffic, by playing them on the state
// that they were planned for. It is pure.
func Impacts(have Observed, steps []Step) []Impact {
	final := newTraffic(have)
	for _, s := range steps {
		final.play(s)
	}
	now := newTraffic(have)
	var list []Impact
	for n, s := range steps {
		if s, ok := s.(SetAccess); ok {
			for _, i := range deniedBy(s, now.everything(), final) {
				i.Index = n
				list = append(list, i)
			}
			continue
		}
		before := now.endpoints(now.touched(s))
		stopped := now.unreached(before, now.restarts(s))
		now.play(s)
		var instant, lasting impactOf
		for _, e := range before {
			switch {
			case !now.works(e):
				if final.works(e) || final.moved(e) {
					instant.add(e)
				} else {
					lasting.add(e)
				}
			case slices.Contains(stopped, e):
				instant.add(e)
			}
		}
		list = append(list, instant.impacts(Impact{Step: s, Index: n})...)
		list = append(list, lasting.impacts(Impact{Step: s, Index: n, Lasting: true})...)
	}
	return list
}

// An endpoint is where traffic ends: an address, or a link whose addresses we
// do not know.
type endpoint struct {
	link   string
	prefix netip.Prefix // invalid: the link as such
	server netquorum.Key
}

// sameAddress disregards the subnet: who knows the address reaches it.
func (e endpoint) sameAddress(p netip.Prefix) bool { return p.Addr() == e.prefix.Addr() }

// impactOf collects the endpoints that one step takes down.
type impactOf struct{ list []endpoint }

func (i *impactOf) add(e endpoint) { i.list = append(i.list, e) }

// impacts is one impact, or none.
func (i *impactOf) impacts(out Impact) []Impact {
	if len(i.list) == 0 {
		return nil
	}
	for _, e := range i.list {
		if !slices.Contains(out.Links, e.link) {
			out.Links = append(out.Links, e.link)
		}
		if e.prefix.IsValid() {
			out.Addresses = append(out.Addresses, e.prefix)
		}
		if e.server.Name != "" && !slices.Contains(out.Servers, e.server) {
			out.Servers = append(out.Servers, e.server)
		}
	}
	return []Impact{out}
}

// deniedBy tells whom a change of the rules turns away, one impact for those
// whom it turns away alike. An address that leaves is another step's affair.
func deniedBy(s SetAccess, present []endpoint, final *traffic) []Impact {
	type alike struct {
		before, after string // chains
		peer          bool
	}
	type group struct {
		impactOf
		denials []Denial
	}
	old, next := s.Old.court(), s.New.court()
	groups := map[alike]*group{}
	var order []*group
	for _, e := range present {
		if !e.prefix.IsValid() || !final.moved(e) {
			continue
		}
		before, after := old.judge(e.prefix.Addr()), next.judge(e.prefix.Addr())
		key := alike{before.start, after.start, after.peer}
		if groups[key] == nil {
			groups[key] = &group{denials: denials(before, after)}
			order = append(order, groups[key])
		}
		groups[key].add(e)
	}
	var out []Impact
	for _, g := range order {
		if len(g.denials) > 0 {
			out = append(out, g.impacts(Impact{Step: s, Denials: g.denials, Lasting: true})...)
		}
	}
	return out
}
