package netapply

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// former is the state that is ours as it was observed, as something to go back
// to. Physical interfaces are part of it as far as want would change them.
//
// What virtual servers have is put back only for those that want hosts, too: a
// server that has left meanwhile may be somewhere else already.
func former(have Observed, want Desired) Desired {
	f := formerly{have: have, links: map[string]ObservedLink{}, stays: map[string]bool{}, hosted: map[string]bool{}, done: map[string]bool{}, wanted: map[string]Tuning{}}
	for _, l := range want.Links {
		if owner := roleOwner(l.Role); owner != "" {
			f.hosted[owner] = true
		}
	}
	for _, l := range have.Links {
		f.links[l.Name] = l
	}
	for _, l := range want.Links {
		f.stays[l.Name] = l.Kind == Physical
		f.wanted[l.Name] = l.Tuning
	}
	for _, l := range have.Links {
		if owner := roleOwner(roleOf(l)); l.Ours() && (owner == "" || f.hosted[owner]) {
			f.stays[l.Name] = true
		}
	}
	for _, l := range have.Links {
		if len(l.Before) > 0 && !l.Ours() {
			f.stays[l.Name] = true // a card whose settings want would give back
		}
		if f.stays[l.Master] && f.links[l.Master].Ours() {
			f.stays[l.Name] = true // a member that want would let go
		}
	}
	order := slices.Clone(have.Links)
	slices.SortFunc(order, func(a, b ObservedLink) int { return cmp.Compare(a.Index, b.Index) })
	for _, l := range order {
		f.link(l.Name)
	}
	f.rest()
	if have.Access != nil && len(have.Access.Strange) == 0 {
		f.out.Access = have.Access
	} else if have.Access != nil {
		f.out.Access = want.Access // what somebody else did to it is not put back
	}
	return f.out
}

type formerly struct {
	have   Observed
	links  map[string]ObservedLink
	stays  map[string]bool // links to go back to
	hosted map[string]bool // owners whose links may come back
	done   map[string]bool
	wanted map[string]Tuning
	out    Desired
}

// roleOf is what the link was made for; empty when it is not ours.
func roleOf(l ObservedLink) string {
	role, _ := strings.CutPrefix(l.Alias, labelPrefix)
	return role
}

// roleOwner names the virtual server or service for which a link was made, if
// it was for one.
func roleOwner(role string) string {
	words := strings.Fields(role)
	if len(words) > 1 && (words[0] == "port" || words[0] == "carrier" || words[0] == "vrf") {
		return strings.ToLower(words[len(words)-1])
	}
	return ""
}

// link adds a link after those that it needs.
func (f *formerly) link(name string) {
	l, ok := f.links[name]
	if !ok || !f.stays[name] || f.done[name] {
		return
	}
	f.done[name] = true
	f.link(l.Parent)
	if m := f.links[l.Master]; m.Kind == VRF {
		f.link(l.Master)
	}
	if l.Kind == Bond {
		for _, m := range f.have.Links {
			if m.Master == name {
				f.link(m.Name)
			}
		}
	}
	was := l.Link
	was.Role = roleOf(l)
	was.Tuning = formerTuning(f.wanted[name], l)
	if !f.stays[was.Master] {
		was.Master = ""
	}
	if was.Kind != Macvlan {
		// A VLAN has its parent's, a bond its members', and physical ones are none
		// of our business.
		was.MAC = Link{}.MAC
	}
	if !l.Ours() {
		// Somebody else's, which lends itself to us: a physical interface.
		was.Kind, was.Parent, was.Role, was.Options, was.Down = Physical, "", "", nil, !l.Up
		was.Settings = Settings{}
		for name := range physicalSettings {
			if v, shown := l.Settings[name]; shown {
				was.Settings[name] = v
			}
		}
	}
	if was.Kind == Bond {
		was.Options = bondOptionsIn(was.Options)
	}
	f.out.Links = append(f.out.Links, was)
}

// rest adds addresses, routes and rules of what stays.
func (f *formerly) rest() {
	gone := map[netip.Addr]bool{}
	for _, a := range f.have.Addresses {
		l := f.links[a.Link]
		if !f.have.oursAddress(a, l.Ours()) {
			continue
		}
		if !f.stays[a.Link] {
			gone[a.Prefix.Addr()] = true
			continue
		}
		_, port := l.PortOf()
		f.out.Addresses = append(f.out.Addresses, Address{Link: a.Link, Prefix: a.Prefix, Hosted: port})
	}
	tables := map[uint32]bool{MainTable: true}
	for _, r := range f.have.Routes {
		if r.Link != "" && f.done[r.Link] {
			tables[r.Table] = true
			f.out.Routes = append(f.out.Routes, r)
		}
	}
	for _, r := range f.have.Routes {
		if r.Unreachable && tables[r.Table] {
			f.out.Routes = append(f.out.Routes, r)
		}
	}
	for _, r := range f.have.Rules {
		if !gone[r.From.Addr()] {
			f.out.Rules = append(f.out.Rules, r)
		}
	}
}
