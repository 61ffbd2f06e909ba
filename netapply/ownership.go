package netapply

import (
	"strconv"
	"strings"
)

// This file decides what in the kernel is ours. Nothing else in the package
// removes or changes an object without asking here.
//
//	links      carry our group number from the instant they exist, and an alias
//	           text "netquorum: ..." that tells people what they are for
//	addresses  carry protocol 190; where the kernel does not keep it, addresses
//	           on our own links count, except those that the kernel makes
//	routes     carry protocol 190 (Observed holds no others)
//	rules      carry protocol 190 (Observed holds no others)
//	nftables   the table inet netquorum_access, and nothing in any other
//
// Physical links are nobody's: we set them up, set their MTU, arp_ignore and what
// is configured of their hardware, and enslave them, and never mark or remove
// them. What settings of the hardware were before is remembered (before.go).

// Protocol is our number among the originators of addresses, routes and rules.
const Protocol = 190

// Group is the link group of our links. The kernel sets the group when it makes
// a link but the alias text only afterwards: a daemon that is killed in between
// must still know its link again.
const Group = 0x6e717531 // "nqu1"

const labelPrefix = "netquorum: "

var protocolText = strconv.Itoa(Protocol)

// label is the alias text of a link with the role.
func label(role string) string { return labelPrefix + role }

// Ours reports whether the link was made by us.
func (l ObservedLink) Ours() bool {
	return l.Group == Group || strings.HasPrefix(l.Alias, labelPrefix)
}

// unclaimed reports whether the link is one that the bonding module makes by
// itself when it is loaded (bond0, down and empty). It would otherwise stand in
// the way of the first bond of every filer for ever.
func (o Observed) unclaimed(l ObservedLink) bool {
	if l.Kind != Bond || l.Up || l.Alias != "" || l.Group != 0 || l.Master != "" {
		return false
	}
	for _, other := range o.Links {
		if other.Master == l.Name || other.Parent == l.Name {
			return false
		}
	}
	for _, a := range o.Addresses {
		if a.Link == l.Name {
			return false
		}
	}
	return true
}

// oursAddress reports whether the address was added by us. own tells whether
// its link is ours.
func (o Observed) oursAddress(a ObservedAddress, own bool) bool {
	if o.AddressProtocol {
		return a.Protocol == Protocol
	}
	return own && !a.Prefix.Addr().IsLinkLocalUnicast()
}
