package netapply

import (
	"cmp"
	"net/netip"
	"slices"

	netquorum "github.com/netquorum/netquorum"
)

// traffic is the part of the kernel's state on which it depends whether packets
// get through: what stands on what, what is up, and where the addresses are.
type traffic struct {
	links map[string]*trafficLink
	next  int
}

type trafficLink struct {
	Link
	order int
	up    bool
	// silent links were up without carrier when the plan was made: nothing
	// can be taken away from them.
	silent bool
	ours   bool
	server netquorum.Key
	// prefixes are the link's addresses but for link-local ones.
	prefixes []netip.Prefix
}

func newTraffic(have Observed) *traffic {
	t := &traffic{links: make(map[string]*trafficLink, len(have.Links))}
	for _, l := range have.Links {
		server, _ := l.PortOf()
		t.insert(&trafficLink{
			Link: l.Link, up: l.Up, silent: l.Up && !l.Carrier && l.Parent == "" && l.Kind != Bond && l.Kind != VRF,
			ours: l.Ours(), server: server,
		})
	}
	for _, a := range have.Addresses {
		t.addAddress(a.Link, a.Prefix)
	}
	return t
}

func (t *traffic) insert(l *trafficLink) {
	t.next++
	l.order = t.next
	t.links[l.Name] = l
}

func (t *traffic) addAddress(link string, p netip.Prefix) {
	if l := t.links[link]; l != nil && !p.Addr().IsLinkLocalUnicast() && !slices.Contains(l.prefixes, p) {
		l.prefixes = append(l.prefixes, p)
	}
}

// play does to the books what the kernel would do.
func (t *traffic) play(s Step) {
	switch s := s.(type) {
	case AddLink:
		l := s.Link
		l.Master = ""
		server, _ := ObservedLink{Alias: label(l.Role)}.PortOf()
		t.insert(&trafficLink{Link: l, ours: true, server: server})
	case SetLink:
		t.set(s)
	case SwapLink:
		t.swap(s)
	case DelLink:
		t.drop(s.Name)
	case AddAddress:
		t.addAddress(s.Address.Link, s.Address.Prefix)
	case DelAddress:
		if l := t.links[s.Address.Link]; l != nil {
			l.prefixes = slices.DeleteFunc(l.prefixes, func(p netip.Prefix) bool { return p == s.Address.Prefix })
		}
	}
}

func (t *traffic) set(s SetLink) {
	l := t.links[s.Name]
	if l == nil {
		return
	}
	if s.Master != nil && *s.Master != l.Master {
		if t.isBond(l.Master) {
			l.up = false
		}
		if l.Master = *s.Master; t.isBond(l.Master) {
			l.up = true
		}
	}
	if s.Up != nil {
		l.up = *s.Up
	}
}

// swap renames two links; what stands on the first stays there.
func (t *traffic) swap(s SwapLink) {
	old, next := t.links[s.Name], t.links[s.Next]
	if old == nil || next == nil {
		return
	}
	for _, l := range t.links {
		if l.Parent == s.Name {
			l.Parent = s.Old
		}
	}
	delete(t.links, s.Next)
	old.Name, old.up = s.Old, false
	next.Name, next.up = s.Name, true
	t.links[s.Old], t.links[s.Name] = old, next
}

// drop removes a link with what stands on it.
func (t *traffic) drop(name string) {
	bond := t.isBond(name)
	delete(t.links, name)
	for _, l := range t.links {
		if l.Master == name {
			l.Master, l.up = "", l.up && !bond
		}
		if l.Parent == name {
			t.drop(l.Name)
		}
	}
}

func (t *traffic) isBond(name string) bool {
	l := t.links[name]
	return l != nil && l.Kind == Bond
}

// carries reports whether packets get through a link: it and everything below
// it is up.
func (t *traffic) carries(name string) bool {
	l := t.links[name]
	if l == nil || !l.up || l.silent || l.Parent != "" && !t.carries(l.Parent) {
		return false
	}
	if l.Kind != Bond {
		return true
	}
	for _, m := range t.links {
		if m.Master == name && t.carries(m.Name) {
			return true
		}
	}
	return false
}

// works reports whether an endpoint is reached.
func (t *traffic) works(e endpoint) bool {
	return t.carries(e.link) && (!e.prefix.IsValid() || slices.ContainsFunc(t.links[e.link].prefixes, e.sameAddress))
}

// moved reports whether the address of an endpoint is reached by any link.
func (t *traffic) moved(e endpoint) bool {
	if !e.prefix.IsValid() {
		return false
	}
	for name, l := range t.links {
		if slices.ContainsFunc(l.prefixes, e.sameAddress) && t.carries(name) {
			return true
		}
	}
	return false
}

// touched names the links whose traffic a step may take away: the link that it
// changes and all above it. Steps that only add take nothing away.
func (t *traffic) touched(s Step) map[string]bool {
	names := map[string]bool{}
	switch s := s.(type) {
	case SetLink:
		t.above(s.Name, names)
	case DelLink:
		t.above(s.Name, names)
	case SwapLink:
		t.above(s.Name, names)
	case DelAddress:
		names[s.Address.Link] = true
	case Interrupter:
		for _, name := range s.Interrupts() {
			t.above(name, names)
		}
	}
	return names
}

// above adds a link and everything that stands on it, by way of bonds, too.
func (t *traffic) above(name string, to map[string]bool) {
	if to[name] || t.links[name] == nil {
		return
	}
	to[name] = true
	if m := t.links[name].Master; t.isBond(m) {
		t.above(m, to)
	}
	for _, l := range t.links {
		if l.Parent == name {
			t.above(l.Name, to)
		}
	}
}

// restarts names the links that stop for an instant although they are up before
// and after the step.
func (t *traffic) restarts(s Step) []string {
	switch s := s.(type) {
	case SetLink:
		l := t.links[s.Name]
		if l == nil {
			return nil
		}
		moves := s.Master != nil && *s.Master != l.Master
		switch {
		case s.MAC != nil, // neighbours have to learn it
			moves && (t.isVRF(l.Master) || t.isVRF(*s.Master)),     // the kernel puts it down and up
			s.MTU != nil && (l.Kind == Physical || l.Kind == Bond): // many drivers restart the card
			return []string{s.Name}
		}
	case Interrupter:
		return s.Interrupts()
	}
	return nil
}

// unreached lists those of the endpoints that are not reached while links are
// down.
func (t *traffic) unreached(list []endpoint, down []string) []endpoint {
	if len(down) == 0 {
		return nil
	}
	for _, name := range down {
		if l := t.links[name]; l != nil && l.up {
			l.up = false
			defer func() { l.up = true }()
		}
	}
	return slices.DeleteFunc(slices.Clone(list), t.works)
}

func (t *traffic) isVRF(name string) bool {
	l := t.links[name]
	return l != nil && l.Kind == VRF
}

// everything lists all that is reached now, the oldest first.
func (t *traffic) everything() []endpoint {
	names := make(map[string]bool, len(t.links))
	for name := range t.links {
		names[name] = true
	}
	return t.endpoints(names)
}

// endpoints lists what is reached on the links now, the oldest first.
func (t *traffic) endpoints(names map[string]bool) []endpoint {
	var links []*trafficLink
	for name := range names {
		if t.carries(name) {
			links = append(links, t.links[name])
		}
	}
	slices.SortFunc(links, func(a, b *trafficLink) int { return cmp.Compare(a.order, b.order) })
	var list []endpoint
	for _, l := range links {
		for _, p := range l.prefixes {
			list = append(list, endpoint{l.Name, p, l.server})
		}
		if len(l.prefixes) == 0 && (t.isAlias(l) || t.isForeignTop(l)) {
			list = append(list, endpoint{link: l.Name, server: l.server})
		}
	}
	return list
}

func (t *traffic) isAlias(l *trafficLink) bool {
	return l.ours && netquorum.InterfaceName(l.Name).IsAlias()
}

// isForeignTop reports whether a link is somebody else's and uses one below it,
// like a virtual machine's.
func (t *traffic) isForeignTop(l *trafficLink) bool {
	if l.ours || l.Parent == "" {
		return false
	}
	for _, o := range t.links {
		if o.Parent == l.Name {
			return false
		}
	}
	return true
}
