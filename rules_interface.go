package netquorum

import (
	"fmt"
	"slices"
	"strings"
)

const (
	minMTU     = 68 // what IPv4 needs at least (RFC 791)
	maxMTU     = 65535
	minMTUIPv6 = 1280 // RFC 8200
)

// checkInterfaces checks each interface of a filer or group by itself.
func checkInterfaces(c *checker, all []Interface, filer bool) {
	first := map[InterfaceName]int{}
	for i, iface := range all {
		field := fmt.Sprintf("spec.interfaces[%d]", i)
		if j, again := first[iface.Name]; again {
			c.add(field+".name", RuleInterfaceOnce, "%s stands in this document twice, also in spec.interfaces[%d]; join the two", iface.Name, j)
		}
		first[iface.Name] = i
		iface.check(c, field)
		iface.checkAddresses(c, field, filer)
	}
}

// check checks the interface's name, parts and options.
func (i Interface) check(c *checker, field string) {
	layer := i.Name.Layer()
	if _, err := ParseInterfaceName(string(i.Name)); err != nil {
		c.add(field+".name", RuleInterfaceName, "%v", err)
		return
	}
	if string(i.Name) != strings.ToLower(string(i.Name)) {
		c.add(field+".name", RuleInterfaceName, "%s must be in lower case", i.Name)
	}
	i.checkFields(c, field, layer)
	i.checkParts(c, field, layer)
	if i.MTU != 0 && (i.MTU < minMTU || i.MTU > maxMTU) {
		c.add(field+".mtu", RuleMTURange, "%d is not between %d and %d", i.MTU, minMTU, maxMTU)
	}
	if i.Bond != nil && layer == LayerBond {
		i.Bond.check(c, field+".bond", i.Members)
	}
	if i.Failover != nil && layer == LayerFailover {
		i.Failover.check(c, field+".failover", i.Members)
	}
	if i.Ethernet != nil {
		i.Ethernet.check(c, field+".ethernet")
	}
	if i.CPU != nil {
		i.CPU.check(c, field+".cpu")
	}
}

// checkParts checks that the interface is built on something, and on the right
// layers (N10).
func (i Interface) checkParts(c *checker, field string, layer Layer) {
	switch {
	case (layer == LayerBond || layer == LayerFailover) && len(i.Members) == 0:
		c.add(field+".members", RuleRequired, "%s has no members; name at least one", i.Name)
	case layer == LayerAlias && i.Parent == "":
		c.add(field+".parent", RuleRequired, "%s has no parent; name the interface below it", i.Name)
	case layer == LayerAlias && i.Parent.Layer() == LayerNone:
		c.add(field+".parent", RuleInterfaceName, "%q is no interface name", i.Parent)
	case layer == LayerAlias && i.Parent.IsAlias():
		c.add(field+".parent", RuleInterfaceLayer, "%s cannot stand on %s: an alias stands on a physical interface, bond, VLAN or failover interface", i.Name, i.Parent)
	}
	for j, m := range i.Members {
		at := fmt.Sprintf("%s.members[%d]", field, j)
		if slices.Index(i.Members, m) < j {
			c.add(at, RuleMemberShared, "%s is a member of %s twice; remove one", m, i.Name)
		}
		switch member := m.Layer(); {
		case member == LayerNone:
			c.add(at, RuleInterfaceName, "%q is no interface name", m)
		case layer == LayerBond && member != LayerPhysical:
			c.add(at, RuleInterfaceLayer, "%s cannot be a member of a bond: only physical interfaces can; a failover interface takes %s", m, m)
		case layer == LayerFailover && (m.IsAlias() || m.Stem() == "fail"):
			c.add(at, RuleInterfaceLayer, "%s cannot be a member of a failover interface: only physical interfaces, bonds and VLANs on these can", m)
		}
	}
}

// checkAddresses checks that addresses stand where a filer's belong (N13).
func (i Interface) checkAddresses(c *checker, field string, filer bool) {
	for j, p := range i.Addresses {
		at := fmt.Sprintf("%s.addresses[%d]", field, j)
		checkHost(c, at, p)
		switch {
		case !filer:
			c.add(at, RuleAddressPlace, "a group has no addresses: each belongs to one filer; move it to the Filer's own %s", i.Name)
		case i.Name.Stem() == "data":
			c.add(at, RuleAddressPlace, "addresses on data aliases belong to virtual servers and move with them; move it to a VirtualServer")
		case !i.Name.IsAlias():
			c.add(at, RuleAddressPlace, "only aliases carry addresses; put an alias like mgmt0 on %s and the address there", i.Name)
		}
	}
}
