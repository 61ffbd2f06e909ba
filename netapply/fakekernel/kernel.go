// Package fakekernel is a kernel for tests that have no real one: it keeps
// links, addresses, routes and rules in memory and treats them as Linux does,
// as far as plans depend on it. It refuses what the kernel refuses (a member
// that is up, an option of another bond mode, a gateway out of reach) and does
// unasked what the kernel does unasked (what stands on a removed link goes too).
package fakekernel

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

// A Kernel is the state of one network namespace. It is safe for concurrent
// use.
type Kernel struct {
	// Fault, when set, is asked before every step; an error is the step's.
	Fault func(netapply.Step) error
	// NoIPv6 and NoAddressProtocol make the kernel lack them.
	NoIPv6, NoAddressProtocol bool

	mu        sync.Mutex
	next      int
	writes    uint64
	links     map[string]*link
	addresses []netapply.ObservedAddress
	routes    []route
	rules     []netapply.Rule
	access    *netapply.Ruleset
	global    netapply.Settings
}

type link struct {
	netapply.ObservedLink
	physical bool
	ownMTU   int // before a bond took it
	tuning   netapply.Tuning
	offers   string // link modes, while they are not shown
}

type route struct {
	netapply.Route
	foreign bool
}

// New returns a kernel with physical interfaces of the given names, down, with
// an MTU of 1500.
func New(physical ...string) *Kernel {
	k := &Kernel{next: 2, links: map[string]*link{},
		global: netapply.Settings{"ipv4/tcp_l3mdev_accept": 0, "ipv4/udp_l3mdev_accept": 0}}
	k.links["lo"] = &link{ObservedLink: netapply.ObservedLink{
		Link: netapply.Link{Name: "lo", MTU: 65536, Settings: defaultSettings()}, Index: 1, Up: true,
	}, physical: true}
	for _, name := range physical {
		k.AddPhysical(name, 1500, false)
	}
	return k
}

// AddPhysical plugs an interface in.
func (k *Kernel) AddPhysical(name string, mtu int, up bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.insert(&link{ObservedLink: netapply.ObservedLink{
		Link: netapply.Link{Name: name, MTU: mtu, MAC: macOf(name), Settings: defaultSettings()}, Up: up,
	}, physical: true})
}

// Unplug takes a physical interface away, with everything on it.
func (k *Kernel) Unplug(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(name)
}

// Foreign makes a link that somebody else owns.
func (k *Kernel) Foreign(l netapply.Link, up bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.addLink(l); err != nil {
		return err
	}
	k.links[l.Name].Group = 0
	k.links[l.Name].Up = up
	return nil
}

// ForeignAddress adds an address that somebody else owns.
func (k *Kernel) ForeignAddress(link string, p netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addresses = append(k.addresses, netapply.ObservedAddress{Link: link, Prefix: p})
}

// ForeignRoute adds a route that somebody else owns.
func (k *Kernel) ForeignRoute(r netapply.Route) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.routes = append(k.routes, route{r, true})
}

// Delete does what anybody's `ip link del` does.
func (k *Kernel) Delete(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.delLink(name)
}

// DeleteAddress does what anybody's `ip addr del` does.
func (k *Kernel) DeleteAddress(link string, p netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.delAddress(link, p)
}

// Set does what anybody's `ip link set` does.
func (k *Kernel) Set(s netapply.SetLink) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.setLink(s)
}

// Writes implements netapply.Kernel.
func (k *Kernel) Writes() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.writes
}

// Observe implements netapply.Kernel.
func (k *Kernel) Observe(ctx context.Context, looks ...netapply.Look) (netapply.Observed, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := netapply.Observed{IPv6: !k.NoIPv6, AddressProtocol: !k.NoAddressProtocol}
	for _, l := range k.sorted() {
		c := l.ObservedLink
		c.Carrier = c.Up
		c.Options, c.Settings = maps.Clone(c.Options), maps.Clone(c.Settings)
		c.Before, c.Tuning = maps.Clone(l.Before), l.show(looks)
		o.Links = append(o.Links, c)
	}
	o.Addresses = slices.Clone(k.addresses)
	if k.NoAddressProtocol {
		for i := range o.Addresses {
			o.Addresses[i].Protocol = 0
		}
	}
	for _, r := range k.routes {
		if !r.foreign {
			o.Routes = append(o.Routes, r.Route)
		}
	}
	o.Rules = slices.Clone(k.rules)
	o.Global = maps.Clone(k.global)
	o.Access = k.access
	return o, ctx.Err()
}

// Do implements netapply.Kernel.
func (k *Kernel) Do(ctx context.Context, steps ...netapply.Step) []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := make([]error, len(steps))
	for i, s := range steps {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = k.do(s)
		}
	}
	return errs
}

func (k *Kernel) do(s netapply.Step) error {
	k.writes++
	if k.Fault != nil {
		if err := k.Fault(s); err != nil {
			return err
		}
	}
	switch s := s.(type) {
	case netapply.AddLink:
		return k.addLink(s.Link)
	case netapply.SetLink:
		return k.setLink(s)
	case netapply.SwapLink:
		return k.swapLink(s)
	case netapply.DelLink:
		if k.links[s.Name] == nil {
			return nil
		}
		return k.delLink(s.Name)
	case netapply.SetSettings:
		return k.setSettings(s)
	case netapply.SetTuning:
		return k.setTuning(s)
	case netapply.AddAddress:
		return k.addAddress(s.Address)
	case netapply.DelAddress:
		k.delAddress(s.Address.Link, s.Address.Prefix)
		return nil
	case netapply.AddRoute:
		return k.addRoute(s)
	case netapply.DelRoute:
		k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return !r.foreign && r.Route == s.Route })
		return nil
	case netapply.AddRule:
		if slices.Contains(k.rules, s.Rule) {
			return unix.EEXIST
		}
		k.rules = append(k.rules, s.Rule)
		return nil
	case netapply.SetGlobal:
		maps.Copy(k.global, s.Settings)
		return nil
	case netapply.SetAccess:
		k.access = s.New
		return nil
	case netapply.DelRule:
		k.rules = slices.DeleteFunc(k.rules, func(r netapply.Rule) bool { return r == s.Rule })
		return nil
	}
	return fmt.Errorf("no such step: %T", s)
}

// String prints the whole state, sorted, one object a line, without what
// depends on history alone (indexes).
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lines []string
	for _, l := range k.links {
		lines = append(lines, fmt.Sprintf("link %s kind=%s parent=%s master=%s up=%t mtu=%d mac=%s group=%x alias=%q options=%v settings=%v",
			l.Name, l.Kind, l.Parent, l.Master, l.Up, l.MTU, l.MAC, l.Group, l.Alias, effective(l), l.Settings))
		for name, v := range l.tuning {
			lines = append(lines, fmt.Sprintf("tuning %s %s=%s", l.Name, name, v))
		}
	}
	for _, a := range k.addresses {
		lines = append(lines, fmt.Sprintf("address %s dev %s proto %d", a.Prefix, a.Link, a.Protocol))
	}
	for _, r := range k.routes {
		lines = append(lines, fmt.Sprintf("route %s foreign=%t", r.Route, r.foreign))
	}
	for _, r := range k.rules {
		lines = append(lines, "rule "+r.String())
	}
	if k.access != nil {
		lines = append(lines, netapply.SetAccess{New: k.access}.Lines()...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (k *Kernel) sorted() []*link {
	return slices.SortedFunc(maps.Values(k.links), func(a, b *link) int { return cmp.Compare(a.Index, b.Index) })
}

func (k *Kernel) insert(l *link) {
	l.Index = k.next
	k.next++
	l.ownMTU = l.MTU
	l.tuning = newTuning(l.physical)
	k.links[l.Name] = l
}

// macOf is what the kernel would choose at random; here it is always the same.
func macOf(name string) netquorum.MAC {
	h := fnv.New64a()
	h.Write([]byte(name))
	s := h.Sum(nil)
	return netquorum.MAC{2, s[1], s[2], s[3], s[4], s[5]}
}

func defaultSettings() netapply.Settings {
	return netapply.Settings{
		"ipv4/arp_ignore": 0, "ipv4/arp_announce": 0, "ipv4/rp_filter": 0, "ipv4/promote_secondaries": 0,
		"ipv4/proxy_arp": 0, "ipv4/forwarding": 0, "ipv6/proxy_ndp": 0, "ipv6/forwarding": 0,
		"ipv6/disable_ipv6": 0, "ipv6/accept_ra": 1, "ipv6/keep_addr_on_down": 0,
	}
}
