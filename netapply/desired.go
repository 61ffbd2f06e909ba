package netapply

import (
	"net/netip"

	netquorum "github.com/netquorum/netquorum"
)

// Desired is what one filer's kernel should hold because of the configuration,
// and nothing of what else it may hold. It is data: two filers with the same
// configuration and placements compute the same.
type Desired struct {
	Links     []Link // an order in which each can be made from those before it
	Addresses []Address
	Routes    []Route
	Global    Settings // of the network namespace; nothing where no VRF is wanted
	Rules     []Rule
	Access    *Ruleset // nil: no access policy concerns this filer
	// Problems are objects of the configuration that this filer cannot have,
	// like a hosted address on an alias that it lacks.
	Problems []ObjectError
}

// A LinkKind is the kernel's word for a type of link.
type LinkKind string

const (
	Physical LinkKind = "" // whatever the kernel found; never made or removed here
	Bond     LinkKind = "bond"
	VLAN     LinkKind = "vlan"
	Macvlan  LinkKind = "macvlan"
	VRF      LinkKind = "vrf"
)

// Options are the settings that belong to a kind of link, by the names and
// values that ip uses: {"mode": "802.3ad", "lacp_rate": "fast"}.
type Options map[string]string

// Settings are the kernel's per-interface settings below /proc/sys/net, like
// {"ipv4/arp_ignore": 1}.
type Settings map[string]int

// A Link is a network interface as far as we manage it. Zero values are not
// managed: they stay as the kernel has them.
type Link struct {
	Name     string
	Kind     LinkKind
	Role     string        // what it is to us, kept in the kernel as part of the link's alias text
	Parent   string        // the link below a VLAN or macvlan
	Master   string        // the bond or VRF that it belongs to
	MAC      netquorum.MAC // zero: the kernel chooses
	MTU      int           // 0: the parent's, or the smallest of the members'
	Down     bool          // to be down; only a physical interface that was is put back so
	Options  Options
	Settings Settings
	Tuning   Tuning
}

// An Address is an IP address with its subnet on a link.
type Address struct {
	Link   string
	Prefix netip.Prefix
	// Hosted addresses move between filers. The cluster's log guarantees that
	// they are unique, so they skip duplicate address detection, and neighbours
	// are told when they arrive.
	Hosted bool
	// Guarded addresses are not added while the access rules cannot be had.
	Guarded bool
}

// MainTable is the kernel's ordinary routing table.
const MainTable uint32 = 254

// A Route is one route of ours. It is comparable: two routes are the same
// exactly when they are equal.
type Route struct {
	Table       uint32
	To          netip.Prefix
	Via         netip.Addr // invalid: the destination is on the link
	Link        string     // empty when unreachable
	Source      netip.Addr // preferred source, or invalid
	Metric      uint32
	OnLink      bool // the gateway is on the link although no subnet says so
	Unreachable bool
}

// A Rule sends packets from an address to a routing table.
type Rule struct {
	Priority uint32
	From     netip.Prefix
	Table    uint32
}
