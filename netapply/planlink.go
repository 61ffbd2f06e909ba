package netapply

import (
	"slices"
	"strings"
)

// link brings one wanted link about. Everything below it was brought about
// before.
func (p *planner) link(want Link) {
	if want.Parent != "" && !p.usable(want.Parent) {
		p.failLink(want.Name, "needs link %s", want.Parent)
		return
	}
	have := p.links[want.Name]
	switch {
	case want.Kind == Physical && have == nil:
		p.failLink(want.Name, "there is no such interface on this machine")
		return
	case want.Kind != Physical && have != nil && !have.Ours() && !p.have.unclaimed(*have):
		p.failLink(want.Name, "a link of that name exists and is not netquorum's; remove or rename it")
		return
	}
	if master := p.foreignMaster(want.Name); master != "" {
		p.failLink(want.Name, "belongs to %s, which is not netquorum's", master)
		return
	}
	if have != nil && p.mustReplace(want, *have) {
		if p.swap(want, have) {
			p.tuning(want, p.links[want.Name])
			return
		}
		if !p.remove(want.Name) {
			p.failed[want.Name] = true
			return
		}
		have = nil
	}
	if have == nil {
		p.addLink(want)
	} else {
		p.changeLink(want, have)
	}
	if want.Kind == Bond {
		p.members(want)
	}
	p.tuning(want, p.links[want.Name])
	p.up(want)
}

// mustReplace reports whether the kernel cannot turn the link into the one
// wanted. It is the last resort: everything that stands on the link goes too.
func (p *planner) mustReplace(want Link, have ObservedLink) bool {
	if want.Kind == Physical {
		return false
	}
	if want.Kind != have.Kind || want.Parent != have.Parent {
		return true
	}
	_, effort := changeNeeded(want.Kind, want.Options, have.Options)
	return effort == never
}

func (p *planner) addLink(want Link) { p.makeLink(want, want.Name) }

// makeLink makes a wanted link, under another name if it is to take another's
// place.
func (p *planner) makeLink(want Link, name string) *ObservedLink {
	add := want
	add.Name = name
	add.MTU = p.createMTU(want)
	add.Options = p.resolvable(want.Options)
	p.emit(AddLink{add})
	now := &ObservedLink{Link: add, Index: len(p.have.Links) + len(p.steps), Group: Group}
	now.Master, now.MTU, now.Settings = "", p.mtus[want.Name], nil
	p.links[name] = now
	p.standing[want.Parent] = append(p.standing[want.Parent], now)
	p.settings(add, now)
	set := SetLink{Name: name, Label: new(label(want.Role))}
	now.Alias = *set.Label
	if want.Master != "" && p.isVRF(want.Master) {
		// Into the VRF before it comes up and has addresses: entering later
		// would drop its routes.
		set.Master, now.Master = &want.Master, want.Master
	}
	p.emit(set)
	return now
}

// changeLink changes what differs, in place.
func (p *planner) changeLink(want Link, have *ObservedLink) {
	if want.Kind != Physical && (have.Alias != label(want.Role) || have.Group != Group) {
		p.emit(SetLink{Name: want.Name, Label: new(label(want.Role))})
		have.Alias, have.Group = label(want.Role), Group
	}
	p.master(want, have)
	p.settings(want, have)
	p.options(want, have)
	if !want.MAC.IsZero() && want.MAC != have.MAC {
		p.emit(SetLink{Name: want.Name, MAC: &want.MAC})
		have.MAC = want.MAC
	}
	p.mtu(want, have)
}

// master takes the link out of what it should not be in, and into its VRF. Into
// a bond it goes when the bond's turn comes.
func (p *planner) master(want Link, have *ObservedLink) {
	if have.Master == want.Master || have.Master != "" && want.Master != "" && !p.isVRF(want.Master) {
		return
	}
	switch {
	case want.Master == "":
		p.release(have)
	case p.isVRF(want.Master) && p.usable(want.Master):
		p.emit(SetLink{Name: want.Name, Master: &want.Master})
		p.cycled(have)
		have.Master = want.Master
	}
}

// release takes a link out of its bond or VRF.
func (p *planner) release(l *ObservedLink) {
	p.emit(SetLink{Name: l.Name, Master: new("")})
	if m := p.links[l.Master]; m != nil && m.Kind == Bond {
		// The bond puts it down and restores the MTU that it came with.
		l.Up, l.MTU = false, 0
		p.dropRoutes(l.Name)
	} else {
		p.cycled(l)
	}
	l.Master = ""
}

// cycled notes what a link loses when a VRF takes or leaves it: the kernel puts
// it down and up again.
func (p *planner) cycled(l *ObservedLink) {
	if !l.Up {
		return
	}
	p.dropRoutes(l.Name)
	if l.Settings["ipv6/keep_addr_on_down"] == 1 {
		return
	}
	for _, a := range p.on(l.Name).addresses {
		if a.Prefix.Addr().Is6() {
			a.there = false
		}
	}
}

func (p *planner) dropAddresses(link string) {
	for _, a := range p.on(link).addresses {
		a.there = false
	}
}

func (p *planner) dropRoutes(link string) {
	for _, r := range p.on(link).routes {
		if is := p.routes[r]; is.there {
			is.there = false
			if p.taken != nil {
				p.taken[r.key()]--
			}
		}
	}
}

// settings are written before the link comes up: afterwards IPv6 would have
// given it addresses already.
func (p *planner) settings(want Link, have *ObservedLink) {
	var differ Settings
	for name, v := range want.Settings {
		if strings.HasPrefix(name, "ipv6/") && !p.have.IPv6 {
			continue
		}
		// A new link has none in our books: all are written. Otherwise what the
		// kernel does not show is not compared.
		cur, shown := have.Settings[name]
		if have.Settings != nil && !shown || shown && cur == v {
			continue
		}
		if differ == nil {
			differ = Settings{}
		}
		differ[name] = v
	}
	if differ != nil {
		p.emit(SetSettings{want.Name, differ})
	}
}

// options changes the settings of the link's kind. Some of a bond's can be
// changed only while it is down, some only while it has no members; both cost a
// moment of connectivity and spare what stands on the bond, which making it
// again would not.
func (p *planner) options(want Link, have *ObservedLink) {
	differ, effort := changeNeeded(want.Kind, p.resolvable(want.Options), have.Options)
	if differ == nil {
		return
	}
	if effort == whileEmpty {
		for _, l := range p.membersOf(want.Name) {
			p.release(l)
		}
	}
	if effort >= whileDown && have.Up {
		p.emit(SetLink{Name: want.Name, Up: new(false)})
		have.Up = false
	}
	p.emit(SetLink{Name: want.Name, Kind: want.Kind, Options: differ})
}

// resolvable leaves out a primary member that is not there: the kernel takes
// links by index. It is set when the member appears.
func (p *planner) resolvable(o Options) Options {
	if primary := o["primary"]; primary == "" || p.usable(primary) {
		return o
	}
	without := Options{}
	for k, v := range o {
		if k != "primary" {
			without[k] = v
		}
	}
	return without
}

// members puts into the bond who belongs there and takes out who does not. Who
// still carries something that moves enters when that has moved, unless the bond
// would be without a member until then.
func (p *planner) members(want Link) {
	for _, l := range p.membersOf(want.Name) {
		if p.wanted[l.Name].Master != want.Name {
			p.release(l)
		}
	}
	var busy []string
	for _, m := range p.want.Links {
		switch {
		case m.Master != want.Name || !p.usable(m.Name) || p.links[m.Name].Master == want.Name:
		case p.busy(m.Name):
			busy = append(busy, m.Name)
		default:
			p.enslave(m.Name)
		}
	}
	if len(busy) > 0 && len(p.membersOf(want.Name)) == 0 {
		p.enslave(busy[0])
		busy = busy[1:]
	}
	p.late = append(p.late, busy...)
}

// enslave puts a link into its bond.
func (p *planner) enslave(name string) {
	have, bond := p.links[name], p.wanted[name].Master
	after := []string{bond}
	if have != nil {
		for _, l := range p.above(name) {
			after = append(after, l.Name) // an old link that was to be swapped
		}
	}
	p.after = after[:1]
	defer func() { p.after = nil }()
	// A bond and a macvlan cannot both have a link; what we have on a member is
	// unwanted, or has moved, or is wanted elsewhere (N12).
	if have == nil || !p.usable(bond) || !p.removeAbove(name) {
		return
	}
	if have.Up {
		// Of its own and before: the kernel takes only members that are down,
		// and current kernels do not accept both in one message.
		p.emit(SetLink{Name: name, Up: new(false), After: after})
	}
	p.emit(SetLink{Name: name, Master: &bond, After: after})
	have.Master, have.Up, have.MTU = bond, true, p.links[bond].MTU
}

// membersOf lists the links in a bond or VRF, in a fixed order.
func (p *planner) membersOf(master string) []*ObservedLink {
	var list []*ObservedLink
	for _, l := range p.links {
		if l.Master == master {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *ObservedLink) int { return a.Index - b.Index })
	return list
}

// up sets the link up, or down where it is to be. A member comes up as it enters its bond.
func (p *planner) up(want Link) {
	have := p.links[want.Name]
	if want.Down && have.Up && want.Master == "" {
		p.emit(SetLink{Name: want.Name, Up: new(false)})
		have.Up = false
		p.dropRoutes(want.Name)
	}
	if have.Up || want.Down || p.pending(want) {
		return
	}
	if n := len(p.steps) - 1; n >= 0 {
		// Joined with the step that labels a new link.
		if s, ok := p.steps[n].(SetLink); ok && s.Name == want.Name && s.Label != nil && s.Up == nil && !p.isBond(s.Master) {
			s.Up = new(true)
			p.steps[n] = s
			have.Up = true
			return
		}
	}
	p.emit(SetLink{Name: want.Name, Up: new(true)})
	have.Up = true
}

// pending reports whether the link is still to enter its bond.
func (p *planner) pending(want Link) bool {
	return want.Master != "" && !p.isVRF(want.Master) && p.links[want.Name].Master != want.Master
}

func (p *planner) isVRF(name string) bool { return p.wanted[name].Kind == VRF }

func (p *planner) isBond(name *string) bool { return name != nil && !p.isVRF(*name) && *name != "" }

// foreignMaster names the link that somebody else put this one into, if any.
func (p *planner) foreignMaster(name string) string {
	l := p.links[name]
	if l == nil || l.Master == "" {
		return ""
	}
	if m := p.links[l.Master]; m != nil && !m.Ours() {
		if _, wanted := p.wanted[m.Name]; !wanted {
			return m.Name
		}
	}
	return ""
}

// above lists the links that stand on one, the oldest first.
func (p *planner) above(name string) []*ObservedLink {
	var list []*ObservedLink
	for _, l := range p.standing[name] {
		if p.links[l.Name] == l {
			list = append(list, l)
		}
	}
	return list
}

// foreignAbove names a link that stands on this one, directly or not, and is
// not ours.
func (p *planner) foreignAbove(name string) string {
	for _, l := range p.above(name) {
		if !l.Ours() {
			return l.Name
		}
		if f := p.foreignAbove(l.Name); f != "" {
			return f
		}
	}
	return ""
}

// remove takes a link of ours away with all of ours that stands on it. The
// kernel would also take what is not ours: then nothing is removed.
func (p *planner) remove(name string) bool {
	if f := p.foreignAbove(name); f != "" {
		p.fail(linkObject(name), "must be removed, but %s stands on it and is not netquorum's; remove that first", f)
		return false
	}
	if !p.removeAbove(name) {
		return false
	}
	p.emit(DelLink{name, p.after})
	if kind := p.links[name].Kind; kind == Bond || kind == VRF {
		for _, l := range p.membersOf(name) {
			l.Master, l.Up, l.MTU = "", false, 0
			p.dropRoutes(l.Name)
		}
	}
	delete(p.links, name)
	p.dropRoutes(name)
	p.dropAddresses(name)
	return true
}

// removeAbove removes what stands on a link and is ours.
func (p *planner) removeAbove(name string) bool {
	for _, l := range p.above(name) {
		if l.Ours() && !p.remove(l.Name) {
			return false
		}
	}
	return true
}
