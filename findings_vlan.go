package netquorum

import (
	"fmt"
	"slices"
	"strings"
)

// vlans returns the VLAN tags, outermost first, that frames of an interface
// carry on the cable, as text; "" for none. Of members, the first counts.
func vlans(all []Interface, name InterfaceName) string { return vlansBelow(all, name, len(all)) }

func vlansBelow(all []Interface, name InterfaceName, depth int) string {
	i := slices.IndexFunc(all, func(i Interface) bool { return i.Name == name })
	if i < 0 || depth < 0 {
		return ""
	}
	outer := ""
	if below := all[i].below(); len(below) > 0 {
		outer = vlansBelow(all, below[0], depth-1)
	}
	if _, tag, ok := name.VLAN(); ok {
		return strings.TrimPrefix(fmt.Sprintf("%s.%d", outer, tag), ".")
	}
	return outer
}

// findMembersVLAN reports groups whose members are in different VLANs: what is
// reached changes with the member in use (N70).
func findMembersVLAN(all []Interface, add addFinding) {
	for _, i := range all {
		if len(i.Members) < 2 {
			continue
		}
		first := vlans(all, i.Members[0])
		for _, m := range i.Members[1:] {
			if v := vlans(all, m); otherVLAN(v, first) {
				add(FindingMembersVLAN, "%s has %s (%s) and %s (%s) for members: what it reaches changes with the member in use; give all the same VLAN",
					i.Name, i.Members[0], inVLAN(first), m, inVLAN(v))
			}
		}
	}
}

// findAliasVLAN reports aliases that have one name and different VLANs on the
// filers of a group: the same name promises the same connectivity (N16, N70).
func (c Config) findAliasVLAN(group string, add addFinding) {
	type place struct{ filer, vlan string }
	seen := map[InterfaceName]place{}
	var told []InterfaceName
	for d := range c.groupFilers(group) {
		all := c.effective(d.Spec.(*Filer))
		for _, i := range all {
			if !i.Name.IsAlias() {
				continue
			}
			v := vlans(all, i.Name)
			first, known := seen[i.Name]
			if !known {
				seen[i.Name] = place{d.Name, v}
			} else if otherVLAN(v, first.vlan) && !slices.Contains(told, i.Name) {
				told = append(told, i.Name)
				add(FindingAliasVLAN, "%s is %s on %s and %s on %s: servers that move lose what they reach; one name means one connectivity",
					i.Name, inVLAN(first.vlan), first.filer, inVLAN(v), d.Name)
			}
		}
	}
}

// otherVLAN reports whether two must be different VLANs. A port without tags may
// be in any VLAN: its switch knows, and we cannot tell.
func otherVLAN(a, b string) bool { return a != b && a != "" && b != "" }

func inVLAN(tags string) string { return "in VLAN " + tags }
