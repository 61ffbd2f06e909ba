package netapply

import "slices"

// MTUs depend on each other: a link's can be no larger than its parent's, a
// bond gives its own to its members, and an interface without a configured MTU
// takes the parent's or the smallest of the members'. All are computed before
// the first step. The kernel lowers what stands on a link together with it, and
// raises nothing; going from the lowest layer up is right for both.

// bondMTU is what the kernel makes a bond with.
const bondMTU = 1500

func (p *planner) planMTUs() map[string]int {
	mtus := make(map[string]int, len(p.want.Links))
	for _, l := range p.want.Links {
		switch {
		case l.Kind == Bond && l.MTU == 0:
			mtus[l.Name] = p.smallest(l.Name, mtus)
		case l.MTU == 0 && l.Parent != "":
			mtus[l.Name] = mtus[l.Parent]
		case l.MTU == 0 && l.Kind == Physical && l.Master != "":
			// What the interface has now may be what the bond gave it: asking it
			// would make any change of the bond's MTU permanent.
			mtus[l.Name] = bondMTU
		case l.MTU == 0 && l.Kind == Physical && p.links[l.Name] != nil:
			mtus[l.Name] = p.links[l.Name].MTU
		default:
			mtus[l.Name] = l.MTU
		}
	}
	// Where a bond has it, a link's MTU is the bond's, and that of a bond in a
	// failover interface is in turn the latter's. Masters come after members.
	for _, l := range slices.Backward(p.want.Links) {
		if p.wanted[l.Master].Kind == Bond {
			mtus[l.Name] = mtus[l.Master]
		}
	}
	return mtus
}

// smallest is the smallest MTU among a bond's members.
func (p *planner) smallest(bond string, mtus map[string]int) int {
	least := 0
	for _, m := range p.want.Links {
		if m.Master != bond || mtus[m.Name] == 0 {
			continue
		}
		if least == 0 || mtus[m.Name] < least {
			least = mtus[m.Name]
		}
	}
	if least == 0 {
		return bondMTU
	}
	return least
}

// createMTU is the MTU to make a link with, 0 where the kernel makes it right
// by itself.
func (p *planner) createMTU(want Link) int {
	mtu := p.mtus[want.Name]
	switch {
	case want.Kind == Bond && mtu != bondMTU:
		return mtu
	case want.Kind == Bond, want.Kind == VRF:
		return 0
	}
	return want.MTU
}

// mtu sets a link's MTU, and notes what follows from it.
func (p *planner) mtu(want Link, have *ObservedLink) {
	target := p.mtus[want.Name]
	if p.wanted[want.Master].Kind == Bond && have.Master != want.Master {
		return // it gets the bond's when it enters
	}
	if want.Kind == Physical && want.MTU == 0 && have.Master == "" {
		return
	}
	if target == 0 || target == have.MTU {
		return
	}
	p.emit(SetLink{Name: want.Name, MTU: &target})
	p.mtuIs(have, target)
}

// mtuIs notes an MTU and what the kernel does with the links above and the
// members of a bond.
func (p *planner) mtuIs(l *ObservedLink, mtu int) {
	l.MTU = mtu
	for _, other := range p.links {
		switch {
		case other.Master == l.Name && l.Kind == Bond && other.MTU != mtu:
			p.mtuIs(other, mtu)
		case other.Parent == l.Name && other.MTU > mtu:
			p.mtuIs(other, mtu)
		}
	}
}
