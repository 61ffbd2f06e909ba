package netapply

// roots tell for which object a step is needed in the end: who removes a link
// takes away its addresses, its routes and what stands on it, and has changed
// one thing.
type roots struct {
	links     map[string]Link   // wanted
	changed   map[string]bool   // links with steps of their own
	addresses map[string]string // the first missing address of a link
}

func newRoots(want Desired, steps []Step) *roots {
	r := &roots{links: make(map[string]Link, len(want.Links)), changed: map[string]bool{}, addresses: map[string]string{}}
	for _, l := range want.Links {
		r.links[l.Name] = l
	}
	for _, s := range steps {
		if name := linkOf(s); name != "" {
			r.changed[name] = true
		}
	}
	for _, s := range steps {
		if add, ok := s.(AddAddress); ok && !r.changed[add.Address.Link] {
			if r.addresses[add.Address.Link] == "" {
				r.addresses[add.Address.Link] = add.Object()
			}
		}
	}
	return r
}

// linkOf names the link that a step is about, if it is about one.
func linkOf(s Step) string {
	switch s := s.(type) {
	case AddLink:
		return s.Link.Name
	case SetLink:
		return s.Name
	case DelLink:
		return s.Name
	case SwapLink:
		return s.Name
	case SetSettings:
		return s.Link
	}
	return ""
}

// of names the object.
func (r *roots) of(s Step) string {
	name := linkOf(s)
	switch s := s.(type) {
	case AddAddress:
		name = s.Address.Link
	case DelAddress:
		name = s.Address.Link
	case AddRoute:
		// The kernel removes routes with the address that they name as source,
		// and all of a link with its last address.
		if o, ok := r.addresses[s.Route.Link]; ok {
			return o
		}
		name = s.Route.Link
	case DelRoute:
		name = s.Route.Link
	}
	if r.changed[name] {
		return linkObject(r.lowest(name))
	}
	return s.Object()
}

// lowest follows a link down to the one that was changed below it.
func (r *roots) lowest(name string) string {
	for {
		l := r.links[name]
		switch {
		case l.Parent != "" && r.changed[l.Parent]:
			name = l.Parent
		case l.Master != "" && r.changed[l.Master]:
			name = l.Master
		default:
			return name
		}
	}
}
