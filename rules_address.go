package netquorum

import (
	"fmt"
	"net/netip"
)

// checkHost checks that p is an address that a host can have, with the length
// of its subnet (N5, N13).
func checkHost(c *checker, field string, p netip.Prefix) {
	if why := notHost(p); why != "" {
		c.add(field, RuleAddressHost, "%s", why)
	}
}

func notHost(p netip.Prefix) string {
	if !p.IsValid() {
		return "is missing; write an address with its prefix length, like 10.1.1.2/24"
	}
	a := p.Addr()
	if a.Is4In6() {
		return fmt.Sprintf("%s is an IPv4 address in the form of IPv6; write %s", p, a.Unmap())
	}
	if why := notUnicast(a); why != "" {
		return why
	}
	if p.Bits() == 0 {
		return fmt.Sprintf("%s has prefix length 0; write the length of the subnet", p)
	}
	if p.Bits() >= a.BitLen()-1 { // point to point links and single addresses have neither
		return ""
	}
	if a == p.Masked().Addr() {
		return fmt.Sprintf("%s is the address of the subnet itself; choose another", p)
	}
	if a.Is4() && a == lastAddr(p) {
		return fmt.Sprintf("%s is the broadcast address of its subnet; choose another", p)
	}
	return ""
}

// notUnicast says why a cannot belong to one host, or nothing.
func notUnicast(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "is missing"
	case a.Zone() != "":
		return fmt.Sprintf("%s has a zone; leave out %%%s", a, a.Zone())
	case a.IsUnspecified(), a.Is4() && a.As4()[0] == 0:
		return fmt.Sprintf("%s stands for no host", a)
	case a.IsLoopback():
		return fmt.Sprintf("%s is a loopback address", a)
	case a.IsMulticast():
		return fmt.Sprintf("%s is a multicast address", a)
	case a.Is4() && a.As4()[0] >= 240:
		return fmt.Sprintf("%s is reserved", a)
	}
	return ""
}

// lastAddr returns the last address of an IPv4 subnet.
func lastAddr(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}
