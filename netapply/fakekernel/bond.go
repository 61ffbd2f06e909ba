package fakekernel

import (
	"slices"
	"strconv"

	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

// bondDefaults are the options of a bond that was made without any.
var bondDefaults = netapply.Options{
	"mode": "balance-rr", "miimon": "0", "updelay": "0", "downdelay": "0", "arp_interval": "0",
	"arp_ip_target": "", "ns_ip6_target": "", "primary": "", "primary_reselect": "always",
	"fail_over_mac": "none", "xmit_hash_policy": "layer2", "min_links": "0", "lacp_active": "on",
	"lacp_rate": "slow", "ad_select": "stable", "ad_actor_sys_prio": "65535", "ad_user_port_key": "0",
	"ad_actor_system":  noMAC,
	"peer_notif_delay": "0", "arp_validate": "none", "arp_all_targets": "any", "missed_max": "2", "resend_igmp": "1",
	"num_grat_arp": "1", "all_slaves_active": "0", "lp_interval": "1", "packets_per_slave": "1", "tlb_dynamic_lb": "1",
}

// bondOrder is the order in which the kernel looks at options.
var bondOrder = []string{
	"mode", "miimon", "updelay", "downdelay", "peer_notif_delay", "arp_interval", "arp_ip_target", "ns_ip6_target",
	"arp_validate", "arp_all_targets", "primary", "primary_reselect", "fail_over_mac", "xmit_hash_policy", "resend_igmp",
	"num_grat_arp", "all_slaves_active", "min_links", "lp_interval", "packets_per_slave", "lacp_active", "lacp_rate",
	"ad_select", "ad_actor_sys_prio", "ad_user_port_key", "ad_actor_system", "tlb_dynamic_lb", "missed_max",
}

// In which modes options exist; nil: in all.
var (
	lacpModes    = []string{"802.3ad"}
	primaryModes = []string{"active-backup", "balance-tlb", "balance-alb"}
	arpModes     = []string{"balance-rr", "active-backup", "balance-xor", "broadcast"}

	optionModes = map[string][]string{
		"lacp_active": lacpModes, "lacp_rate": lacpModes, "ad_select": lacpModes, "ad_actor_sys_prio": lacpModes,
		"ad_user_port_key": lacpModes, "ad_actor_system": lacpModes,
		"primary": primaryModes, "primary_reselect": primaryModes,
		"arp_interval": arpModes, "arp_ip_target": arpModes, "ns_ip6_target": arpModes,
		"arp_validate": arpModes, "missed_max": arpModes,
		"packets_per_slave": {"balance-rr"}, "tlb_dynamic_lb": {"balance-tlb", "balance-alb"},
	}
	whileDown  = []string{"mode", "lacp_active", "lacp_rate", "ad_select", "ad_user_port_key", "tlb_dynamic_lb"}
	whileEmpty = []string{"mode", "fail_over_mac"}
)

func (k *Kernel) setOptions(l *link, options netapply.Options) error {
	switch l.Kind {
	case netapply.Bond:
		return k.setBondOptions(l, options)
	case netapply.Macvlan:
		l.Options["mode"] = options["mode"]
		return nil
	}
	return refuse(unix.EOPNOTSUPP, "options of a %s", l.Kind)
}

func (k *Kernel) setBondOptions(l *link, options netapply.Options) error {
	for name := range options {
		if !slices.Contains(bondOrder, name) {
			return refuse(unix.EINVAL, "bond option %s", name)
		}
	}
	for _, name := range bondOrder {
		v, ok := options[name]
		if !ok {
			continue
		}
		if err := k.setBondOption(l, name, v); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kernel) setBondOption(l *link, name, v string) error {
	if modes := optionModes[name]; modes != nil && !slices.Contains(modes, l.Options["mode"]) {
		return refuse(unix.EACCES, "%s in mode %s", name, l.Options["mode"])
	}
	if slices.Contains(whileDown, name) && l.Up {
		return refuse(unix.EPERM, "%s while %s is up", name, l.Name)
	}
	if slices.Contains(whileEmpty, name) && k.hasMembers(l.Name) {
		return refuse(unix.ENOTEMPTY, "%s while %s has members", name, l.Name)
	}
	switch name {
	case "mode":
		l.Options["arp_validate"] = "none"
		if v == "balance-alb" {
			l.Options["tlb_dynamic_lb"] = "1"
		}
	case "arp_validate":
		if l.Options["miimon"] != "0" {
			return refuse(unix.EINVAL, "ARP validating cannot be used with MII monitoring")
		}
	case "updelay", "downdelay", "peer_notif_delay":
		every, _ := strconv.Atoi(l.Options["miimon"])
		if every == 0 {
			return refuse(unix.EPERM, "%s without miimon", name)
		}
		n, _ := strconv.Atoi(v)
		v = strconv.Itoa(n / every * every)
	case "miimon":
		if v != "0" {
			l.Options["arp_interval"], l.Options["arp_validate"] = "0", "none"
		} else {
			l.Options["updelay"], l.Options["downdelay"], l.Options["peer_notif_delay"] = "0", "0", "0"
		}
	case "arp_interval":
		if v != "0" {
			l.Options["miimon"] = "0"
		}
	case "primary":
		if v != "" && k.links[v] == nil {
			return refuse(unix.ENODEV, "primary %s", v)
		}
	}
	l.Options[name] = v
	return nil
}

// effective are the options that exist in the bond's mode. The others keep
// their values, as the kernel's do, without effect.
func effective(l *link) netapply.Options {
	if l.Kind != netapply.Bond {
		return l.Options
	}
	o := netapply.Options{}
	for name, v := range l.Options {
		if modes := optionModes[name]; modes == nil || slices.Contains(modes, l.Options["mode"]) {
			o[name] = v
		}
	}
	return o
}

func (k *Kernel) hasMembers(name string) bool {
	for _, l := range k.links {
		if l.Master == name {
			return true
		}
	}
	return false
}
