package monitor

import (
	"net/netip"
	"slices"

	"github.com/netquorum/netquorum"
)

// A Link is what the kernel says of one link.
type Link struct {
	Index   int
	Name    string
	Kind    string // the kernel's word for the type; empty for a card
	Up      bool   // set up by its administrator
	Carrier bool   // has signal
	Dormant bool   // has signal and waits for something, like 802.1X
	MAC     netquorum.MAC
	MTU     int
	Parent  int // index of the link below, in this namespace
	Master  int // index of the bond or VRF that it belongs to
	Bond    *Bond
	Port    *Port // as a member of a bond
}

// A Bond is what the kernel says of a bond.
type Bond struct {
	Mode     int // as in netquorum.BondModes
	MinLinks int
	LACPFast bool
	// The rest is of the active aggregator, in mode 802.3ad.
	Aggregator int
	Ports      int
	PartnerKey uint16
	Partner    netquorum.MAC
}

// LACP reports whether the bond is one of 802.3ad.
func (b *Bond) LACP() bool {
	return b != nil && b.Mode < len(netquorum.BondModes) && netquorum.BondModes[b.Mode] == netquorum.Mode8023AD
}

// idles reports whether the bond uses one member and keeps the others idle.
func (b *Bond) idles() bool {
	return b != nil && b.Mode < len(netquorum.BondModes) && netquorum.BondModes[b.Mode] == netquorum.ModeActiveBackup
}

// A Port is what the kernel says of a member of a bond.
type Port struct {
	Active     bool
	Monitor    MonitorState
	Failures   uint32 // losses of signal since it was made a member
	Aggregator int
	Actor      PortState
	Partner    PortState
}

// A MonitorState is the view of the bond's own monitor (miimon or ARP).
type MonitorState uint8

// In the kernel's numbering, BOND_LINK_*.
const (
	MonitorUp   MonitorState = 0
	MonitorFail MonitorState = 1 // gone, within the down delay
	MonitorDown MonitorState = 2
	MonitorBack MonitorState = 3 // back, within the up delay
)

// An Address is one address in the kernel.
type Address struct {
	Index     int
	Prefix    netip.Prefix
	Duplicate bool // duplicate address detection failed
	Tentative bool
}

// A Route is one gateway of one route in the kernel.
type Route struct {
	Table uint32
	To    netip.Prefix
	Via   netip.Addr
	Index int // of the link it leaves by
}

// A Change is one thing in the kernel that is new, different or gone.
type Change struct {
	Gone    bool
	Link    *Link
	Address *Address
	Route   *Route
}

// An Update is a series of changes. After a reset they are everything.
type Update struct {
	Reset   bool
	Changes []Change
}

// A table is the kernel's state as far as it was told. The zero table is empty.
type table struct {
	links     map[int]Link
	byName    map[string]int
	addresses map[netip.Addr][]Address // one address may be on several links
	routes    map[Route]bool
	details   map[string]Detail // of bonds, by name
}

func (t *table) clear() {
	*t = table{
		links: map[int]Link{}, byName: map[string]int{}, addresses: map[netip.Addr][]Address{},
		routes: map[Route]bool{}, details: t.details,
	}
	if t.details == nil {
		t.details = map[string]Detail{}
	}
}

func (t *table) apply(u Update) {
	if u.Reset || t.links == nil {
		t.clear()
	}
	for _, c := range u.Changes {
		switch {
		case c.Link != nil:
			t.link(*c.Link, c.Gone)
		case c.Address != nil:
			t.address(*c.Address, c.Gone)
		case c.Route != nil && c.Gone:
			delete(t.routes, *c.Route)
		case c.Route != nil:
			t.routes[*c.Route] = true
		}
	}
}

func (t *table) link(l Link, gone bool) {
	if old, ok := t.links[l.Index]; ok && t.byName[old.Name] == l.Index {
		delete(t.byName, old.Name) // renamed, or gone
	}
	if !gone {
		t.links[l.Index] = l
		t.byName[l.Name] = l.Index
		return
	}
	delete(t.links, l.Index)
	// The kernel says nothing of the IPv4 routes that go with a link.
	for r := range t.routes {
		if r.Index == l.Index {
			delete(t.routes, r)
		}
	}
}

func (t *table) address(a Address, gone bool) {
	list := slices.DeleteFunc(slices.Clone(t.addresses[a.Prefix.Addr()]), func(o Address) bool { return o.Index == a.Index })
	if !gone {
		list = append(list, a)
	}
	if len(list) == 0 {
		delete(t.addresses, a.Prefix.Addr())
		return
	}
	t.addresses[a.Prefix.Addr()] = list
}

func (t *table) named(name string) (Link, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Link{}, false
	}
	l, ok := t.links[i]
	return l, ok
}

// mine reports whether a MAC is that of a link of this filer.
func (t *table) mine(mac netquorum.MAC) bool {
	for _, l := range t.links {
		if l.MAC == mac {
			return true
		}
	}
	return false
}
