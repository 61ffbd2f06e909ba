package netquorum

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// NextInterface returns the first name with the stem (bond, fail, mgmt, data,
// san) that no document speaks of, in the whole cluster: the same name on two
// filers means the same connectivity (N11, N16), so that a number that another
// filer has is not free. Physical interfaces are named by the machine.
func NextInterface(docs iter.Seq[Document], stem string) (InterfaceName, error) {
	stem = strings.ToLower(stem)
	if prefixes[stem] == LayerNone || prefixes[stem] == LayerPhysical {
		return "", fmt.Errorf("%q is none of bond, fail, mgmt, data, san; the numbers of physical interfaces come from the machine", stem)
	}
	taken := map[InterfaceName]bool{}
	for d := range docs {
		for _, n := range d.namedInterfaces() {
			base, _, _ := strings.Cut(string(n), ".")
			taken[InterfaceName(strings.ToLower(base))] = true
		}
	}
	for n := range maxInstanceNumber + 1 {
		if name := InterfaceName(stem + strconv.Itoa(n)); !taken[name] {
			return name, nil
		}
	}
	return "", fmt.Errorf("every name from %s0 to %s%d is taken", stem, stem, maxInstanceNumber)
}

// maxInstanceNumber is the largest number in the name of an interface.
const maxInstanceNumber = 9999

// namedInterfaces lists the interfaces that a document has or speaks of.
func (d Document) namedInterfaces() []InterfaceName {
	var interfaces []Interface
	var names []InterfaceName
	switch s := d.Spec.(type) {
	case *FilerGroup:
		interfaces = s.Interfaces
	case *Filer:
		interfaces = s.Interfaces
	case *VirtualServer:
		for _, a := range s.Addresses {
			names = append(names, a.Alias)
		}
	case *Service:
		for _, a := range s.Addresses {
			names = append(names, a.Alias)
		}
	case *Routes:
		for _, r := range s.Routes {
			names = append(names, r.Alias)
		}
	}
	for _, i := range interfaces {
		names = append(names, slices.Concat([]InterfaceName{i.Name}, i.below())...)
	}
	return names
}
