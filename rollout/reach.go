package rollout

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/netquorum/netquorum"
)

func mgmtAddresses(c netquorum.Config, filer string) []netip.Prefix {
	var out []netip.Prefix
	for _, i := range c.Interfaces(filer) {
		if i.Name.Stem() == "mgmt" {
			out = append(out, i.Addresses...)
		}
	}
	return out
}

// onLink reports whether two filers have addresses in one network.
func onLink(a, b []netip.Prefix) bool {
	for _, p := range a {
		for _, q := range b {
			if p.Masked().Contains(q.Addr()) && q.Masked().Contains(p.Addr()) {
				return true
			}
		}
	}
	return false
}

// Reach reports whether two members can reach each other as far as addresses
// tell: in one network, by routes, or at an address that a filer advertises and
// that is none of its mgmt addresses, of which nothing is known here.
func Reach(c netquorum.Config, a, b string) bool {
	pa, pb := mgmtAddresses(c, a), mgmtAddresses(c, b)
	return onLink(pa, pb) || routed(c, a, pb) && routed(c, b, pa) || advertised(c, a) && advertised(c, b)
}

func routed(c netquorum.Config, filer string, to []netip.Prefix) bool {
	_, policy, _ := c.RoutesOf(netquorum.Key{Kind: netquorum.KindFiler, Name: filer})
	return policy != nil && slices.ContainsFunc(policy.Routes, func(r netquorum.Route) bool {
		return slices.ContainsFunc(to, func(p netip.Prefix) bool { return r.To.For(r.Via).Contains(p.Addr()) })
	})
}

// advertised reports whether a member is known to listen at an address of which
// the configuration says nothing.
func advertised(c netquorum.Config, filer string) bool {
	d, ok := c.Get(netquorum.KindMember, filer)
	if !ok {
		return false
	}
	return slices.ContainsFunc(d.Spec.(*netquorum.Member).Endpoints, func(e string) bool {
		host, _, err := net.SplitHostPort(e)
		if err != nil {
			return false
		}
		a, err := netip.ParseAddr(host)
		return err != nil || !configured(c, a)
	})
}

func configured(c netquorum.Config, a netip.Addr) bool {
	_, _, ok := c.OwnerOf(a)
	return ok
}

func members(c netquorum.Config) []string {
	var out []string
	for d := range c.All(netquorum.KindMember) {
		out = append(out, d.Name)
	}
	return out
}

func majority(members int) int { return members/2 + 1 }

// holdsTogether reports whether some member reaches enough others to lead.
func holdsTogether(c netquorum.Config) bool {
	all := members(c)
	for _, a := range all {
		n := 1
		for _, b := range all {
			if a != b && Reach(c, a, b) {
				n++
			}
		}
		if n >= majority(len(all)) {
			return true
		}
	}
	return len(all) == 0
}

// Strands returns why a change might leave the cluster without a quorum: for
// good, because no majority of filers would share addresses, or while a step is
// made, because those that remain are too few. live says who takes part now.
func Strands(before, after netquorum.Config, need Reason, live func(filer string) bool) []string {
	var out []string
	if gone := forget(before, after); holdsTogether(before) && !holdsTogether(gone) {
		out = append(out, "no majority of the filers would have mgmt addresses by which they reach each other")
	}
	all := members(before)
	for _, s := range need.Steps {
		if s.Interrupts && !spared(all, s.Filer, live) {
			out = append(out, fmt.Sprintf("while links of %s are down, too few others would be there for a quorum", s.Filer))
		}
	}
	return out
}

// spared reports whether the other members are a quorum without the filer. A
// cluster of one needs no network to agree with itself.
func spared(all []string, filer string, live func(string) bool) bool {
	if len(all) == 1 {
		return true
	}
	n := 0
	for _, m := range all {
		if m != filer && live(m) {
			n++
		}
	}
	return n >= majority(len(all))
}

// forget leaves out of the members' advertised addresses those that the change
// takes away.
func forget(before, after netquorum.Config) netquorum.Config {
	puts := memberPuts(before, after)
	if len(puts) == 0 {
		return after
	}
	next, problems := after.Change(puts, nil)
	if len(problems) > 0 {
		return after
	}
	return next
}

// memberPuts are the Member documents whose advertised addresses the change
// makes untrue. The port is kept: it is where the filer listens.
func memberPuts(before, after netquorum.Config) []netquorum.Document {
	var out []netquorum.Document
	for d := range after.All(netquorum.KindMember) {
		was := mgmtAddresses(before, d.Name)
		m := *d.Spec.(*netquorum.Member)
		port, kept := "", []string{}
		for _, e := range m.Endpoints {
			host, p, err := net.SplitHostPort(e)
			if err != nil {
				continue
			}
			if port == "" {
				port = p
			}
			a, err := netip.ParseAddr(host)
			gone := err == nil && slices.ContainsFunc(was, func(p netip.Prefix) bool { return p.Addr() == a }) && !configured(after, a)
			if !gone {
				kept = append(kept, e)
			}
		}
		if len(kept) == len(m.Endpoints) {
			continue
		}
		for _, p := range mgmtAddresses(after, d.Name) {
			if e := net.JoinHostPort(p.Addr().String(), port); !slices.Contains(kept, e) {
				kept = append(kept, e)
			}
		}
		m.Endpoints = kept
		d.Spec = &m
		out = append(out, d)
	}
	return out
}
