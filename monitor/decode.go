package monitor

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

// This file reads the kernel's messages about links, addresses and routes. The
// messages of bonds are read here because the netlink library that netapply
// uses never fills in what was negotiated by LACP.

// errShort reports a message without its fixed part.
var errShort = errors.New("netlink message is too short")

// Attributes of bonds and their members, which golang.org/x/sys lacks
// (include/uapi/linux/if_link.h).
const (
	bondMode     = 1
	bondMinLinks = 18
	bondLACPRate = 21
	bondADInfo   = 23

	adAggregator = 1
	adPorts      = 2
	adPartnerKey = 4
	adPartner    = 5

	slaveState      = 1
	slaveMonitor    = 2
	slaveFailures   = 3
	slaveAggregator = 6
	slaveActor      = 7
	slavePartner    = 8

	ifaFlags = 8 // IFA_FLAGS
)

// Operational states of RFC 2863 in which a link has signal and passes nothing.
const (
	operTesting = 4
	operDormant = 5
)

// decode returns the change that a message tells of. Messages of other kinds
// give none.
func decode(kind uint16, data []byte) (c Change, ok bool, err error) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		var l Link
		if l, ok, err = decodeLink(data); ok {
			c.Link = &l
		}
		c.Gone = kind == unix.RTM_DELLINK
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		var a Address
		if a, ok, err = decodeAddress(data); ok {
			c.Address = &a
		}
		c.Gone = kind == unix.RTM_DELADDR
	}
	return c, ok && err == nil, err
}

// decodeAll is decode for messages that may tell of several changes.
func decodeAll(kind uint16, data []byte) ([]Change, error) {
	if kind != unix.RTM_NEWROUTE && kind != unix.RTM_DELROUTE {
		c, ok, err := decode(kind, data)
		if !ok || err != nil {
			return nil, err
		}
		return []Change{c}, nil
	}
	routes, err := decodeRoute(data)
	out := make([]Change, len(routes))
	for i := range routes {
		out[i] = Change{Gone: kind == unix.RTM_DELROUTE, Route: &routes[i]}
	}
	return out, err
}

// decodeLink leaves out messages of other families: bridges tell of their ports
// in the same group, without what links have.
func decodeLink(b []byte) (l Link, ok bool, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, false, errShort
	}
	if b[0] != unix.AF_UNSPEC {
		return l, false, nil
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	l = Link{
		Index: int(int32(binary.NativeEndian.Uint32(b[4:]))),
		Up:    flags&unix.IFF_UP != 0, Carrier: flags&unix.IFF_LOWER_UP != 0,
	}
	foreign := false
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return l, false, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_ADDRESS:
			if v := ad.Bytes(); len(v) == len(l.MAC) {
				l.MAC = netquorum.MAC(v)
			}
		case unix.IFLA_MTU:
			l.MTU = int(ad.Uint32())
		case unix.IFLA_LINK:
			l.Parent = int(ad.Uint32())
		case unix.IFLA_LINK_NETNSID:
			foreign = true
		case unix.IFLA_MASTER:
			l.Master = int(ad.Uint32())
		case unix.IFLA_OPERSTATE:
			s := ad.Uint8()
			l.Dormant = s == operDormant || s == operTesting
		case unix.IFLA_LINKINFO:
			ad.Nested(l.decodeInfo)
		}
	}
	if foreign {
		l.Parent = 0
	}
	return l, ad.Err() == nil && l.Name != "", ad.Err()
}

// decodeInfo reads what a link says of its kind and, as a member, of its
// master's kind. The kind comes before its data.
func (l *Link) decodeInfo(ad *netlink.AttributeDecoder) error {
	member := ""
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_INFO_KIND:
			l.Kind = ad.String()
		case unix.IFLA_INFO_SLAVE_KIND:
			member = ad.String()
		case unix.IFLA_INFO_DATA:
			if l.Kind == "bond" {
				l.Bond = &Bond{}
				ad.Nested(l.Bond.decode)
			}
		case unix.IFLA_INFO_SLAVE_DATA:
			if member == "bond" {
				l.Port = &Port{}
				ad.Nested(l.Port.decode)
			}
		}
	}
	return nil
}

func (b *Bond) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case bondMode:
			b.Mode = int(ad.Uint8())
		case bondMinLinks:
			b.MinLinks = int(ad.Uint32())
		case bondLACPRate:
			b.LACPFast = ad.Uint8() == 1
		case bondADInfo:
			ad.Nested(b.decodeAD)
		}
	}
	return nil
}

func (b *Bond) decodeAD(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case adAggregator:
			b.Aggregator = int(ad.Uint16())
		case adPorts:
			b.Ports = int(ad.Uint16())
		case adPartnerKey:
			b.PartnerKey = ad.Uint16()
		case adPartner:
			if v := ad.Bytes(); len(v) == len(b.Partner) {
				b.Partner = netquorum.MAC(v)
			}
		}
	}
	return nil
}

func (p *Port) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case slaveState:
			p.Active = ad.Uint8() == 0
		case slaveMonitor:
			p.Monitor = MonitorState(ad.Uint8())
		case slaveFailures:
			p.Failures = ad.Uint32()
		case slaveAggregator:
			p.Aggregator = int(ad.Uint16())
		case slaveActor:
			p.Actor = PortState(ad.Uint8())
		case slavePartner:
			p.Partner = PortState(ad.Uint16())
		}
	}
	return nil
}

func decodeAddress(b []byte) (a Address, ok bool, err error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return a, false, errShort
	}
	bits, flags := int(b[1]), uint32(b[2])
	a.Index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	var local, other netip.Addr
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return a, false, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.IFA_ADDRESS:
			other, _ = netip.AddrFromSlice(ad.Bytes())
		case ifaFlags:
			flags = ad.Uint32()
		}
	}
	if !local.IsValid() {
		local = other // with a peer, IFA_ADDRESS is the peer's
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	a.Duplicate = flags&unix.IFA_F_DADFAILED != 0
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	return a, ad.Err() == nil && a.Prefix.IsValid(), ad.Err()
}

// decodeRoute returns the unicast routes of a message: one for each gateway.
func decodeRoute(b []byte) ([]Route, error) {
	if len(b) < unix.SizeofRtMsg {
		return nil, errShort
	}
	family, bits, kind := b[0], int(b[1]), b[7]
	cloned := binary.NativeEndian.Uint32(b[8:])&unix.RTM_F_CLONED != 0
	if kind != unix.RTN_UNICAST || cloned || family != unix.AF_INET && family != unix.AF_INET6 {
		return nil, nil
	}
	r := Route{Table: uint32(b[4]), To: netip.PrefixFrom(netip.IPv4Unspecified(), bits)}
	if family == unix.AF_INET6 {
		r.To = netip.PrefixFrom(netip.IPv6Unspecified(), bits)
	}
	var hops []byte
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofRtMsg:])
	if err != nil {
		return nil, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_TABLE:
			r.Table = ad.Uint32()
		case unix.RTA_DST:
			if to, ok := netip.AddrFromSlice(ad.Bytes()); ok {
				r.To = netip.PrefixFrom(to, bits)
			}
		case unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_OIF:
			r.Index = int(ad.Uint32())
		case unix.RTA_MULTIPATH:
			hops = ad.Bytes()
		}
	}
	if ad.Err() != nil || hops == nil {
		return []Route{r}, ad.Err()
	}
	return r.decodeHops(hops)
}

// decodeHops reads the gateways of a route that has several.
func (r Route) decodeHops(b []byte) (list []Route, err error) {
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return nil, errShort
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, errShort
		}
		hop := r
		hop.Index = int(int32(binary.NativeEndian.Uint32(b[4:])))
		ad, err := netlink.NewAttributeDecoder(b[unix.SizeofRtNexthop:n])
		if err != nil {
			return nil, err
		}
		for ad.Next() {
			if ad.Type() == unix.RTA_GATEWAY {
				hop.Via, _ = netip.AddrFromSlice(ad.Bytes())
			}
		}
		if ad.Err() != nil {
			return nil, ad.Err()
		}
		list = append(list, hop)
		b = b[min((n+3)&^3, len(b)):]
	}
	return list, nil
}
