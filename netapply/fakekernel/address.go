package fakekernel

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

func (k *Kernel) addAddress(a netapply.Address) error {
	l := k.links[a.Link]
	if l == nil {
		return refuse(unix.ENODEV, "link %s", a.Link)
	}
	six := a.Prefix.Addr().Is6()
	if six && (k.NoIPv6 || l.Settings["ipv6/disable_ipv6"] == 1) {
		return refuse(unix.EACCES, "IPv6 is off on %s", a.Link)
	}
	for _, o := range k.addresses {
		if o.Link == a.Link && (o.Prefix == a.Prefix || six && o.Prefix.Addr() == a.Prefix.Addr()) {
			return refuse(unix.EEXIST, "address %s on %s", o.Prefix, o.Link)
		}
	}
	k.addresses = append(k.addresses, netapply.ObservedAddress{Link: a.Link, Prefix: a.Prefix, Protocol: netapply.Protocol})
	return nil
}

// delAddress removes an address, and in IPv4 the later ones of its subnet if it
// was the first and they may not take its place.
func (k *Kernel) delAddress(link string, p netip.Prefix) {
	i := slices.IndexFunc(k.addresses, func(a netapply.ObservedAddress) bool { return a.Link == link && a.Prefix == p })
	if i < 0 {
		return
	}
	same := func(a netapply.ObservedAddress) bool {
		return a.Link == link && p.Addr().Is4() && a.Prefix.Masked() == p.Masked()
	}
	first := slices.IndexFunc(k.addresses, same) == i
	promote := k.links[link].Settings["ipv4/promote_secondaries"] == 1
	k.dropAddresses(func(a netapply.ObservedAddress) bool {
		return a.Link == link && a.Prefix == p || first && !promote && same(a)
	})
}

// dropAddresses removes addresses, and the routes whose source they were.
func (k *Kernel) dropAddresses(which func(netapply.ObservedAddress) bool) {
	gone := map[netip.Addr]bool{}
	for _, a := range k.addresses {
		if which(a) {
			gone[a.Prefix.Addr()] = true
		}
	}
	k.addresses = slices.DeleteFunc(k.addresses, which)
	for _, a := range k.addresses {
		delete(gone, a.Prefix.Addr()) // on another link, too
	}
	k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return r.Source.IsValid() && gone[r.Source] })
}

func (k *Kernel) addRoute(s netapply.AddRoute) error {
	r := s.Route
	for _, o := range k.routes {
		if o.Route == r {
			return refuse(unix.EEXIST, "route %s", r)
		}
		if !s.Beside && o.Table == r.Table && o.To == r.To && o.Metric == r.Metric {
			return refuse(unix.EEXIST, "route %s stands beside %s", o.Route, r)
		}
	}
	if r.Unreachable {
		k.routes = append(k.routes, route{r, false})
		return nil
	}
	l := k.links[r.Link]
	if l == nil {
		return refuse(unix.ENODEV, "link %s", r.Link)
	}
	if !l.Up {
		return refuse(unix.ENETDOWN, "link %s", r.Link)
	}
	if r.Via.IsValid() && !r.OnLink && !k.reaches(r) {
		return refuse(unix.ENETUNREACH, "gateway %s is in no subnet of %s in table %d", r.Via, r.Link, r.Table)
	}
	if r.Source.IsValid() && !k.isLocal(r.Source, r.Table) {
		return refuse(unix.EINVAL, "source %s is not here", r.Source)
	}
	k.routes = append(k.routes, route{r, false})
	return nil
}

// isLocal reports whether a route of the table may name the address as source:
// addresses on members of a VRF are known in its table only.
func (k *Kernel) isLocal(addr netip.Addr, table uint32) bool {
	return slices.ContainsFunc(k.addresses, func(a netapply.ObservedAddress) bool {
		if a.Prefix.Addr() != addr {
			return false
		}
		m := k.links[k.links[a.Link].Master]
		return m == nil || m.Kind != netapply.VRF || m.Options["table"] == strconv.FormatUint(uint64(table), 10)
	})
}

// reaches reports whether a connected route of the table, or of the main one,
// leads to the gateway by the route's link.
func (k *Kernel) reaches(r netapply.Route) bool {
	return slices.ContainsFunc(k.routes, func(o route) bool {
		return (o.Table == r.Table || o.Table == netapply.MainTable) &&
			o.Link == r.Link && !o.Via.IsValid() && o.To.Contains(r.Via)
	})
}
