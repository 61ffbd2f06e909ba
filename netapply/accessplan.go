package netapply

import (
	"net/netip"
	"slices"
	"strings"
)

// The rules of an address are there before the address, and until after it has
// left: they are replaced first, and what goes in the same plan is held until
// the plan's end. An address of a server that leaves is denied meanwhile; one of
// the filer has the policy of its alias.

// guard replaces the rules at the beginning of a plan.
func (p *planner) guard() {
	p.access = p.have.Access
	if p.want.Access == nil {
		return
	}
	first := p.withLeaving(*p.want.Access)
	p.setAccess(&first)
}

// unguard replaces them once more at the end, if something had to be held.
func (p *planner) unguard() { p.setAccess(p.want.Access) }

func (p *planner) setAccess(r *Ruleset) {
	if !r.Equal(p.access) {
		p.emit(SetAccess{Old: p.access, New: r})
		p.access = r
	}
}

// withLeaving adds the addresses of ours that are there and not wanted.
func (p *planner) withLeaving(r Ruleset) Ruleset {
	known := make(map[netip.Addr]bool, len(r.Absent)+len(p.want.Addresses))
	for _, a := range r.Absent {
		known[a] = true
	}
	for _, a := range p.want.Addresses {
		known[a.Prefix.Addr()] = true
	}
	chains := make(map[string]string, len(r.Links))
	for _, l := range r.Links {
		chains[l.Link] = l.Chain
	}
	r.Absent, r.Peers, r.Addresses = slices.Clone(r.Absent), slices.Clone(r.Peers), slices.Clone(r.Addresses)
	for _, a := range p.have.Addresses {
		l, addr := p.links[a.Link], a.Prefix.Addr()
		if l == nil || known[addr] || !p.have.oursAddress(a, l.Ours()) {
			continue
		}
		known[addr] = true
		if _, port := l.PortOf(); port {
			r.Absent = append(r.Absent, addr)
			continue
		}
		if chain := chains[a.Link]; chain != "" {
			r.Addresses = append(r.Addresses, GuardedAddress{addr, chain})
		}
		if strings.HasPrefix(a.Link, "mgmt") {
			r.Peers = append(r.Peers, addr)
		}
	}
	r.sort()
	return r
}
