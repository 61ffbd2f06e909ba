package netquorum

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// A Routes policy says how packets of the virtual servers or filers that name
// it leave the filer.
type Routes struct {
	// VRF gives each virtual server that names the policy a routing domain of
	// its own in the kernel (a VRF) instead of source-address rules: sockets
	// bound to it see no other server's routes at all. Ignored for filers.
	VRF    bool    `json:"vrf,omitempty"`
	Routes []Route `json:"routes,omitempty"`
}

func (*Routes) Kind() Kind { return KindRoutes }

// A Route sends packets for a destination to a gateway.
type Route struct {
	// To is a network, or "default", also when left out.
	To Destination `json:"to"`
	// Via is the gateway.
	Via netip.Addr `json:"via"`
	// Alias names the alias to leave by. It may be left out when the server or
	// filer has, on exactly one alias, an address in a subnet with the gateway.
	// A link-local gateway (fe80::1) always needs it.
	Alias InterfaceName `json:"alias,omitempty"`
	// Metric prefers the smaller; 0 lets the kernel choose.
	Metric int `json:"metric,omitempty"`
}

// A Destination is a prefix, or "default": everything, in the family of the
// route's gateway.
type Destination struct{ netip.Prefix }

// Default reports whether the destination is everything.
func (d Destination) Default() bool { return !d.IsValid() || d.Bits() == 0 }

// For returns the destination as a prefix in the family of the gateway.
func (d Destination) For(via netip.Addr) netip.Prefix {
	if d.IsValid() {
		return d.Prefix
	}
	if via.Is6() {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func (d Destination) MarshalText() ([]byte, error) {
	if !d.IsValid() {
		return []byte("default"), nil
	}
	return d.Prefix.MarshalText()
}

func (d *Destination) UnmarshalText(text []byte) error {
	if string(text) == "default" {
		*d = Destination{}
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a prefix like 10.0.0.0/8 nor \"default\"", text)
	}
	*d = Destination{p}
	return nil
}

func (s *Routes) check(c *checker) {
	type key struct {
		to     netip.Prefix
		metric int
	}
	first := map[key]int{}
	for i, r := range s.Routes {
		field := fmt.Sprintf("spec.routes[%d]", i)
		r.check(c, field)
		k := key{r.To.For(r.Via), r.Metric}
		if j, again := first[k]; again {
			c.add(field+".to", RuleRouteOnce, "spec.routes[%d] goes to %s with the same metric; remove one or give them different metrics", j, r.To)
		} else {
			first[k] = i
		}
	}
}

func (r Route) check(c *checker, field string) {
	if why := notUnicast(r.Via); why != "" {
		c.add(field+".via", RuleRouteGateway, "%s", why)
	} else if r.Via.Is4In6() {
		c.add(field+".via", RuleRouteGateway, "%s is an IPv4 address in the form of IPv6; write %s", r.Via, r.Via.Unmap())
	} else if r.To.IsValid() && r.To.Addr().Is4() != r.Via.Is4() {
		c.add(field+".via", RuleRouteFamily, "%s cannot lead to %s: one is IPv4, the other IPv6", r.Via, r.To)
	}
	if r.To.IsValid() && r.To.Prefix != r.To.Masked() {
		c.add(field+".to", RuleRouteDestination, "%s has bits beyond its length; write %s", r.To, r.To.Masked())
	} else if r.To.IsValid() && (r.To.Addr().IsMulticast() || r.To.Addr().IsLoopback() || r.To.Addr().Is4In6()) {
		c.add(field+".to", RuleRouteDestination, "%s is no destination that a gateway leads to", r.To)
	}
	if r.Metric < 0 || r.Metric > math.MaxUint32 {
		c.add(field+".metric", RuleRouteMetric, "%d is not between 0 and %d", r.Metric, math.MaxUint32)
	}
	switch {
	case r.Alias == "" && r.Via.IsLinkLocalUnicast() && r.Via.Is6():
		c.add(field+".alias", RuleRouteAlias, "is missing: %s is on every link; name the alias to leave by", r.Via)
	case r.Alias != "" && (r.Alias.Layer() == LayerNone || !r.Alias.IsAlias()):
		c.add(field+".alias", RuleRouteAlias, "%q is no alias; name a mgmt, data or san alias", r.Alias)
	}
}

func (s *Routes) checkAmong(cfg Config, c *checker) {
	for i, r := range s.Routes {
		if owner, where, taken := cfg.OwnerOf(r.Via); taken {
			c.addOwned(fmt.Sprintf("spec.routes[%d].via", i), RuleGatewayOwned, owner, "%s is an address of %s (%s), not of a router; name the router", r.Via, owner, where)
		}
	}
}

func (*Routes) claims(Key) []claim { return nil }

// uses tells which addresses the policy takes for gateways.
func (s *Routes) uses() []use {
	var out []use
	for i, r := range s.Routes {
		if r.Via.IsValid() {
			field := fmt.Sprintf("spec.routes[%d].via", i)
			out = append(out, use{claimAddress(field, netip.PrefixFrom(r.Via, r.Via.BitLen())).thing, field})
		}
	}
	return out
}

// checkOnLink checks that who uses a policy reaches its gateways: on one alias
// there is an address in the gateway's subnet. Who has no address yet, because
// DHCP will give it one, cannot be checked.
//
// A server may inherit routes that it does not reach: it does without them. A
// filer may not: it would be cut off by a change of its group.
func checkOnLink(cfg Config, c *checker, name string, addresses []HostedAddress, optional bool) {
	policy, ok := cfg.Routes(name)
	if !ok || len(addresses) == 0 {
		return
	}
	for i, route := range policy.Routes {
		aliases := route.Exits(addresses)
		where := fmt.Sprintf("the gateway %s of Routes/%s (spec.routes[%d])", route.Via, name, i)
		switch {
		case !route.Via.IsValid() || len(aliases) == 1 || optional && len(aliases) == 0:
		case len(aliases) > 1:
			c.add("spec.routes", RuleGatewayOnLink, "%s is in subnets of %s; name one as the route's alias", where, listOf(aliases))
		case route.Alias != "":
			c.add("spec.routes", RuleGatewayOnLink, "%s is in no subnet of an address on %s; add an address there or name another gateway", where, route.Alias)
		default:
			c.add("spec.routes", RuleGatewayOnLink, "%s is in no subnet of an address here; add an address or name another gateway", where)
		}
	}
}

// Exits returns the aliases by which the route can leave, for an owner of the
// addresses: those with an address in the gateway's subnet. In a configuration
// that breaks no rule it is exactly one, for every owner of addresses.
func (r Route) Exits(addresses []HostedAddress) []InterfaceName {
	var out []InterfaceName
	for _, a := range addresses {
		onLink := a.Prefix.Contains(r.Via) || r.Via.IsLinkLocalUnicast() && r.Via.Is6() && a.Prefix.Addr().Is6()
		if onLink && (r.Alias == "" || a.Alias == r.Alias) && !slices.Contains(out, a.Alias) {
			out = append(out, a.Alias)
		}
	}
	return out
}
