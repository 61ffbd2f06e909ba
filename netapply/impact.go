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
