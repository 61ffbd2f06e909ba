package netapply

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Do implements Kernel.
func (k *Netlink) Do(_ context.Context, s Step) error {
	switch s := s.(type) {
	case AddLink:
		return k.addLink(s.Link)
	case SetLink:
		return k.setLink(s)
	case DelLink:
		i, ok := k.lookup(s.Name)
		if !ok {
			return nil
		}
		return k.change(unix.RTM_DELLINK, 0, linkHeader(i, 0, 0), unix.ENODEV)
	case SetSettings:
		return k.writeSettings(s)
	case AddAddress:
		return k.address(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, s.Address, unix.EEXIST)
	case DelAddress:
		return k.address(unix.RTM_DELADDR, 0, s.Address, unix.EADDRNOTAVAIL, unix.ENODEV)
	case AddRoute:
		flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL
		if s.Beside {
			flags = unix.NLM_F_CREATE | unix.NLM_F_APPEND
		}
		return k.route(unix.RTM_NEWROUTE, flags, s.Route)
	case DelRoute:
		return k.route(unix.RTM_DELROUTE, 0, s.Route, unix.ESRCH, unix.ENODEV)
	case AddRule:
		return k.change(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ruleMessage(s.Rule))
	case DelRule:
		return k.change(unix.RTM_DELRULE, 0, ruleMessage(s.Rule), unix.ENOENT)
	}
	return fmt.Errorf("no such step: %T", s)
}

func linkHeader(index int, flags, mask uint32) *message {
	m := &message{b: make([]byte, unix.SizeofIfInfomsg, 256)}
	binary.NativeEndian.PutUint32(m.b[4:], uint32(index))
	binary.NativeEndian.PutUint32(m.b[8:], flags)
	binary.NativeEndian.PutUint32(m.b[12:], mask)
	return m
}

// addLink makes a link. The group is part of the request, so that there is no
// instant at which the link exists and is not known as ours.
func (k *Netlink) addLink(l Link) error {
	m := linkHeader(0, 0, 0)
	m.text(unix.IFLA_IFNAME, l.Name)
	m.u32(unix.IFLA_GROUP, Group)
	if l.Parent != "" {
		parent, err := k.indexOf(l.Parent)
		if err != nil {
			return err
		}
		m.u32(unix.IFLA_LINK, uint32(parent))
	}
	if !l.MAC.IsZero() {
		m.bytes(unix.IFLA_ADDRESS, l.MAC[:])
	}
	if l.MTU != 0 {
		m.u32(unix.IFLA_MTU, uint32(l.MTU))
	}
	if err := k.kindData(m, l.Kind, l.Options); err != nil {
		return err
	}
	err := k.change(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("this kernel has no links of type %s: %w", l.Kind, err)
	}
	if err != nil {
		return err
	}
	return k.learn(l.Name)
}

// learn asks for the index of a link that was just made.
func (k *Netlink) learn(name string) error {
	m := linkHeader(0, 0, 0)
	m.text(unix.IFLA_IFNAME, name)
	m.u32(unix.IFLA_EXT_MASK, extSkipStats)
	replies, err := request(k.questions, unix.RTM_GETLINK, 0, m).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(replies) == 0 {
		return errors.Join(err, fmt.Errorf("link %s was made but cannot be found", name))
	}
	l, err := decodeLink(replies[0])
	if err == nil {
		k.remember(name, l.index)
	}
	return err
}

// kindData writes a kind of link and its options.
func (k *Netlink) kindData(m *message, kind LinkKind, o Options) (err error) {
	m.nest(unix.IFLA_LINKINFO, func() {
		m.text(unix.IFLA_INFO_KIND, string(kind))
		m.nest(unix.IFLA_INFO_DATA, func() { err = encodeOptions(m, kind, o, k.lookup) })
	})
	return err
}

func (k *Netlink) setLink(s SetLink) error {
	index, err := k.indexOf(s.Name)
	if err != nil {
		return err
	}
	flags := uint32(0)
	mask := uint32(0)
	if s.Up != nil {
		mask = unix.IFF_UP
		if *s.Up {
			flags = unix.IFF_UP
		}
	}
	m := linkHeader(index, flags, mask)
	if s.Label != nil {
		m.bytes(unix.IFLA_IFALIAS, []byte(*s.Label)) // a closing zero would become part of it
		m.u32(unix.IFLA_GROUP, Group)
	}
	if s.MAC != nil {
		m.bytes(unix.IFLA_ADDRESS, s.MAC[:])
	}
	if s.MTU != nil {
		m.u32(unix.IFLA_MTU, uint32(*s.MTU))
	}
	if s.Master != nil {
		master := 0
		if *s.Master != "" {
			if master, err = k.indexOf(*s.Master); err != nil {
				return err
			}
		}
		m.u32(unix.IFLA_MASTER, uint32(master))
	}
	what := uint16(unix.RTM_SETLINK)
	if len(s.Options) > 0 {
		what = unix.RTM_NEWLINK // RTM_SETLINK does not look at them
		if err := k.kindData(m, s.Kind, s.Options); err != nil {
			return err
		}
	}
	return k.change(what, 0, m)
}

func addressHeader(family uint8, bits int, scope uint8, index int) *message {
	m := &message{b: make([]byte, unix.SizeofIfAddrmsg, 96)}
	m.b[0], m.b[1], m.b[3] = family, uint8(bits), scope
	binary.NativeEndian.PutUint32(m.b[4:], uint32(index))
	return m
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func (k *Netlink) address(what uint16, flags int, a Address, done ...unix.Errno) error {
	index, err := k.indexOf(a.Link)
	if err != nil && what == unix.RTM_DELADDR {
		return nil
	}
	if err != nil {
		return err
	}
	addr := a.Prefix.Addr()
	m := addressHeader(family(addr), a.Prefix.Bits(), unix.RT_SCOPE_UNIVERSE, index)
	m.bytes(unix.IFA_LOCAL, addr.AsSlice())
	m.bytes(unix.IFA_ADDRESS, addr.AsSlice())
	if what == unix.RTM_NEWADDR {
		if addr.Is4() && a.Prefix.Bits() < 31 {
			m.bytes(unix.IFA_BROADCAST, broadcast(a.Prefix))
		}
		f := uint32(unix.IFA_F_NOPREFIXROUTE)
		if a.Hosted && addr.Is6() {
			f |= unix.IFA_F_NODAD
		}
		m.u32(unix.IFA_FLAGS, f)
		m.u8(attrAddrProto, Protocol)
	}
	return k.change(what, flags, m, done...)
}

// broadcast is the last address of an IPv4 subnet.
func broadcast(p netip.Prefix) []byte {
	a := p.Addr().As4()
	n := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	return binary.BigEndian.AppendUint32(nil, n)
}

func (k *Netlink) route(what uint16, flags int, r Route, done ...unix.Errno) error {
	m := &message{b: make([]byte, unix.SizeofRtMsg, 96)}
	m.b[0], m.b[1] = family(r.To.Addr()), uint8(r.To.Bits())
	m.b[5], m.b[7] = Protocol, unix.RTN_UNICAST
	switch {
	case what == unix.RTM_DELROUTE:
		m.b[6] = unix.RT_SCOPE_NOWHERE // any
	case r.Via.IsValid() || r.Unreachable || r.To.Addr().Is6():
		m.b[6] = unix.RT_SCOPE_UNIVERSE
	default:
		m.b[6] = unix.RT_SCOPE_LINK
	}
	if r.Unreachable {
		m.b[7] = unix.RTN_UNREACHABLE
	}
	if r.OnLink {
		binary.NativeEndian.PutUint32(m.b[8:], rtnhFlagOnLink)
	}
	m.u32(unix.RTA_TABLE, r.Table)
	if r.To.Bits() > 0 {
		m.bytes(unix.RTA_DST, r.To.Addr().AsSlice())
	}
	if r.Via.IsValid() {
		m.bytes(unix.RTA_GATEWAY, r.Via.AsSlice())
	}
	if r.Link != "" {
		index, err := k.indexOf(r.Link)
		if err != nil && what == unix.RTM_DELROUTE {
			return nil // routes go with their link
		}
		if err != nil {
			return err
		}
		m.u32(unix.RTA_OIF, uint32(index))
	}
	if r.Source.IsValid() {
		m.bytes(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	if r.Metric != 0 {
		m.u32(unix.RTA_PRIORITY, r.Metric)
	}
	return k.change(what, flags, m, done...)
}

func ruleMessage(r Rule) *message {
	m := &message{b: make([]byte, unix.SizeofRtMsg, 64)} // fib_rule_hdr has the same size
	m.b[0], m.b[2] = family(r.From.Addr()), uint8(r.From.Bits())
	m.b[7] = 1 // FR_ACT_TO_TBL
	m.bytes(unix.FRA_SRC, r.From.Addr().AsSlice())
	m.u32(unix.FRA_PRIORITY, r.Priority)
	m.u32(unix.FRA_TABLE, r.Table)
	m.u8(unix.FRA_PROTOCOL, Protocol)
	return m
}
