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
		for d := range c.All(KindFiler) {
			if group != "" && strings.EqualFold(d.Spec.(*Filer).Group, group) && !yield(d) {
				return
			}
		}
	}
}
