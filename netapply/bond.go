package netapply

import (
	"maps"
	"net/netip"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
	"github.com/vishvananda/netlink/nl"
)

// What the netlink library's list of bond attributes ends before.
const (
	attrBondLACPActive  = 29 // Linux 5.14
	attrBondNSIP6Target = 31 // Linux 5.19
)

// bondOptions are the settings of a bond. The kernel applies those of one
// message in an order of its own (mode, then monitoring, then the rest), so
// that ours does not matter.
//
// ad_* and lacp_* exist in mode 802.3ad only, primary* where one member is in
// use, arp_* where ARP monitoring is possible; the kernel refuses them
// elsewhere even with their default value.
var bondOptions = []option{
	{name: "mode", attr: nl.IFLA_BOND_MODE, as: asU8, effort: whileEmpty,
		words: []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}},
	{name: "miimon", attr: nl.IFLA_BOND_MIIMON, as: asU32},
	{name: "updelay", attr: nl.IFLA_BOND_UPDELAY, as: asU32},
	{name: "downdelay", attr: nl.IFLA_BOND_DOWNDELAY, as: asU32},
	{name: "arp_interval", attr: nl.IFLA_BOND_ARP_INTERVAL, as: asU32},
	{name: "arp_ip_target", attr: nl.IFLA_BOND_ARP_IP_TARGET, as: asIPv4List},
	{name: "ns_ip6_target", attr: attrBondNSIP6Target, as: asIPv6List},
	{name: "primary", attr: nl.IFLA_BOND_PRIMARY, as: asLink},
	{name: "primary_reselect", attr: nl.IFLA_BOND_PRIMARY_RESELECT, as: asU8,
		words: []string{"always", "better", "failure"}},
	{name: "fail_over_mac", attr: nl.IFLA_BOND_FAIL_OVER_MAC, as: asU8, effort: whileEmpty,
		words: []string{"none", "active", "follow"}},
	{name: "xmit_hash_policy", attr: nl.IFLA_BOND_XMIT_HASH_POLICY, as: asU8,
		words: []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}},
	{name: "min_links", attr: nl.IFLA_BOND_MIN_LINKS, as: asU32},
	{name: "lacp_active", attr: attrBondLACPActive, as: asU8, effort: whileDown, words: []string{"off", "on"}},
	{name: "lacp_rate", attr: nl.IFLA_BOND_AD_LACP_RATE, as: asU8, effort: whileDown, words: []string{"slow", "fast"}},
	{name: "ad_select", attr: nl.IFLA_BOND_AD_SELECT, as: asU8, effort: whileDown,
		words: []string{"stable", "bandwidth", "count"}},
	{name: "ad_actor_sys_prio", attr: nl.IFLA_BOND_AD_ACTOR_SYS_PRIO, as: asU16},
	{name: "ad_user_port_key", attr: nl.IFLA_BOND_AD_USER_PORT_KEY, as: asU16, effort: whileDown},
	{name: "ad_actor_system", attr: nl.IFLA_BOND_AD_ACTOR_SYSTEM, as: asMAC},
}

// defaultMiimon is how often, in milliseconds, a bond looks at its members'
// carrier. The kernel's default is never, with which it never fails over.
const defaultMiimon = 100

// bond wants a bond. Every option is said, with the kernel's default where the
// configuration says nothing: an option that is taken out of the configuration
// must go back to its default in the kernel.
func bond(i netquorum.Interface) Link {
	b := netquorum.Bond{}
	if i.Bond != nil {
		b = *i.Bond
	}
	mode := b.Mode
	if mode == "" {
		mode = netquorum.Mode8023AD
	}
	o := Options{
		"mode":             string(mode),
		"fail_over_mac":    or(b.FailOverMAC, "none"),
		"xmit_hash_policy": or(b.XmitHashPolicy, "layer2"),
		"min_links":        strconv.Itoa(b.MinLinks),
	}
	monitoring(o, b.Miimon, b.UpDelay, b.DownDelay, b.ARPInterval)
	switch mode {
	case netquorum.Mode8023AD:
		o["lacp_rate"] = or(b.LACPRate, "slow")
		o["lacp_active"] = "on"
		if b.LACPActive != nil && !*b.LACPActive {
			o["lacp_active"] = "off"
		}
		o["ad_select"] = or(b.ADSelect, "stable")
		o["ad_actor_sys_prio"] = strconv.Itoa(b.ADPriority)
		if b.ADPriority == 0 {
			o["ad_actor_sys_prio"] = "65535"
		}
		o["ad_user_port_key"] = strconv.Itoa(b.ADUserPortKey)
		o["ad_actor_system"] = netquorum.MAC{}.String() // the bond's own
		if b.ADSystem != nil {
			o["ad_actor_system"] = b.ADSystem.String()
		}
	case netquorum.ModeActiveBackup, netquorum.ModeBalanceTLB, netquorum.ModeBalanceALB:
		o["primary"] = string(b.Primary)
		o["primary_reselect"] = or(b.PrimaryReselect, "always")
	}
	if !hasNoARPMonitor(mode) {
		targets(o, b.ARPInterval, b.ARPTargets)
	}
	return Link{Name: string(i.Name), Kind: Bond, Role: "bond", MTU: i.MTU, Options: o, Settings: carrierSettings}
}

// bondOptionsIn leaves out what the kernel shows but does not take in the bond's
// mode, not even unchanged.
func bondOptionsIn(o Options) Options {
	mode := netquorum.BondMode(o["mode"])
	takes := maps.Clone(o)
	maps.DeleteFunc(takes, func(name, _ string) bool {
		switch name {
		case "lacp_rate", "lacp_active", "ad_select", "ad_actor_sys_prio", "ad_user_port_key", "ad_actor_system":
			return mode != netquorum.Mode8023AD
		case "primary", "primary_reselect":
			return mode != netquorum.ModeActiveBackup && mode != netquorum.ModeBalanceTLB && mode != netquorum.ModeBalanceALB
		case "arp_interval", "arp_ip_target", "ns_ip6_target":
			return hasNoARPMonitor(mode)
		case "updelay", "downdelay":
			return o["miimon"] == "0"
		}
		return false
	})
	return takes
}

func hasNoARPMonitor(mode netquorum.BondMode) bool {
	return mode == netquorum.Mode8023AD || mode == netquorum.ModeBalanceTLB || mode == netquorum.ModeBalanceALB
}

// monitoring sets the options by which dead members are noticed: carrier, or
// ARP instead. Delays need the former: the kernel refuses even a zero without,
// and rounds them down to whole intervals.
func monitoring(o Options, miimon, up, down, arpInterval int) {
	if arpInterval > 0 {
		o["miimon"] = "0"
		return
	}
	if miimon == 0 {
		miimon = defaultMiimon
	}
	o["miimon"] = strconv.Itoa(miimon)
	o["updelay"] = strconv.Itoa(up / miimon * miimon)
	o["downdelay"] = strconv.Itoa(down / miimon * miimon)
}

func targets(o Options, interval int, addrs []netip.Addr) {
	var four, six []string
	for _, a := range addrs {
		if a.Is4() {
			four = append(four, a.String())
		} else {
			six = append(six, a.String())
		}
	}
	o["arp_interval"] = strconv.Itoa(interval)
	o["arp_ip_target"] = strings.Join(four, ",")
	o["ns_ip6_target"] = strings.Join(six, ",")
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}
