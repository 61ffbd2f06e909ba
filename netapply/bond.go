package netapply

import (
	"cmp"
	"maps"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
	"github.com/vishvananda/netlink/nl"
)

// What the netlink library's list of bond attributes ends before.
const (
	attrBondPeerNotifDelay = 28 // Linux 5.3
	attrBondLACPActive     = 29 // Linux 5.14
	attrBondMissedMax      = 30 // Linux 5.17
	attrBondNSIP6Target    = 31 // Linux 5.19
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
	{name: "peer_notif_delay", attr: attrBondPeerNotifDelay, as: asU32},
	{name: "arp_interval", attr: nl.IFLA_BOND_ARP_INTERVAL, as: asU32},
	{name: "arp_ip_target", attr: nl.IFLA_BOND_ARP_IP_TARGET, as: asIPv4List},
	{name: "ns_ip6_target", attr: attrBondNSIP6Target, as: asIPv6List},
	{name: "arp_validate", attr: nl.IFLA_BOND_ARP_VALIDATE, as: asU32,
		words: []string{"none", "active", "backup", "all", "filter", "filter_active", "filter_backup"}},
	{name: "arp_all_targets", attr: nl.IFLA_BOND_ARP_ALL_TARGETS, as: asU32, words: []string{"any", "all"}},
	{name: "missed_max", attr: attrBondMissedMax, as: asU8},
	{name: "primary", attr: nl.IFLA_BOND_PRIMARY, as: asLink},
	{name: "primary_reselect", attr: nl.IFLA_BOND_PRIMARY_RESELECT, as: asU8,
		words: []string{"always", "better", "failure"}},
	{name: "fail_over_mac", attr: nl.IFLA_BOND_FAIL_OVER_MAC, as: asU8, effort: whileEmpty,
		words: []string{"none", "active", "follow"}},
	{name: "xmit_hash_policy", attr: nl.IFLA_BOND_XMIT_HASH_POLICY, as: asU8,
		words: []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}},
	{name: "resend_igmp", attr: nl.IFLA_BOND_RESEND_IGMP, as: asU32},
	{name: "num_grat_arp", attr: nl.IFLA_BOND_NUM_PEER_NOTIF, as: asU8}, // and num_unsol_na, which is the same
	{name: "all_slaves_active", attr: nl.IFLA_BOND_ALL_SLAVES_ACTIVE, as: asU8},
	{name: "lp_interval", attr: nl.IFLA_BOND_LP_INTERVAL, as: asU32},
	{name: "packets_per_slave", attr: nl.IFLA_BOND_PACKETS_PER_SLAVE, as: asU32},
	{name: "tlb_dynamic_lb", attr: nl.IFLA_BOND_TLB_DYNAMIC_LB, as: asU8, effort: whileDown},
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
		"mode":              string(mode),
		"fail_over_mac":     or(b.FailOverMAC, "none"),
		"xmit_hash_policy":  or(b.XmitHashPolicy, "layer2"),
		"min_links":         strconv.Itoa(b.MinLinks),
		"arp_all_targets":   or(b.ARPAllTargets, "any"),
		"num_grat_arp":      numberOr(b.NumGratARP, 1),
		"resend_igmp":       numberOr(b.ResendIGMP, 1),
		"all_slaves_active": bit(b.AllSlavesActive),
		"lp_interval":       strconv.Itoa(max(b.LPInterval, 1)),
	}
	monitoring(o, b)
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
	case netquorum.ModeBalanceRR:
		o["packets_per_slave"] = numberOr(b.PacketsPerSlave, 1)
	}
	if mode == netquorum.ModeBalanceTLB || mode == netquorum.ModeBalanceALB {
		o["tlb_dynamic_lb"] = bit(b.TLBDynamicLB == nil || *b.TLBDynamicLB)
	}
	if !hasNoARPMonitor(mode) {
		probing(o, b)
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
		case "arp_interval", "arp_ip_target", "ns_ip6_target", "missed_max":
			return hasNoARPMonitor(mode)
		case "arp_validate":
			return hasNoARPMonitor(mode) || o["miimon"] != "0"
		case "updelay", "downdelay", "peer_notif_delay":
			return o["miimon"] == "0"
		case "packets_per_slave":
			return mode != netquorum.ModeBalanceRR
		case "tlb_dynamic_lb":
			return mode != netquorum.ModeBalanceTLB && mode != netquorum.ModeBalanceALB
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
func monitoring(o Options, b netquorum.Bond) {
	if b.ARPInterval > 0 {
		o["miimon"] = "0"
		return
	}
	miimon := b.Miimon
	if miimon == 0 {
		miimon = defaultMiimon
	}
	o["miimon"] = strconv.Itoa(miimon)
	o["updelay"] = strconv.Itoa(b.UpDelay / miimon * miimon)
	o["downdelay"] = strconv.Itoa(b.DownDelay / miimon * miimon)
	o["peer_notif_delay"] = strconv.Itoa(b.PeerNotifDelay / miimon * miimon)
}

// probing sets the options of ARP monitoring. arp_validate is refused, even none,
// where carrier is looked at; the kernel resets it then by itself.
func probing(o Options, b netquorum.Bond) {
	if b.ARPInterval > 0 {
		o["arp_validate"] = or(b.ARPValidate, "none")
	}
	o["missed_max"] = strconv.Itoa(cmp.Or(b.MissedMax, 2))
	var four, six []string
	for _, a := range b.ARPTargets {
		if a.Is4() {
			four = append(four, a.String())
		} else {
			six = append(six, a.String())
		}
	}
	o["arp_interval"] = strconv.Itoa(b.ARPInterval)
	o["arp_ip_target"] = strings.Join(four, ",")
	o["ns_ip6_target"] = strings.Join(six, ",")
}

func numberOr(v *int, otherwise int) string {
	if v == nil {
		return strconv.Itoa(otherwise)
	}
	return strconv.Itoa(*v)
}

func bit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}
