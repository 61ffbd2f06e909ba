package netquorum

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// effective returns the interfaces that a filer has: its own, and those of its
// group that it does not replace, and the physical ones that are only named as
// a part of others; lower layers before what is built on them.
func (c Config) effective(f *Filer) []Interface {
	group, _ := find[*FilerGroup](c, KindFilerGroup, f.Group)
	return sortLayers(withPhysical(inherit(f, group)))
}

// inherit joins a filer's interfaces with those of its group.
func inherit(f *Filer, group *FilerGroup) []Interface {
	if group == nil || len(group.Interfaces) == 0 {
		return slices.Clone(f.Interfaces)
	}
	own := make(map[InterfaceName]bool, len(f.Interfaces))
	for _, i := range f.Interfaces {
		own[i.Name] = true
	}
	all := make([]Interface, 0, len(f.Interfaces)+len(group.Interfaces))
	for _, i := range group.Interfaces {
		if !own[i.Name] {
			all = append(all, i)
		}
	}
	return append(all, f.Interfaces...)
}

// below returns what an interface is built on: members, parent, or the parent
// that a VLAN's name holds.
func (i Interface) below() []InterfaceName {
	if parent, _, ok := i.Name.VLAN(); ok {
		return []InterfaceName{parent}
	}
	if i.Parent != "" {
		return append([]InterfaceName{i.Parent}, i.Members...)
	}
	return i.Members
}

// withPhysical adds the physical interfaces that others stand on and nobody
// listed: they are there without being configured.
func withPhysical(all []Interface) []Interface {
	listed := make(map[InterfaceName]bool, len(all))
	for _, i := range all {
		listed[i.Name] = true
	}
	for _, i := range all {
		for _, name := range i.below() {
			if name.Layer() == LayerPhysical && !listed[name] {
				listed[name] = true
				all = append(all, Interface{Name: name})
			}
		}
	}
	return all
}

// sortLayers orders interfaces so that each comes after all that it stands on,
// and otherwise by name, in the way people count: eth2 before eth10.
func sortLayers(all []Interface) []Interface {
	byName := make(map[InterfaceName]*Interface, len(all))
	for i := range all {
		byName[all[i].Name] = &all[i]
	}
	heights := make(map[InterfaceName]int, len(all))
	var height func(name InterfaceName) int
	height = func(name InterfaceName) int {
		if h, ok := heights[name]; ok {
			return h
		}
		heights[name] = 0 // ends the recursion in a circle, which the rules refuse
		h := 0
		if i := byName[name]; i != nil {
			for _, b := range i.below() {
				h = max(h, height(b)+1)
			}
		}
		heights[name] = h
		return h
	}
	slices.SortStableFunc(all, func(a, b Interface) int {
		return cmp.Or(cmp.Compare(height(a.Name), height(b.Name)), compareNames(a.Name, b.Name))
	})
	return all
}

// compareNames compares the letters of two names, then their numbers and tags
// as numbers.
func compareNames(a, b InterfaceName) int {
	if o := strings.Compare(a.Stem(), b.Stem()); o != 0 {
		return o
	}
	return slices.CompareFunc(strings.Split(string(a[len(a.Stem()):]), "."), strings.Split(string(b[len(b.Stem()):]), "."),
		func(x, y string) int {
			m, _ := strconv.Atoi(x)
			n, _ := strconv.Atoi(y)
			return cmp.Compare(m, n)
		})
}

// EffectiveMTU is the MTU that an interface among all of a filer has: its own,
// or its parent's, or the smallest of its members'; 0 when none of them says.
func EffectiveMTU(all []Interface, name InterfaceName) int {
	return effectiveMTU(all, name, len(all))
}

func effectiveMTU(all []Interface, name InterfaceName, depth int) int {
	i := slices.IndexFunc(all, func(i Interface) bool { return i.Name == name })
	if i < 0 || depth < 0 {
		return 0
	}
	if all[i].MTU != 0 {
		return all[i].MTU
	}
	mtu := 0
	for _, b := range all[i].below() {
		if m := effectiveMTU(all, b, depth-1); m != 0 && (mtu == 0 || m < mtu) {
			mtu = m
		}
	}
	return mtu
}
