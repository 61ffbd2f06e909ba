package netapply

import "net/netip"

// Observed is the state of the kernel as far as plans depend on it: all links
// and addresses, and those routes and rules that carry our protocol number.
type Observed struct {
	Links     []ObservedLink
	Addresses []ObservedAddress
	Routes    []Route
	Rules     []Rule
	Access    *Ruleset // the content of our nftables table, nil when there is none
	Global    Settings // of the network namespace, those that plans may change
	IPv6      bool     // the kernel has IPv6
	// AddressProtocol says that the kernel keeps who made an address. Without
	// it (before Linux 5.18) ownership of addresses goes by their link.
	AddressProtocol bool
}

// An ObservedLink is a link that exists.
type ObservedLink struct {
	Link
	Index   int
	Up      bool   // set up by its administrator; says nothing about carrier
	Carrier bool   // the layer below works
	Alias   string // the link's alias text
	Group   uint32
	// Before has the settings that we changed and nobody has set back since, as
	// they were. Tuning is nil when it was not asked for.
	Before Tuning
}

// An ObservedAddress is an address that exists.
type ObservedAddress struct {
	Link     string
	Prefix   netip.Prefix
	Protocol uint8
}
