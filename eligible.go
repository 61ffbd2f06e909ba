package netquorum

import (
	"iter"
	"slices"
	"strings"
)

// A Candidate is a filer of a virtual server's group and what it lacks to host
// the server.
type Candidate struct {
	Filer   string          `json:"filer"`
	Missing []InterfaceName `json:"missing,omitempty"`
}

// Eligible reports whether the filer has every alias that is needed (N4).
func (c Candidate) Eligible() bool { return len(c.Missing) == 0 }

// Candidates lists the filers of the group in the order of their names.
func (c Config) Candidates(h Hosted) []Candidate {
	aliases := h.Aliases()
	var out []Candidate
	for d := range c.groupFilers(h.Group) {
		out = append(out, Candidate{d.Name, c.missing(d.Spec.(*Filer), aliases)})
	}
	return out
}

// missing returns which of the aliases the filer does not have.
func (c Config) missing(f *Filer, aliases []InterfaceName) []InterfaceName {
	group, _ := find[*FilerGroup](c, KindFilerGroup, f.Group)
	has := func(list []Interface, alias InterfaceName) bool {
		return slices.ContainsFunc(list, func(i Interface) bool { return i.Name == alias })
	}
	var out []InterfaceName
	for _, a := range aliases {
		if !has(f.Interfaces, a) && (group == nil || !has(group.Interfaces, a)) {
			out = append(out, a)
		}
	}
	return out
}

// groupFilers yields the filers of a group in the order of their names.
func (c Config) groupFilers(group string) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		if group == "" {
			return
		}
		for u := range c.usersOfKind(string(docPath(Key{KindFilerGroup, group})), KindFiler) {
			if d, ok := c.Get(u.key.Kind, u.key.Name); ok && !yield(d) {
				return
			}
		}
	}
}

func (c Config) groupSize(group string) (n int) {
	for range c.groupFilers(group) {
		n++
	}
	return n
}

// An offer is an alias that a filer has, as virtual servers see it.
type offer struct{ ipv6 bool }

// offers returns the group of a filer, in lower case, and the aliases that the
// filer has; nothing for a filer that is not there or in no group.
func (c Config) offers(filer string) (group string, aliases map[InterfaceName]offer) {
	f, ok := c.Filer(filer)
	if !ok || f.Group == "" {
		return "", nil
	}
	aliases = map[InterfaceName]offer{}
	all := c.effective(f)
	for _, i := range all {
		if i.Name.IsAlias() {
			mtu := EffectiveMTU(all, i.Name)
			aliases[i.Name] = offer{ipv6: mtu == 0 || mtu >= minMTUIPv6}
		}
	}
	return strings.ToLower(f.Group), aliases
}

// mtu returns the MTU of a filer's alias; 0 when nobody says.
func (c Config) mtu(f *Filer, alias InterfaceName) int {
	group, _ := find[*FilerGroup](c, KindFilerGroup, f.Group)
	return EffectiveMTU(inherit(f, group), alias)
}
