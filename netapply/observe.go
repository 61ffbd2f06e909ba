package netapply

import (
	"context"
	"fmt"
	"net/netip"

	netquorum "github.com/netquorum/netquorum"
	"golang.org/x/sys/unix"
)

// Observe implements Kernel. The lists are not one snapshot; a change between
// two of them is reported to whoever watches, and looked at then.
func (k *Netlink) Observe(ctx context.Context, looks ...Look) (Observed, error) {
	o := Observed{AddressProtocol: k.proto}
	since := k.begin()
	links, err := k.observeLinks(ctx)
	if err != nil {
		return o, fmt.Errorf("listing links: %w", err)
	}
	names := make(map[int]string, len(links))
	index := make(map[string]int, len(links))
	for _, l := range links {
		names[l.index] = l.name
		index[l.name] = l.index
	}
	k.observed(index, since)
	name := func(i int) string { return names[i] }
	for _, l := range links {
		link, err := l.observed(name)
		if err != nil {
			return o, fmt.Errorf("link %s: %w", l.name, err)
		}
		o.Links = append(o.Links, link)
		o.IPv6 = o.IPv6 || l.ipv6
	}
	if err := k.observeTuning(o.Links, looks); err != nil {
		return o, err
	}
	if o.Addresses, err = k.observeAddresses(ctx, name); err != nil {
		return o, fmt.Errorf("listing addresses: %w", err)
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if family == unix.AF_INET6 && !o.IPv6 {
			continue
		}
		routes, err := k.observeRoutes(ctx, family, name)
		if err != nil {
			return o, fmt.Errorf("listing routes: %w", err)
		}
		rules, err := k.observeRules(ctx, family)
		if err != nil {
			return o, fmt.Errorf("listing rules: %w", err)
		}
		o.Routes = append(o.Routes, routes...)
		o.Rules = append(o.Rules, rules...)
	}
	if o.Global, err = observeGlobal(); err != nil {
		return o, err
	}
	if o.Access, err = k.filter.observe(); err != nil {
		return o, err
	}
	return o, nil
}

func (k *Netlink) observeLinks(ctx context.Context) (list []rawLink, err error) {
	m := linkHeader(0, 0, 0)
	m.u32(unix.IFLA_EXT_MASK, extSkipStats)
	err = k.dump(ctx, unix.RTM_GETLINK, m, func() { list = nil }, func(b []byte) error {
		l, err := decodeLink(b)
		list = append(list, l)
		return err
	})
	return list, err
}

func (k *Netlink) observeAddresses(ctx context.Context, name func(int) string) (list []ObservedAddress, err error) {
	err = k.dump(ctx, unix.RTM_GETADDR, addressHeader(0, 0, 0, 0), func() { list = nil }, func(b []byte) error {
		index, a, err := decodeAddress(b)
		if err == nil && a.Prefix.IsValid() {
			a.Link = name(index)
			list = append(list, a)
		}
		return err
	})
	return list, err
}

func (k *Netlink) observeRoutes(ctx context.Context, family uint8, name func(int) string) (list []Route, err error) {
	m := &message{b: make([]byte, unix.SizeofRtMsg)}
	m.b[0], m.b[5] = family, Protocol
	err = k.dump(ctx, unix.RTM_GETROUTE, m, func() { list = nil }, func(b []byte) error {
		routes, err := decodeRoutes(b, name)
		list = append(list, routes...)
		return err
	})
	return list, err
}

func (k *Netlink) observeRules(ctx context.Context, family uint8) (list []Rule, err error) {
	m := &message{b: make([]byte, unix.SizeofRtMsg)} // fib_rule_hdr has the same size
	m.b[0] = family
	err = k.dump(ctx, unix.RTM_GETRULE, m, func() { list = nil }, func(b []byte) error {
		r, ours, err := decodeRule(b)
		if ours {
			list = append(list, r)
		}
		return err
	})
	return list, err
}

// A rawLink is a link as decoded, with links still named by index.
type rawLink struct {
	name           string
	index          int
	parent, master int
	otherNamespace bool // the parent is
	flags          uint32
	mtu            int
	mac            netquorum.MAC
	alias          string
	group          uint32
	carrier        bool
	kind           string
	data           []byte // of the kind
	settings       Settings
	ipv6           bool
}

// observed resolves the links that a link refers to.
func (l rawLink) observed(name func(int) string) (ObservedLink, error) {
	o := ObservedLink{
		Link: Link{
			Name: l.name, Kind: LinkKind(l.kind), Master: name(l.master),
			MAC: l.mac, MTU: l.mtu, Settings: l.settings,
		},
		Index: l.index, Up: l.flags&unix.IFF_UP != 0, Carrier: l.carrier, Alias: l.alias, Group: l.group,
	}
	// A veth's other end is no parent: nothing is lost with it.
	if !l.otherNamespace && l.kind != "veth" {
		o.Parent = name(l.parent)
	}
	if _, known := optionTables[o.Kind]; !known {
		return o, nil
	}
	options, err := decodeOptions(o.Kind, l.data, name)
	o.Options = options
	return o, err
}

// prefixOf makes a prefix of an address's bytes; invalid if they make none.
func prefixOf(b []byte, bits int) netip.Prefix {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}
