package netquorum

import "fmt"

// A topology is all interfaces of one filer with the documents in which they
// stand: the filer's own and its group's. For a group without filers it is
// partial: what is missing may come with a filer.
type topology struct {
	filer   Key
	partial bool
	all     []Interface // lower layers first
	written map[InterfaceName]written
}

// written is where an interface stands.
type written struct {
	doc   Key
	index int
}

func (c Config) topologyOf(filer Key, f *Filer) *topology {
	t := &topology{filer: filer, all: c.effective(f), written: map[InterfaceName]written{}}
	if d, ok := c.Get(KindFilerGroup, f.Group); ok {
		t.note(d.Key(), d.Spec.(*FilerGroup).Interfaces)
	}
	t.note(filer, f.Interfaces)
	return t
}

func groupTopology(group Key, g *FilerGroup) *topology {
	t := &topology{partial: true, all: sortLayers(withPhysical(inherit(&Filer{}, g))), written: map[InterfaceName]written{}}
	t.note(group, g.Interfaces)
	return t
}

func (t *topology) note(doc Key, all []Interface) {
	for i, iface := range all {
		t.written[iface.Name] = written{doc, i}
	}
}

// add reports a problem where the interface stands. When that is in the group,
// the message tells which filer has the problem.
func (t *topology) add(c *checker, name InterfaceName, field string, rule Rule, owner *Key, format string, args ...any) {
	w := t.written[name]
	message := fmt.Sprintf(format, args...)
	if w.doc.Kind == KindFilerGroup && !t.partial {
		message += " (on " + t.filer.String() + ")"
	}
	c.addTo(w.doc, fmt.Sprintf("spec.interfaces[%d].%s", w.index, field), rule, owner, "%s", message)
}

func (t *topology) check(c *checker) {
	t.checkExists(c)
	t.checkShared(c)
	t.checkCircles(c)
	t.checkMTU(c)
}

// belowField is the field of an interface in which the i-th of what it is built
// on stands.
func (i Interface) belowField(n int) string {
	switch {
	case i.Name.Layer() == LayerVLAN:
		return "name"
	case i.Parent != "" && n == 0:
		return "parent"
	case i.Parent != "":
		n--
	}
	return fmt.Sprintf("members[%d]", n)
}

func (t *topology) checkExists(c *checker) {
	exists := map[InterfaceName]bool{}
	for _, i := range t.all {
		exists[i.Name] = true
	}
	for _, i := range t.all {
		for n, b := range i.below() {
			if !exists[b] && !t.partial && b.Layer() != LayerNone {
				t.add(c, i.Name, i.belowField(n), RuleInterfaceExists, nil, "%s is built on %s, which does not exist; add %s to the interfaces", i.Name, b, b)
			}
		}
	}
}

// checkShared checks that nothing but its master is built on a member, and that
// it has no address (N12).
func (t *topology) checkShared(c *checker) {
	type part struct {
		user   InterfaceName
		member bool
	}
	first := map[InterfaceName]part{}
	for _, i := range t.all {
		for n, b := range i.below() {
			p, used := first[b]
			is := part{i.Name, i.belowField(n) != "name" && i.belowField(n) != "parent"}
			switch {
			case !used:
				first[b] = is
			case p.user == i.Name: // the same member twice, which the interface's own check reports
			case p.member:
				owner := t.written[p.user].doc
				t.add(c, i.Name, i.belowField(n), RuleMemberShared, &owner, "%s is a member of %s already, and nothing else can be built on a member; build %s on %s", b, p.user, i.Name, p.user)
			case is.member:
				owner := t.written[p.user].doc
				t.add(c, i.Name, i.belowField(n), RuleMemberShared, &owner, "%s cannot be a member of %s, because %s is built on it; build that on %s", b, i.Name, p.user, i.Name)
			}
		}
	}
	for _, i := range t.all {
		if p := first[i.Name]; p.member && len(i.Addresses) > 0 {
			t.add(c, i.Name, "addresses", RuleMemberAddress, nil, "%s is a member of %s and can carry no address; move the addresses to an alias on %s", i.Name, p.user, p.user)
		}
	}
}

// checkCircles finds interfaces that are built on themselves.
func (t *topology) checkCircles(c *checker) {
	below := map[InterfaceName][]InterfaceName{}
	for _, i := range t.all {
		below[i.Name] = i.below()
	}
	for _, i := range t.all {
		seen := map[InterfaceName]bool{}
		var reaches func(n InterfaceName) bool
		reaches = func(n InterfaceName) bool {
			for _, b := range below[n] {
				if b == i.Name {
					return true
				}
				if !seen[b] {
					seen[b] = true
					if reaches(b) {
						return true
					}
				}
			}
			return false
		}
		if reaches(i.Name) {
			t.add(c, i.Name, i.belowField(0), RuleInterfaceCircle, nil, "%s is built on itself; name another interface below it", i.Name)
		}
	}
}

func (t *topology) checkMTU(c *checker) {
	for _, i := range t.all {
		mtu := EffectiveMTU(t.all, i.Name)
		for n, b := range i.below() {
			if below := EffectiveMTU(t.all, b); i.MTU != 0 && below != 0 && i.MTU > below {
				t.add(c, i.Name, "mtu", RuleMTUParent, nil, "%d is above the %d of %s (%s); lower it, or raise that of %s", i.MTU, below, b, i.belowField(n), b)
			}
		}
		for n, p := range i.Addresses {
			if p.Addr().Is6() && !p.Addr().Is4In6() && mtu != 0 && mtu < minMTUIPv6 {
				t.add(c, i.Name, fmt.Sprintf("addresses[%d]", n), RuleMTUIPv6, nil, "%s has an MTU of %d and IPv6 needs %d; raise the MTU", i.Name, mtu, minMTUIPv6)
			}
		}
	}
}
