package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
)

// A Plan is what to watch. Two equal plans are watched alike.
type Plan struct {
	Filer string
	// Groups are the configured interfaces, lower layers before what is built
	// on them. Without a configuration they are empty, and the interfaces that
	// the kernel has are watched.
	Groups  []Group
	Targets []Target
	Timing  Timing
}

// A Group is one interface and what it is made of.
type Group struct {
	Name    string
	Layer   netquorum.Layer
	Members []string // of a bond or failover interface
	Below   string   // of a VLAN or alias
	Primary string   // the member that is preferred
}

// A Target is an address that an alias should reach.
type Target struct {
	Interface string
	Address   netip.Addr
	Reason    Reason
	// Source is the filer's own address in the target's subnet, or, for a
	// target in no subnet of the alias, the one that ICMP is sent from. It is
	// invalid when the filer has none.
	Source netip.Addr
	// OnLink targets are asked by ARP or neighbour discovery, others by ICMP.
	OnLink bool
}

// A Reason is why a target is asked.
type Reason string

// The reasons. A service's silence makes a finding and no fault: it may be
// between two filers.
const (
	Gateway    Reason = "gateway"
	Peer       Reason = "peer"
	Configured Reason = "configured"
	Management Reason = "management" // vs_mgmt, which every filer should reach (N24)
)

// Timing is how patient the monitor is.
type Timing struct {
	Interval   time.Duration // between two questions to one target
	Fault      time.Duration // silence that is a fault
	Repair     time.Duration // answers that end it
	LinkRepair time.Duration // a good link that ends a link's fault
}

// Timings of the configuration's defaults.
func timing(p netquorum.Probes) Timing {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return Timing{ms(p.Interval), ms(p.Fault), ms(p.Repair), ms(p.LinkRepair)}
}

// What automatic targets may cost: so many of an alias and of a filer.
const (
	maxPerAlias = 8
	maxTargets  = 64
)

// PlanFor returns what a filer watches. The zero configuration gives a plan
// that watches what the kernel has.
func PlanFor(c netquorum.Config, filer string) Plan {
	probes := c.Probes(filer)
	p := Plan{Filer: filer, Timing: timing(probes)}
	interfaces := c.Interfaces(filer)
	for _, i := range interfaces {
		g := Group{Name: string(i.Name), Layer: i.Name.Layer(), Below: string(i.Parent)}
		for _, m := range i.Members {
			g.Members = append(g.Members, string(m))
		}
		if parent, _, ok := i.Name.VLAN(); ok {
			g.Below = string(parent)
		}
		switch {
		case i.Failover != nil:
			g.Primary = string(i.Failover.Primary)
		case i.Bond != nil:
			g.Primary = string(i.Bond.Primary)
		}
		p.Groups = append(p.Groups, g)
	}
	t := targets{filer: filer, aliases: map[netquorum.InterfaceName]*reach{}}
	for _, i := range interfaces {
		if i.Name.IsAlias() {
			t.aliases[i.Name] = &reach{own: i.Addresses}
		}
	}
	p.Targets = t.all(c, probes)
	return p
}

// reach is what an alias can reach without a gateway.
type reach struct {
	own    []netip.Prefix // addresses of the filer
	hosted []netip.Prefix // of servers that the filer may host
}

type targets struct {
	filer   string
	aliases map[netquorum.InterfaceName]*reach
	list    []Target
}

func (t *targets) all(c netquorum.Config, probes netquorum.Probes) []Target {
	f, ok := c.Filer(t.filer)
	if !ok {
		return nil
	}
	var own []netquorum.HostedAddress
	for name, r := range t.aliases {
		for _, p := range r.own {
			own = append(own, netquorum.HostedAddress{Alias: name, Prefix: p})
		}
	}
	var hosted []netquorum.Hosted
	for h := range c.Hosted() {
		if h.Group == "" || !strings.EqualFold(h.Group, f.Group) {
			continue
		}
		hosted = append(hosted, h)
		for _, a := range h.Addresses {
			if r, ok := t.aliases[a.Alias]; ok {
				r.hosted = append(r.hosted, a.Prefix)
			}
		}
	}
	if *probes.Automatic {
		t.gateways(c, netquorum.Key{Kind: netquorum.KindFiler, Name: t.filer}, own)
		for _, h := range hosted {
			t.gateways(c, h.Key, h.Addresses)
		}
		t.peers(c)
		t.management(hosted)
		t.bound()
	}
	for _, p := range probes.Targets {
		t.add(p.Alias, p.Address, Configured)
	}
	return t.list
}

// gateways asks those of the routes that hold for an owner of addresses.
func (t *targets) gateways(c netquorum.Config, owner netquorum.Key, from []netquorum.HostedAddress) {
	_, policy, _ := c.RoutesOf(owner)
	if policy == nil {
		return
	}
	for _, route := range policy.Routes {
		for _, alias := range route.Exits(from) {
			t.add(alias, route.Via, Gateway)
		}
	}
}

// peers asks the other filers on mgmt aliases. One peer alone proves nothing:
// when two do not hear each other, neither can tell which of them is cut off.
func (t *targets) peers(c netquorum.Config) {
	found := map[netquorum.InterfaceName][]netip.Addr{}
	for d := range c.All(netquorum.KindMember) {
		if strings.EqualFold(d.Name, t.filer) {
			continue
		}
		for _, i := range c.Interfaces(d.Name) {
			r, have := t.aliases[i.Name]
			if !have || i.Name.Stem() != "mgmt" {
				continue
			}
			for _, p := range i.Addresses {
				if _, onLink := r.source(p.Addr()); onLink {
					found[i.Name] = append(found[i.Name], p.Addr())
				}
			}
		}
	}
	for alias, list := range found {
		gateway := slices.ContainsFunc(t.list, func(x Target) bool { return x.Interface == string(alias) })
		if len(list) > 1 || gateway {
			for _, a := range list {
				t.add(alias, a, Peer)
			}
		}
	}
}

// management asks for vs_mgmt on the mgmt aliases that the filer shares with it.
func (t *targets) management(hosted []netquorum.Hosted) {
	for _, h := range hosted {
		if !strings.EqualFold(h.Key.Name, netquorum.ManagementServer) {
			continue
		}
		for _, a := range h.Addresses {
			if a.Alias.Stem() == "mgmt" {
				t.add(a.Alias, a.Prefix.Addr(), Management)
			}
		}
	}
}

// add adds a target once. What an alias cannot reach by itself is asked by
// ICMP, which only an alias with an address can do.
func (t *targets) add(alias netquorum.InterfaceName, a netip.Addr, why Reason) {
	r, ok := t.aliases[alias]
	if !ok {
		return
	}
	x := Target{Interface: string(alias), Address: a, Reason: why}
	x.Source, x.OnLink = r.source(a)
	if i := slices.IndexFunc(t.list, func(o Target) bool { return o.Interface == x.Interface && o.Address == a }); i >= 0 {
		if why == Configured {
			t.list[i].Reason = why // said by the operator counts from the start
		}
		return
	}
	t.list = append(t.list, x)
}

// source returns the address to ask from, and whether the target is on the
// link of the alias.
func (r *reach) source(a netip.Addr) (own netip.Addr, onLink bool) {
	for _, p := range r.own {
		if p.Contains(a) {
			return p.Addr(), true
		}
	}
	for _, p := range r.hosted {
		if p.Contains(a) {
			return netip.Addr{}, true
		}
	}
	if a.Is6() && a.IsLinkLocalUnicast() {
		return netip.Addr{}, true
	}
	for _, p := range r.own {
		if p.Addr().Is4() == a.Is4() {
			return p.Addr(), false
		}
	}
	return netip.Addr{}, false
}

// bound keeps the automatic targets few: gateways before peers, then in order,
// so that all filers ask the same.
func (t *targets) bound() {
	order := map[Reason]int{Gateway: 0, Management: 1, Peer: 2}
	slices.SortFunc(t.list, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(order[a.Reason], order[b.Reason]), a.Address.Compare(b.Address))
	})
	per := map[string]int{}
	t.list = slices.DeleteFunc(t.list, func(x Target) bool {
		per[x.Interface]++
		return per[x.Interface] > maxPerAlias
	})
	t.list = t.list[:min(len(t.list), maxTargets)]
}

// groups returns the plan's groups, or, without a configuration, what the
// kernel has: every card, and the bonds and VLANs on them.
func (p Plan) groups(t *table) []Group {
	if len(p.Groups) > 0 {
		return p.Groups
	}
	var out []Group
	for _, l := range t.links {
		g := Group{Name: l.Name, Layer: netquorum.InterfaceName(l.Name).Layer()}
		switch g.Layer {
		case netquorum.LayerPhysical:
		case netquorum.LayerBond, netquorum.LayerFailover:
			for _, m := range t.links {
				if m.Master == l.Index {
					g.Members = append(g.Members, m.Name)
				}
			}
			slices.Sort(g.Members)
		default:
			continue
		}
		out = append(out, g)
	}
	rank := map[netquorum.Layer]int{netquorum.LayerBond: 1, netquorum.LayerFailover: 2}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(rank[a.Layer], rank[b.Layer]), cmp.Compare(a.Name, b.Name))
	})
	return out
}
