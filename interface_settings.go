package netquorum

import "slices"

// An InterfaceSetting is a field of an interface and the layers that may carry
// it (N15). The rules, the descriptions in the schema and docs/settings.md are
// all made from InterfaceSettings, so that they cannot disagree.
type InterfaceSetting struct {
	Field  string  // as written, like ethernet.speed
	Layers []Layer // that may carry it
	Why    string  // why no other layer may, for people who tried
	Like   string  // the command that an administrator would type
	set    func(Interface) bool
}

// Layers lists the layers from the lowest up.
var Layers = []Layer{LayerPhysical, LayerBond, LayerVLAN, LayerFailover, LayerAlias}

var (
	onPhysical = []Layer{LayerPhysical}
	onMasters  = []Layer{LayerBond, LayerFailover}
)

const (
	whyHardware = "it is a setting of hardware, and what stands on a physical interface uses that interface's"
)

// InterfaceSettings says which layer may carry which setting.
var InterfaceSettings = []InterfaceSetting{
	{"mtu", Layers, "", "ip link set mtu",
		func(i Interface) bool { return i.MTU != 0 }},
	{"members", onMasters, "only bonds and failover interfaces have members", "ip link set master",
		func(i Interface) bool { return len(i.Members) > 0 }},
	{"parent", []Layer{LayerAlias}, "only aliases have a parent; a VLAN's is part of its name, like bond0 of bond0.10", "ip link add link",
		func(i Interface) bool { return i.Parent != "" }},
	{"bond", []Layer{LayerBond}, "only bonds have bond options", "ip link set type bond",
		func(i Interface) bool { return i.Bond != nil }},
	{"failover", []Layer{LayerFailover}, "only failover interfaces have failover options", "ip link set type bond mode active-backup",
		func(i Interface) bool { return i.Failover != nil }},
	{"ethernet.autoneg", onPhysical, whyHardware, "ethtool -s autoneg",
		func(i Interface) bool { return i.ethernet().Autoneg != nil }},
	{"ethernet.speed", onPhysical, whyHardware, "ethtool -s speed",
		func(i Interface) bool { return i.ethernet().Speed != 0 }},
	{"ethernet.duplex", onPhysical, whyHardware, "ethtool -s duplex",
		func(i Interface) bool { return i.ethernet().Duplex != "" }},
	{"ethernet.offloads", []Layer{LayerPhysical, LayerBond, LayerVLAN, LayerFailover}, "the kernel gives an alias (a macvlan) the offloads of what it stands on, and ignores what it is told", "ethtool -K",
		func(i Interface) bool { return len(i.ethernet().Offloads) > 0 }},
	{"ethernet.rings", onPhysical, whyHardware, "ethtool -G",
		func(i Interface) bool { return i.ethernet().Rings != nil }},
	{"ethernet.coalesce", onPhysical, whyHardware, "ethtool -C",
		func(i Interface) bool { return i.ethernet().Coalesce != nil }},
	{"ethernet.channels", onPhysical, whyHardware, "ethtool -L",
		func(i Interface) bool { return i.ethernet().Channels != nil }},
	{"ethernet.pause", onPhysical, whyHardware, "ethtool -A",
		func(i Interface) bool { return i.ethernet().Pause != nil }},
	{"cpu", onPhysical, "packets are placed on processors where they enter the machine", "echo > /proc/irq/N/smp_affinity_list, /sys/class/net/ethN/queues/*/{r,x}ps_cpus",
		func(i Interface) bool { return i.CPU != nil }},
}

// Carries reports whether an interface of the layer may carry the setting.
func (s InterfaceSetting) Carries(layer Layer) bool { return slices.Contains(s.Layers, layer) }

// ethernet returns the interface's Ethernet settings, none when it has none.
func (i Interface) ethernet() Ethernet {
	if i.Ethernet == nil {
		return Ethernet{}
	}
	return *i.Ethernet
}

// checkFields refuses settings on layers that do not have them (N15).
func (i Interface) checkFields(c *checker, field string, layer Layer) {
	for _, s := range InterfaceSettings {
		if s.set(i) && !s.Carries(layer) {
			c.add(field+"."+s.Field, RuleInterfaceField, "%s is a %s interface, and %s stands on %s only: %s; remove it",
				i.Name, layer, s.Field, layersText(s.Layers), s.Why)
		}
	}
}

// layersText is like "bond and failover interfaces".
func layersText(layers []Layer) string {
	text := ""
	for n, l := range layers {
		switch {
		case n == 0:
		case n == len(layers)-1:
			text += " and "
		default:
			text += ", "
		}
		text += string(l)
	}
	return text + " interfaces"
}
