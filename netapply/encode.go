package netapply

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Do implements Kernel. Steps go to the kernel in batches, and the making of links
// in batches of its own: what follows needs their indexes.
func (k *Netlink) Do(ctx context.Context, steps ...Step) []error {
	errs := make([]error, len(steps))
	batch := make([]change, 0, len(steps))
	of := make([]int, 0, len(steps)) // the step of each change
	send := func() {
		k.writes.Add(uint64(len(batch)))
		for i, err := range k.changes.exchange(batch) {
			errs[of[i]] = errors.Join(errs[of[i]], err)
		}
		batch, of = batch[:0], of[:0]
	}
	made := 0 // links of steps before here exist, or could not be made
	for i, s := range steps {
		if errs[i] != nil {
			continue
		}
		if errs[i] = ctx.Err(); errs[i] != nil {
			continue
		}
		if _, ok := s.(AddLink); ok {
			if i >= made {
				send()
				made = i + max(newLinks(steps[i:]), 1)
				k.addLinkSteps(ctx, steps[i:made], errs[i:made])
			}
			continue
		}
		if set, ok := s.(SetAccess); ok {
			send()
			k.writes.Add(1)
			errs[i] = k.filter.set(set.New)
			continue
		}
		if swap, ok := s.(SwapLink); ok {
			send()
			errs[i] = k.swapLink(swap)
			continue
		}
		if set, ok := s.(SetGlobal); ok {
			send()
			errs[i] = k.setGlobal(set)
			continue
		}
		if tune, ok := s.(SetTuning); ok {
			send()
			errs[i] = k.setTuning(tune)
			continue
		}
		c, err := k.change(s)
		errs[i] = err
		if c.body != nil {
			batch, of = append(batch, c), append(of, i)
		}
	}
	send()
	return errs
}

// change writes the request for a step. None is needed to remove what cannot be
// there because its link is not.
func (k *Netlink) change(s Step) (change, error) {
	switch s := s.(type) {
	case SetLink:
		return k.setLink(s)
	case DelLink:
		i, ok := k.lookup(s.Name)
		if !ok {
			return change{}, nil
		}
		return change{unix.RTM_DELLINK, 0, linkHeader(i, 0, 0), []unix.Errno{unix.ENODEV}}, nil
	case SetSettings:
		return k.setSettings(s)
	case AddAddress:
		return k.addAddress(s.Address)
	case DelAddress:
		return k.delAddress(s.Address)
	case AddRoute:
		return k.addRoute(s)
	case DelRoute:
		return k.delRoute(s.Route)
	case AddRule:
		return change{unix.RTM_NEWRULE, unix.NLM_F_CREATE | unix.NLM_F_EXCL, ruleMessage(s.Rule), nil}, nil
	case DelRule:
		return change{unix.RTM_DELRULE, 0, ruleMessage(s.Rule), []unix.Errno{unix.ENOENT}}, nil
	}
	return change{}, fmt.Errorf("no such step: %T", s)
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
func (k *Netlink) addLink(l Link) (change, error) {
	m := linkHeader(0, 0, 0)
	m.text(unix.IFLA_IFNAME, l.Name)
	m.u32(unix.IFLA_GROUP, Group)
	if l.Parent != "" {
		parent, err := k.indexOf(l.Parent)
		if err != nil {
			return change{}, err
		}
		m.u32(unix.IFLA_LINK, uint32(parent))
	}
	if !l.MAC.IsZero() {
		m.bytes(unix.IFLA_ADDRESS, l.MAC[:])
	}
	if l.MTU != 0 {
		m.u32(unix.IFLA_MTU, uint32(l.MTU))
	}
	err := k.kindData(m, l.Kind, l.Options)
	return change{unix.RTM_NEWLINK, unix.NLM_F_CREATE | unix.NLM_F_EXCL, m, nil}, err
}

// kindData writes a kind of link and its options.
func (k *Netlink) kindData(m *message, kind LinkKind, o Options) (err error) {
	m.nest(unix.IFLA_LINKINFO, func() {
		m.text(unix.IFLA_INFO_KIND, string(kind))
		m.nest(unix.IFLA_INFO_DATA, func() { err = encodeOptions(m, kind, o, k.lookup) })
	})
	return err
}

func (k *Netlink) setLink(s SetLink) (change, error) {
	index, err := k.indexOf(s.Name)
	if err != nil {
		return change{}, err
	}
	flags, mask := uint32(0), uint32(0)
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
				return change{}, err
			}
		}
		m.u32(unix.IFLA_MASTER, uint32(master))
	}
	what := uint16(unix.RTM_SETLINK)
	if len(s.Options) > 0 {
		what = unix.RTM_NEWLINK // RTM_SETLINK does not look at them
		if err := k.kindData(m, s.Kind, s.Options); err != nil {
			return change{}, err
		}
	}
	return change{what, 0, m, nil}, nil
}

// setSettings asks for IPv4's settings in one request. IPv6's can only be
// written through /proc/sys, which is done at once: before anything that waits
// in the batch, and so before the link comes up.
func (k *Netlink) setSettings(s SetSettings) (change, error) {
	index, err := k.indexOf(s.Link)
	if err != nil {
		return change{}, err
	}
	known := k.known(s.Link)
	var errs []error
	four := false
	m := linkHeader(index, 0, 0)
	m.nest(unix.IFLA_AF_SPEC, func() {
		m.nest(unix.AF_INET, func() {
			m.nest(unix.IFLA_INET_CONF, func() {
				for _, name := range settingNames {
					v, set := s.Settings[name]
					if is, ok := known[name]; !set || ok && is == v {
						continue
					}
					if strings.HasPrefix(name, "ipv4/") {
						m.u32(uint16(settingIndex[name]), uint32(v))
						four = true
					} else if err := k.writeSetting(s.Link, name, v); err != nil {
						errs = append(errs, err)
					}
				}
			})
		})
	})
	if !four {
		return change{}, errors.Join(errs...)
	}
	return change{unix.RTM_SETLINK, 0, m, nil}, errors.Join(errs...)
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

func (k *Netlink) addAddress(a Address) (change, error) {
	index, err := k.indexOf(a.Link)
	if err != nil {
		return change{}, err
	}
	m := addressMessage(a.Prefix, index)
	addr := a.Prefix.Addr()
	if addr.Is4() && a.Prefix.Bits() < 31 {
		m.bytes(unix.IFA_BROADCAST, broadcast(a.Prefix))
	}
	f := uint32(unix.IFA_F_NOPREFIXROUTE)
	if a.Hosted && addr.Is6() {
		f |= unix.IFA_F_NODAD
	}
	m.u32(unix.IFA_FLAGS, f)
	if a.Hosted && addr.Is6() {
		m.bytes(unix.IFA_CACHEINFO, notPreferred)
	}
	m.u8(attrAddrProto, Protocol)
	return change{unix.RTM_NEWADDR, unix.NLM_F_CREATE | unix.NLM_F_EXCL, m, []unix.Errno{unix.EEXIST}}, nil
}

// notPreferred lets an IPv6 address be used for ever, but only by who asks for it
// (struct ifa_cacheinfo). Where the filer itself has no route, IPv6 tries each of
// its addresses as the source and looks again: the source rules would then let it
// speak as a virtual server, by that one's gateway.
var notPreferred = func() []byte {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint32(b[4:], math.MaxUint32)
	return b
}()

func (k *Netlink) delAddress(a Address) (change, error) {
	index, ok := k.lookup(a.Link)
	if !ok {
		return change{}, nil
	}
	return change{unix.RTM_DELADDR, 0, addressMessage(a.Prefix, index), []unix.Errno{unix.EADDRNOTAVAIL, unix.ENODEV}}, nil
}

func addressMessage(p netip.Prefix, index int) *message {
	m := addressHeader(family(p.Addr()), p.Bits(), unix.RT_SCOPE_UNIVERSE, index)
	m.address(unix.IFA_LOCAL, p.Addr())
	m.address(unix.IFA_ADDRESS, p.Addr())
	return m
}

// broadcast is the last address of an IPv4 subnet.
func broadcast(p netip.Prefix) []byte {
	a := p.Addr().As4()
	n := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	return binary.BigEndian.AppendUint32(nil, n)
}

func (k *Netlink) addRoute(s AddRoute) (change, error) {
	index, ok := k.lookup(s.Route.Link)
	if !ok && !s.Route.Unreachable {
		return change{}, fmt.Errorf("there is no link %s", s.Route.Link)
	}
	scope := uint8(unix.RT_SCOPE_UNIVERSE)
	if r := s.Route; !r.Via.IsValid() && !r.Unreachable && r.To.Addr().Is4() {
		scope = unix.RT_SCOPE_LINK
	}
	flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	if s.Beside {
		flags = unix.NLM_F_CREATE | unix.NLM_F_APPEND
	}
	return change{unix.RTM_NEWROUTE, flags, routeMessage(s.Route, scope, index), nil}, nil
}

func (k *Netlink) delRoute(r Route) (change, error) {
	index, ok := k.lookup(r.Link)
	if !ok && !r.Unreachable {
		return change{}, nil // routes go with their link
	}
	m := routeMessage(r, unix.RT_SCOPE_NOWHERE, index) // in any scope
	return change{unix.RTM_DELROUTE, 0, m, []unix.Errno{unix.ESRCH, unix.ENODEV}}, nil
}

func routeMessage(r Route, scope uint8, index int) *message {
	m := &message{b: make([]byte, unix.SizeofRtMsg, 96)}
	m.b[0], m.b[1] = family(r.To.Addr()), uint8(r.To.Bits())
	m.b[5], m.b[6], m.b[7] = Protocol, scope, unix.RTN_UNICAST
	if r.Unreachable {
		m.b[7] = unix.RTN_UNREACHABLE
	}
	if r.OnLink {
		binary.NativeEndian.PutUint32(m.b[8:], rtnhFlagOnLink)
	}
	m.u32(unix.RTA_TABLE, r.Table)
	if r.To.Bits() > 0 {
		m.address(unix.RTA_DST, r.To.Addr())
	}
	if r.Via.IsValid() {
		m.address(unix.RTA_GATEWAY, r.Via)
	}
	if r.Link != "" {
		m.u32(unix.RTA_OIF, uint32(index))
	}
	if r.Source.IsValid() {
		m.address(unix.RTA_PREFSRC, r.Source)
	}
	if r.Metric != 0 {
		m.u32(unix.RTA_PRIORITY, r.Metric)
	}
	return m
}

func ruleMessage(r Rule) *message {
	m := &message{b: make([]byte, unix.SizeofRtMsg, 64)} // fib_rule_hdr has the same size
	m.b[0], m.b[2] = family(r.From.Addr()), uint8(r.From.Bits())
	m.b[7] = 1 // FR_ACT_TO_TBL
	m.address(unix.FRA_SRC, r.From.Addr())
	m.u32(unix.FRA_PRIORITY, r.Priority)
	m.u32(unix.FRA_TABLE, r.Table)
	m.u8(unix.FRA_PROTOCOL, Protocol)
	return m
}
