package netquorum

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// An InterfaceName follows rules and cannot be chosen freely (N11): ethN,
// bondN, failN, mgmtN, dataN, sanN, or any of these with VLAN tags appended,
// like bond0.10. It is stored in lower case.
type InterfaceName string

// ParseInterfaceName folds a name to lower case and checks it against the rules.
func ParseInterfaceName(s string) (InterfaceName, error) {
	n := InterfaceName(strings.ToLower(s))
	if n.Layer() == LayerNone {
		return "", fmt.Errorf("interface name %q is not ethN, bondN, failN, mgmtN, dataN, sanN or one of these with a VLAN tag (1-4094) like bond0.10, at most 15 characters", s)
	}
	return n, nil
}

func (n *InterfaceName) UnmarshalText(text []byte) error {
	v, err := ParseInterfaceName(string(text))
	if err != nil {
		return err
	}
	*n = v
	return nil
}

// A Layer is what an interface is, as its name tells.
type Layer string

const (
	LayerNone     Layer = ""
	LayerPhysical Layer = "physical"
	LayerBond     Layer = "bond"
	LayerVLAN     Layer = "vlan"
	LayerFailover Layer = "failover"
	LayerAlias    Layer = "alias"
)

// prefixes maps the stem of a name to its layer.
var prefixes = map[string]Layer{
	"eth": LayerPhysical, "bond": LayerBond, "fail": LayerFailover,
	"mgmt": LayerAlias, "data": LayerAlias, "san": LayerAlias,
}

// maxLinkName is what the kernel allows: IFNAMSIZ less the closing zero.
const maxLinkName = 15

// Layer tells what the name names; LayerNone when it is no valid name. A VLAN
// on an alias (data0.5) is a VLAN here, and IsAlias is true of it too.
func (n InterfaceName) Layer() Layer {
	if len(n) > maxLinkName {
		return LayerNone
	}
	stem, tags, tagged := strings.Cut(string(n), ".")
	layer := prefixes[strings.TrimRight(stem, "0123456789")]
	digits := strings.TrimLeft(stem, "abcdefghijklmnopqrstuvwxyz")
	if layer == LayerNone || !plainNumber(digits, maxInstanceNumber) {
		return LayerNone
	}
	if !tagged {
		return layer
	}
	for tag := range strings.SplitSeq(tags, ".") {
		if !plainNumber(tag, 4094) || tag == "0" {
			return LayerNone
		}
	}
	return LayerVLAN
}

// plainNumber reports whether s is a decimal number up to max without leading
// zeros: eth01 and eth1 must not both exist.
func plainNumber(s string, max int) bool {
	v, err := strconv.Atoi(s)
	return err == nil && v >= 0 && v <= max && strconv.Itoa(v) == s
}

// Stem returns the letters that the name begins with: "data" of data0.5.
func (n InterfaceName) Stem() string {
	if i := strings.IndexAny(string(n), "0123456789"); i > 0 {
		return string(n[:i])
	}
	return string(n)
}

// IsAlias reports whether the interface may carry addresses: an alias, or a
// VLAN on one.
func (n InterfaceName) IsAlias() bool {
	s := n.Stem()
	return s == "mgmt" || s == "data" || s == "san"
}

// VLAN splits the name of a VLAN into its parent and tag; ok is false for any
// other interface.
func (n InterfaceName) VLAN() (parent InterfaceName, tag int, ok bool) {
	i := strings.LastIndexByte(string(n), '.')
	if i < 0 || n.Layer() != LayerVLAN {
		return "", 0, false
	}
	tag, _ = strconv.Atoi(string(n[i+1:]))
	return n[:i], tag, true
}

// An Interface is one link of a filer. Which fields it may carry depends on its
// layer, which its name tells.
type Interface struct {
	Name InterfaceName `json:"name"`
	// Members are the links below a bond or failover interface. A member
	// carries nothing else.
	Members []InterfaceName `json:"members,omitempty"`
	// Parent is the interface below an alias. A VLAN's is part of its name.
	Parent InterfaceName `json:"parent,omitempty"`
	// MTU in bytes; 0 takes the parent's or the smallest of the members', and
	// leaves a physical interface's as the kernel has it.
	MTU int `json:"mtu,omitempty"`
	// Bond has the options of a bond, Failover those of a failover interface.
	Bond     *Bond     `json:"bond,omitempty"`
	Failover *Failover `json:"failover,omitempty"`
	// Ethernet has what ethtool sets. All but the offloads is of hardware.
	Ethernet *Ethernet `json:"ethernet,omitempty"`
	// CPU places the interface's packet processing on processors.
	CPU *CPU `json:"cpu,omitempty"`
	// Addresses belong to the filer and stay with it: on mgmt and san aliases
	// of a Filer document only.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
}

// A Bond aggregates its members. Zero values leave the kernel's default, but
// for Mode (802.3ad) and Miimon (100 ms: without it a bond never notices a dead
// link). Times are in milliseconds.
type Bond struct {
	Mode            BondMode      `json:"mode,omitempty"`
	Miimon          int           `json:"miimon,omitempty"`
	UpDelay         int           `json:"upDelay,omitempty"`
	DownDelay       int           `json:"downDelay,omitempty"`
	LACPRate        string        `json:"lacpRate,omitempty"` // slow, fast
	LACPActive      *bool         `json:"lacpActive,omitempty"`
	MinLinks        int           `json:"minLinks,omitempty"`
	ADSelect        string        `json:"adSelect,omitempty"`       // stable, bandwidth, count
	ADSystem        *MAC          `json:"adSystem,omitempty"`       // actor system address
	ADPriority      int           `json:"adPriority,omitempty"`     // actor system priority
	ADUserPortKey   int           `json:"adUserPortKey,omitempty"`  // 0-1023
	XmitHashPolicy  string        `json:"xmitHashPolicy,omitempty"` // layer2, layer2+3, layer3+4, encap2+3, encap3+4, vlan+srcmac
	ARPInterval     int           `json:"arpInterval,omitempty"`    // instead of Miimon; not with 802.3ad, balance-tlb, balance-alb
	ARPTargets      []netip.Addr  `json:"arpTargets,omitempty"`
	Primary         InterfaceName `json:"primary,omitempty"`         // active-backup, balance-tlb, balance-alb
	PrimaryReselect string        `json:"primaryReselect,omitempty"` // always, better, failure
	FailOverMAC     string        `json:"failOverMac,omitempty"`     // none, active, follow
	ARPValidate     string        `json:"arpValidate,omitempty"`     // none, active, backup, all, filter, filter_active, filter_backup; with arpInterval
	ARPAllTargets   string        `json:"arpAllTargets,omitempty"`   // any, all: how many targets must answer; with arpValidate
	MissedMax       int           `json:"missedMax,omitempty"`       // unanswered ARP probes until a member is down, 1-255; the kernel's default is 2
	NumGratARP      *int          `json:"numGratArp,omitempty"`      // announcements after a failover, 0-255; active-backup
	PeerNotifDelay  int           `json:"peerNotifDelay,omitempty"`  // between them
	ResendIGMP      *int          `json:"resendIgmp,omitempty"`      // IGMP reports after a failover, 0-255
	AllSlavesActive bool          `json:"allSlavesActive,omitempty"` // take packets that come in by members not in use, too
	LPInterval      int           `json:"lpInterval,omitempty"`      // seconds between learning packets; balance-tlb, balance-alb
	PacketsPerSlave *int          `json:"packetsPerSlave,omitempty"` // before the next member's turn; 0 is at random; balance-rr
	TLBDynamicLB    *bool         `json:"tlbDynamicLb,omitempty"`    // flows follow the load; balance-tlb, balance-alb
}

// A BondMode is one of the kernel's bonding modes, by name.
type BondMode string

const (
	ModeBalanceRR    BondMode = "balance-rr"
	ModeActiveBackup BondMode = "active-backup"
	ModeBalanceXOR   BondMode = "balance-xor"
	ModeBroadcast    BondMode = "broadcast"
	Mode8023AD       BondMode = "802.3ad"
	ModeBalanceTLB   BondMode = "balance-tlb"
	ModeBalanceALB   BondMode = "balance-alb"
)

// BondModes lists every mode, in the kernel's numbering (index = number).
var BondModes = []BondMode{ModeBalanceRR, ModeActiveBackup, ModeBalanceXOR, ModeBroadcast, Mode8023AD, ModeBalanceTLB, ModeBalanceALB}

// A Failover keeps one member in use and moves to another when it fails; the
// members may themselves be aggregates, or VLANs on them (N14). Times are in
// milliseconds; Miimon is 100 when zero.
type Failover struct {
	Primary         InterfaceName `json:"primary,omitempty"`
	PrimaryReselect string        `json:"primaryReselect,omitempty"`
	Miimon          int           `json:"miimon,omitempty"`
	UpDelay         int           `json:"upDelay,omitempty"`
	DownDelay       int           `json:"downDelay,omitempty"`
	ARPInterval     int           `json:"arpInterval,omitempty"`
	ARPTargets      []netip.Addr  `json:"arpTargets,omitempty"`
	FailOverMAC     string        `json:"failOverMac,omitempty"`
	ARPValidate     string        `json:"arpValidate,omitempty"`
	NumGratARP      *int          `json:"numGratArp,omitempty"`
	PeerNotifDelay  int           `json:"peerNotifDelay,omitempty"`
	ResendIGMP      *int          `json:"resendIgmp,omitempty"`
}
