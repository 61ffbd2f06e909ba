package netapply

import (
	"cmp"
	"net/netip"
	"slices"

	netquorum "github.com/netquorum/netquorum"
)

// A Presence is what a hosted server is in the kernel of its host, for programs
// that speak as it.
type Presence struct {
	VRF       string // the device of its routing domain; empty without one
	Addresses []PresentAddress
	// Sources say from which address to reach a destination, the longest prefix
	// first. They are the server's routes, seen from a program.
	Sources []Source
}

// A PresentAddress is one address of a server on its host.
type PresentAddress struct {
	Prefix netip.Prefix
	Alias  netquorum.InterfaceName
	Link   string // the port
	Table  uint32 // where packets from it are routed
}

// A Source says that what goes to a destination comes from an address.
type Source struct {
	To      netip.Prefix
	Address netip.Addr
	Link    string // by which it leaves
}

// PresenceOf tells what a server is, or would be, on a filer. It is pure; false
// when the configuration has no such server or the filer cannot host it.
func PresenceOf(c netquorum.Config, filer string, server netquorum.Key) (Presence, bool) {
	doc, ok := c.Get(netquorum.KindFiler, filer)
	if !ok {
		return Presence{}, false
	}
	for h := range c.Hosted() {
		if h.Key.Fold() == server.Fold() {
			interfaces := c.Interfaces(filer)
			_, policy, _ := c.RoutesOf(h.Key)
			p := presence(h, policy, interfaces, tables(c, doc.Key(), interfaces))
			return p, len(p.Addresses) > 0
		}
	}
	return Presence{}, false
}

func presence(h netquorum.Hosted, policy *netquorum.Routes, interfaces []netquorum.Interface, tables map[tableKey]uint32) Presence {
	var p Presence
	if policy != nil && policy.VRF {
		p.VRF = vrfName(h.Key)
	}
	var own carriers
	for _, alias := range h.Aliases() {
		if !slices.ContainsFunc(interfaces, func(i netquorum.Interface) bool { return i.Name == alias }) {
			continue
		}
		table := tables[tableKey{h.Key.Fold(), alias}]
		if p.VRF != "" {
			table = tables[tableKey{h.Key.Fold(), ""}]
		}
		for _, a := range h.Addresses {
			if a.Alias == alias {
				own.add(alias, portName(h.Key, alias), a.Prefix)
				p.Addresses = append(p.Addresses, PresentAddress{a.Prefix, alias, portName(h.Key, alias), table})
			}
		}
	}
	p.Sources = sources(own, policy)
	return p
}

// sources reads the routes that one table for the whole server has, and the
// address that each of them leaves from.
func sources(own carriers, policy *netquorum.Routes) []Source {
	r := newRoutes()
	r.all(0, own, carrier{}, policy)
	// Of two routes to one destination the kernel takes that of the smaller metric.
	slices.SortStableFunc(r.list, func(a, b Route) int {
		return cmp.Or(cmp.Compare(b.To.Bits(), a.To.Bits()), a.To.Addr().Compare(b.To.Addr()), cmp.Compare(a.Metric, b.Metric))
	})
	var out []Source
	for _, route := range r.list {
		if n := len(out); route.Unreachable || n > 0 && out[n-1].To == route.To {
			continue
		}
		i := slices.IndexFunc(own, func(c carrier) bool { return c.link == route.Link })
		if a, ok := own[i].sourceOf(route); ok {
			out = append(out, Source{route.To, a, route.Link})
		}
	}
	return out
}

// sourceOf is the link's address for a route: the one in the subnet of the
// gateway, or of the destination, or else the first of the family.
func (c carrier) sourceOf(r Route) (netip.Addr, bool) {
	next := r.Via
	if !next.IsValid() {
		next = r.To.Addr()
	}
	for _, near := range []bool{true, false} {
		for _, p := range c.prefixes {
			if p.Addr().Is4() == next.Is4() && (!near || p.Masked().Contains(next)) {
				return p.Addr(), true
			}
		}
	}
	return netip.Addr{}, false
}
