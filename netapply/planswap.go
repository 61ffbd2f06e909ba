package netapply

import "slices"

// A link that the kernel cannot change into what is wanted is made anew. For
// aliases and ports that is the ordinary case of a bond put under them, so the
// new one is made beside the old one, under another name, and takes its place
// when it is ready: removing a link takes the kernel tens of milliseconds, the
// exchange of two less than one. Its addresses and routes follow at once.

// swap replaces a link in that way, and reports whether it can be done.
func (p *planner) swap(want Link, have *ObservedLink) bool {
	next, old := hashName("next", want.Name), hashName("old", want.Name)
	switch {
	case want.Kind != have.Kind || want.Kind != Macvlan && want.Kind != VLAN,
		want.Kind == VLAN && want.Parent == have.Parent && want.Options["id"] == have.Options["id"],
		want.Kind == Macvlan && want.Parent == have.Parent, // they would have one MAC
		p.inBond(have.Master) || want.Master != "" && !p.isVRF(want.Master),
		p.links[next] != nil || p.links[old] != nil, // it was tried, and failed
		p.foreignAbove(want.Name) != "":
		return false
	}
	now := p.makeLink(want, next)
	p.emit(SwapLink{Name: want.Name, Next: next, Old: old})
	delete(p.links, next)
	p.standing[want.Parent] = slices.DeleteFunc(p.standing[want.Parent], func(l *ObservedLink) bool { return l == now })
	p.wentDown(have)
	p.dropAddresses(want.Name)
	// What stands on the old link still does; its turn comes.
	for _, l := range p.above(want.Name) {
		l.Parent = old
	}
	p.standing[old], p.standing[want.Name] = p.standing[want.Name], nil
	have.Name, have.Up = old, false
	p.links[old] = have
	now.Name, now.Up = want.Name, true
	p.links[want.Name] = now
	p.standing[want.Parent] = append(p.standing[want.Parent], now)
	on := func(link string) bool { return link == want.Name }
	p.addAddresses(on)
	p.addRoutes(on)
	return true
}

// wentDown notes what a link loses that is put down: routes, and the VLANs on it
// with theirs.
func (p *planner) wentDown(l *ObservedLink) {
	p.dropRoutes(l.Name)
	for _, v := range p.above(l.Name) {
		if v.Kind == VLAN {
			v.Up = false
			p.wentDown(v)
		}
	}
}

func (p *planner) inBond(master string) bool {
	m := p.links[master]
	return m != nil && m.Kind == Bond
}

// busy reports whether something stands on a future member of a bond that is
// wanted elsewhere: it is to be moved before the member enters.
func (p *planner) busy(member string) bool {
	return slices.ContainsFunc(p.above(member), func(l *ObservedLink) bool {
		_, wanted := p.wanted[l.Name]
		return wanted && l.Ours()
	})
}

// lateMembers puts into their bonds the members that were busy.
func (p *planner) lateMembers() {
	for _, name := range p.late {
		p.enslave(name)
	}
}
