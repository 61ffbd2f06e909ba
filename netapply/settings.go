package netapply

import (
	"maps"
	"slices"
)

// aliasSettings are for links that carry addresses. Several of them may share a
// subnet, each with a MAC of its own, and by default Linux would answer ARP for
// any address on any of them.
var aliasSettings = Settings{
	"ipv4/arp_ignore":   1, // answer only for addresses of the link that was asked
	"ipv4/arp_announce": 2, // ask with an address of the link that asks
	// Replies may leave by another link than requests came in by, as far as the
	// main table can tell: the source rules know better, a strict check does not.
	"ipv4/rp_filter": 2,
	// The second address of a subnet must outlive the first.
	"ipv4/promote_secondaries": 1,
	// Nothing is answered for others, and nothing passed on between networks,
	// also where the machine forwards on interfaces that are not ours. (For IPv6
	// the kernel forwards everywhere or nowhere; this makes the link a host's.)
	"ipv4/proxy_arp":    0,
	"ipv4/forwarding":   0,
	"ipv6/proxy_ndp":    0,
	"ipv6/forwarding":   0,
	"ipv6/disable_ipv6": 0,
	// Addresses and routes come from the configuration, not from a router.
	"ipv6/accept_ra": 0,
	// Entering or leaving a VRF takes the link down for an instant.
	"ipv6/keep_addr_on_down": 1,
}

// carrierSettings are for links of ours that only carry others: they have no
// address, not even a link-local one (N12). They hear what is asked of the
// links above them and must not answer in their place: neighbours would learn
// their MAC, which stays behind when a server moves.
var carrierSettings = Settings{
	"ipv4/arp_ignore": 1, "ipv4/proxy_arp": 0, "ipv4/forwarding": 0, "ipv6/disable_ipv6": 1,
}

// physicalSettings are for interfaces of the machine, for the same reason. An
// address that somebody else has put there keeps being answered for.
var physicalSettings = Settings{"ipv4/arp_ignore": 1}

// settingNames are all settings, sorted.
var settingNames = slices.Sorted(maps.Keys(settingIndex))

// settingIndex numbers the settings as the kernel lists them with each link:
// IPv4's from 1 in linux/ip.h, IPv6's from 0 in linux/ipv6.h.
var settingIndex = map[string]int{
	"ipv4/forwarding":          1,
	"ipv4/proxy_arp":           3,
	"ipv4/rp_filter":           8,
	"ipv4/arp_announce":        18,
	"ipv4/arp_ignore":          19,
	"ipv4/promote_secondaries": 20,
	"ipv6/forwarding":          0,
	"ipv6/accept_ra":           3,
	"ipv6/proxy_ndp":           22,
	"ipv6/disable_ipv6":        26,
	"ipv6/keep_addr_on_down":   42,
}
