package netquorum

import (
	"net/netip"
	"slices"
	"strings"
)

// findRoutes tells that an inherited policy is of no use to a server.
func (c Config) findRoutes(h Hosted, add addFinding) {
	name, reached, from := c.RoutesOf(h.Key)
	if whole, ok := c.Routes(name); ok && len(whole.Routes) > 0 && len(reached.Routes) == 0 {
		add(FindingRoutesUnreached, "it inherits Routes/%s from %s and reaches none of its gateways; name a policy of its own, or one without routes", name, from)
	}
}

// findAccess tells which rules of a policy never decide anything: those that
// an earlier rule makes pointless, and those about places that nobody who has
// the policy is in.
func (c Config) findAccess(name string, s *Access, add addFinding) {
	g := c.guard(name, s)
	for i, r := range g.Rules {
		for _, earlier := range g.Rules[:i] {
			if earlier.covers(r) {
				add(FindingNeverMatches, "spec.rules[%d] never matches: spec.rules[%d] matches all of it before", r.Index, earlier.Index)
				break
			}
		}
	}
	places, filers := c.heirsOf(name)
	if len(places) == 0 {
		return // nobody has addresses, or the policy
	}
	for _, r := range g.Rules {
		for _, a := range r.To {
			if !slices.ContainsFunc(places, func(h HostedAddress) bool { return h.Prefix.Addr() == a }) {
				add(FindingNeverMatches, "spec.rules[%d] is about %s, which nobody who has this policy has", r.Index, a)
			}
		}
		for _, a := range r.On {
			if !filers[a] && !slices.ContainsFunc(places, func(h HostedAddress) bool { return h.Alias == a }) {
				add(FindingNeverMatches, "spec.rules[%d] is about %s, on which nobody who has this policy has an address", r.Index, a)
			}
		}
	}
}

// heirsOf returns the addresses that a policy is about, and the aliases of the
// filers that have it: it guards what they host there, too.
func (c Config) heirsOf(policy string) (addresses []HostedAddress, aliases map[InterfaceName]bool) {
	has := func(k Key) bool {
		name, _, _ := c.AccessOf(k)
		return strings.EqualFold(name, policy)
	}
	aliases = map[InterfaceName]bool{}
	for d := range c.All(KindFiler) {
		if f := d.Spec.(*Filer); has(d.Key()) {
			addresses = append(addresses, f.onLink()...)
			for _, i := range c.effective(f) {
				aliases[i.Name] = i.Name.IsAlias()
			}
		}
	}
	for h := range c.Hosted() {
		if has(h.Key) {
			addresses = append(addresses, h.Addresses...)
		}
	}
	return addresses, aliases
}

// covers reports whether the rule matches everything that another matches.
func (r GuardRule) covers(o GuardRule) bool {
	return coversAll(r.Traffic, o.Traffic, Ports.covers) &&
		coversAll(r.From, o.From, covers) &&
		coversAll(r.On, o.On, func(a, b InterfaceName) bool { return a == b }) &&
		coversAll(r.To, o.To, func(a, b netip.Addr) bool { return a == b })
}

// coversAll compares two lists of which an empty one stands for everything.
func coversAll[T any](a, b []T, one func(a, b T) bool) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == 0
	}
	return !slices.ContainsFunc(b, func(y T) bool {
		return !slices.ContainsFunc(a, func(x T) bool { return one(x, y) })
	})
}
