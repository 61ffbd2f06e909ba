package netapply

import (
	"fmt"
	"net/netip"
	"slices"

	netquorum "github.com/netquorum/netquorum"
)

// How packets leave. Each link that carries addresses has a table of its own,
// and a rule per address sends what comes from the address there: a reply
// leaves by the alias that owns the address, also where two aliases share a
// subnet and the main table could only name one of them.
//
// All connected routes are ours (addresses are added with noprefixroute). The
// kernel would put them into the main table, where those of hosted addresses do
// no good: the filer's own connections would leave from an address that moves
// away under them.

const (
	// connectedMetric is the metric of connected routes in the main table; the
	// next link in the same subnet has one more, because the kernel keeps one
	// route per destination and metric. It is not zero so that a connected
	// route that the kernel makes for a foreign address is not in the way.
	connectedMetric = 190
	// kernelMetric6 is what the kernel makes of metric 0 in IPv6.
	kernelMetric6 = 1024
	// lastMetric is behind every other route; the value is customary for VRFs.
	lastMetric = 4278198272
)

// filerRouting: the main table serves what the filer begins by itself, a table
// per alias what it answers. What an alias's table lacks is looked up in the
// main one.
func (w *wanter) filerRouting(own carriers, policy *netquorum.Routes) {
	r := newRoutes()
	for _, c := range own {
		r.connected(MainTable, c, true)
	}
	r.policy(MainTable, own, carrier{}, policy)
	for _, c := range own {
		table := w.tables[tableKey{w.self.Fold(), c.alias}]
		r.connected(table, c, false)
		r.policy(table, carriers{c}, c, policy)
		w.out.Rules = append(w.out.Rules, sourceRules(c, table)...)
	}
	w.out.Routes = append(w.out.Routes, r.list...)
	for _, route := range unreached(own, policy) {
		w.out.Problems = append(w.out.Problems, unreachedProblem(w.self, route))
	}
}

// hostedRouting: every table holds all routes of the server, as the one table
// of a physical server would, but prefers the link that the table is for. What
// is not in it is unreachable: a server without a route policy has the routes
// that its addresses imply and nothing more.
func (w *wanter) hostedRouting(owner netquorum.Key, own carriers, policy *netquorum.Routes, domain bool) {
	r := newRoutes()
	if domain {
		r.all(w.tables[tableKey{owner.Fold(), ""}], own, carrier{}, policy)
	}
	if !domain || own.overlap() {
		for _, c := range own {
			table := w.tables[tableKey{owner.Fold(), c.alias}]
			r.all(table, own, c, policy)
			w.out.Rules = append(w.out.Rules, sourceRules(c, table)...)
		}
	}
	w.out.Routes = append(w.out.Routes, r.list...)
	for _, route := range unreached(own, policy) {
		w.out.Problems = append(w.out.Problems, unreachedProblem(owner, route))
	}
}

// overlap reports whether two links share a subnet, so that one table cannot
// send replies by the right one.
func (cs carriers) overlap() bool {
	for i, a := range cs {
		for _, b := range cs[i+1:] {
			for _, p := range a.prefixes {
				if slices.ContainsFunc(b.prefixes, p.Masked().Overlaps) {
					return true
				}
			}
		}
	}
	return false
}

// routes collects routes; of two with the same destination and metric in a
// table the first stays.
type routes struct {
	list []Route
	seen map[routeKey]bool
}

// A routeKey is what the kernel tells routes of one table apart by.
type routeKey struct {
	table  uint32
	to     netip.Prefix
	metric uint32
}

func (r Route) key() routeKey { return routeKey{r.Table, r.To, r.Metric} }

func newRoutes() *routes { return &routes{seen: map[routeKey]bool{}} }

func (r *routes) add(route Route) bool {
	if r.seen[route.key()] {
		return false
	}
	r.seen[route.key()] = true
	r.list = append(r.list, route)
	return true
}

// all fills a table with everything an owner can reach.
func (r *routes) all(table uint32, own carriers, prefer carrier, policy *netquorum.Routes) {
	whole := prefer.link == "" // a VRF's
	if !whole {
		r.connected(table, prefer, false)
	}
	for _, c := range own {
		if c.link != prefer.link {
			r.connected(table, c, whole)
		}
	}
	r.policy(table, own, prefer, policy)
	for _, six := range []bool{false, true} {
		// Rules lead to a link's table only from its addresses' families; sockets
		// bound to a VRF may try either.
		if whole || own.has(six) {
			r.add(Route{Table: table, To: defaultFor(six), Metric: lastMetric, Unreachable: true})
		}
	}
}

// has reports whether there is an address of the family.
func (cs carriers) has(six bool) bool {
	return slices.ContainsFunc(cs, func(c carrier) bool {
		return slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() == six })
	})
}

// connected adds the routes to the subnets of a link. With source they also say
// which address to use for packets that have none yet, as the kernel's own do;
// in IPv6 the choice is by the longest common prefix anyway, and what a rule
// sent to a table has its source.
func (r *routes) connected(table uint32, c carrier, source bool) {
	for _, p := range c.prefixes {
		route := Route{Table: table, To: p.Masked(), Link: c.link, Metric: connectedMetric}
		if source && p.Addr().Is4() {
			route.Source = p.Addr()
		}
		for !r.add(route) {
			if r.has(route) {
				break // the second address of a subnet on one link
			}
			route.Metric++
		}
	}
}

// has reports whether the link has a connected route to the subnet already.
func (r *routes) has(route Route) bool {
	return slices.ContainsFunc(r.list, func(o Route) bool {
		return o.Table == route.Table && o.To == route.To && o.Link == route.Link && !o.Via.IsValid()
	})
}

// policy adds the routes of a policy. Each leaves by prefer if that reaches the
// gateway, and by the route's home otherwise.
func (r *routes) policy(table uint32, own carriers, prefer carrier, policy *netquorum.Routes) {
	if policy == nil {
		return
	}
	for _, p := range policy.Routes {
		by, ok := prefer, prefer.reaches(p.Via)
		if !ok {
			by, ok = own.home(p)
		}
		if !ok {
			continue
		}
		route := Route{
			Table: table, To: p.To.For(p.Via).Masked(), Via: p.Via, Link: by.link,
			Metric: uint32(p.Metric), OnLink: !by.reaches(p.Via),
		}
		if route.Metric == 0 && p.Via.Is6() {
			route.Metric = kernelMetric6
		}
		r.add(route)
	}
}

// unreached lists the policy's routes that no link can carry.
func unreached(own carriers, policy *netquorum.Routes) []netquorum.Route {
	if policy == nil || len(own) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(policy.Routes), func(r netquorum.Route) bool {
		_, ok := own.home(r)
		return ok
	})
}

func unreachedProblem(owner netquorum.Key, r netquorum.Route) ObjectError {
	to, _ := r.To.MarshalText()
	return ObjectError{
		Object: fmt.Sprintf("route %s via %s", to, r.Via),
		Err:    fmt.Errorf("%s has no address in the gateway's subnet; name an alias or another gateway in the Routes policy", owner),
	}
}

func defaultFor(six bool) netip.Prefix {
	if six {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
