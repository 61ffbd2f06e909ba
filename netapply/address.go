package netapply

import "net/netip"

// addressKey is what the kernel tells the addresses of one link apart by: in
// IPv4 the address with its subnet, in IPv6 the address alone.
type addressKey struct {
	link   string
	prefix netip.Prefix
}

func (a Address) key() addressKey         { return keyOf(a.Link, a.Prefix) }
func (a ObservedAddress) key() addressKey { return keyOf(a.Link, a.Prefix) }

func keyOf(link string, p netip.Prefix) addressKey {
	if p.Addr().Is6() {
		p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
	}
	return addressKey{link, p}
}
