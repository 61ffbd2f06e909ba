package netapply

import (
	"encoding/binary"
	"net/netip"
	"slices"

	netquorum "github.com/netquorum/netquorum"
	"golang.org/x/sys/unix"
)

// This file reads the kernel's messages about links, addresses, routes and
// rules. None of it decides anything.

// What golang.org/x/sys lacks.
const (
	extSkipStats   = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	attrAddrProto  = 11     // IFA_PROTO
	rtnhFlagOnLink = 4      // RTNH_F_ONLINK
)

// cut splits a fixed header off a message.
func cut(b []byte, n int) (header, rest []byte, err error) {
	if len(b) < n {
		return nil, nil, errAttributes
	}
	return b[:n], b[n:], nil
}

func decodeLink(b []byte) (rawLink, error) {
	h, rest, err := cut(b, unix.SizeofIfInfomsg)
	if err != nil {
		return rawLink{}, err
	}
	l := rawLink{
		index: int(int32(binary.NativeEndian.Uint32(h[4:]))),
		flags: binary.NativeEndian.Uint32(h[8:]),
	}
	for a, err := range attributes(rest) {
		if err != nil {
			return l, err
		}
		switch a.kind {
		case unix.IFLA_IFNAME:
			l.name = a.text()
		case unix.IFLA_LINK:
			l.parent = int(a.number())
		case unix.IFLA_LINK_NETNSID:
			l.otherNamespace = true
		case unix.IFLA_MASTER:
			l.master = int(a.number())
		case unix.IFLA_MTU:
			l.mtu = int(a.number())
		case unix.IFLA_ADDRESS:
			if len(a.value) == 6 {
				l.mac = netquorum.MAC(a.value)
			}
		case unix.IFLA_IFALIAS:
			l.alias = a.text()
		case unix.IFLA_GROUP:
			l.group = a.number()
		case unix.IFLA_CARRIER:
			l.carrier = a.number() != 0
		case unix.IFLA_LINKINFO:
			err = l.decodeInfo(a.value)
		case unix.IFLA_AF_SPEC:
			err = l.decodeFamilies(a.value)
		}
		if err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *rawLink) decodeInfo(b []byte) error {
	for a, err := range attributes(b) {
		if err != nil {
			return err
		}
		switch a.kind {
		case unix.IFLA_INFO_KIND:
			l.kind = a.text()
		case unix.IFLA_INFO_DATA:
			l.data = slices.Clone(a.value) // decoded when all links are known
		}
	}
	return nil
}

// decodeFamilies reads the settings of a link, which the kernel sends as one
// array per family.
func (l *rawLink) decodeFamilies(b []byte) error {
	l.settings = make(Settings, len(settingIndex))
	for family, err := range attributes(b) {
		if err != nil {
			return err
		}
		prefix, array, base := "", uint16(0), 0
		switch family.kind {
		case unix.AF_INET:
			prefix, array, base = "ipv4/", unix.IFLA_INET_CONF, 1
		case unix.AF_INET6:
			prefix, array, base = "ipv6/", unix.IFLA_INET6_CONF, 0
			l.ipv6 = true
		default:
			continue
		}
		for a, err := range attributes(family.value) {
			if err != nil {
				return err
			}
			if a.kind == array {
				l.decodeSettings(prefix, base, a.value)
			}
		}
	}
	return nil
}

func (l *rawLink) decodeSettings(prefix string, base int, values []byte) {
	for name, i := range settingIndex {
		at := 4 * (i - base)
		if name[:len(prefix)] == prefix && at+4 <= len(values) {
			l.settings[name] = int(int32(binary.NativeEndian.Uint32(values[at:])))
		}
	}
}

// decodeAddress returns an address without its link's name.
func decodeAddress(b []byte) (index int, a ObservedAddress, err error) {
	h, rest, err := cut(b, unix.SizeofIfAddrmsg)
	if err != nil {
		return 0, a, err
	}
	bits := int(h[1])
	index = int(binary.NativeEndian.Uint32(h[4:]))
	var local, address netip.Prefix
	for attr, err := range attributes(rest) {
		if err != nil {
			return 0, a, err
		}
		switch attr.kind {
		case unix.IFA_LOCAL:
			local = prefixOf(attr.value, bits)
		case unix.IFA_ADDRESS:
			address = prefixOf(attr.value, bits)
		case attrAddrProto:
			a.Protocol = uint8(attr.number())
		}
	}
	// IPv4 says both, and with a peer IFA_ADDRESS is the peer's.
	if a.Prefix = local; !local.IsValid() {
		a.Prefix = address
	}
	return index, a, nil
}

// decodeRoutes returns the routes of one message that are ours: one, or one per
// gateway where the kernel joined several.
func decodeRoutes(b []byte, name func(int) string) ([]Route, error) {
	h, rest, err := cut(b, unix.SizeofRtMsg)
	if err != nil {
		return nil, err
	}
	family, bits, protocol, kind := h[0], int(h[1]), h[5], h[7]
	if protocol != Protocol || family != unix.AF_INET && family != unix.AF_INET6 {
		return nil, nil
	}
	r := Route{
		Table: uint32(h[4]), To: defaultFor(family == unix.AF_INET6),
		Unreachable: kind == unix.RTN_UNREACHABLE,
		OnLink:      binary.NativeEndian.Uint32(h[8:])&rtnhFlagOnLink != 0,
	}
	var hops []byte
	for a, err := range attributes(rest) {
		if err != nil {
			return nil, err
		}
		switch a.kind {
		case unix.RTA_TABLE:
			r.Table = a.number()
		case unix.RTA_DST:
			r.To = prefixOf(a.value, bits)
		case unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(a.value)
		case unix.RTA_OIF:
			r.Link = name(int(a.number()))
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(a.value)
		case unix.RTA_PRIORITY:
			r.Metric = a.number()
		case unix.RTA_MULTIPATH:
			hops = a.value
		}
	}
	if r.Unreachable {
		r.Link = "" // IPv6 says lo
	}
	if hops == nil {
		return []Route{r}, nil
	}
	return decodeHops(r, hops, name)
}

// decodeHops reads the gateways of a route that has several.
func decodeHops(r Route, b []byte, name func(int) string) ([]Route, error) {
	var list []Route
	for len(b) > 0 {
		h, _, err := cut(b, unix.SizeofRtNexthop)
		if err != nil {
			return nil, err
		}
		n := int(binary.NativeEndian.Uint16(h))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, errAttributes
		}
		hop := r
		hop.OnLink = h[2]&rtnhFlagOnLink != 0
		hop.Link = name(int(binary.NativeEndian.Uint32(h[4:])))
		for a, err := range attributes(b[unix.SizeofRtNexthop:n]) {
			if err != nil {
				return nil, err
			}
			if a.kind == unix.RTA_GATEWAY {
				hop.Via, _ = netip.AddrFromSlice(a.value)
			}
		}
		list = append(list, hop)
		b = b[min((n+3)&^3, len(b)):]
	}
	return list, nil
}

// decodeRule returns a rule and whether it is ours.
func decodeRule(b []byte) (r Rule, ours bool, err error) {
	h, rest, err := cut(b, unix.SizeofRtMsg)
	if err != nil {
		return r, false, err
	}
	family, bits := h[0], int(h[2])
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return r, false, nil
	}
	r.Table, r.From = uint32(h[4]), defaultFor(family == unix.AF_INET6)
	for a, err := range attributes(rest) {
		if err != nil {
			return r, false, err
		}
		switch a.kind {
		case unix.FRA_SRC:
			r.From = prefixOf(a.value, bits)
		case unix.FRA_PRIORITY:
			r.Priority = a.number()
		case unix.FRA_TABLE:
			r.Table = a.number()
		case unix.FRA_PROTOCOL:
			ours = a.number() == Protocol
		}
	}
	return r, ours, nil
}
