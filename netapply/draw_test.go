package netapply_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	netquorum "github.com/netquorum/netquorum"
)

// A drawer draws configurations of one filer at random: all kinds of
// interfaces, addresses, virtual servers and policies.
type drawer struct {
	rng  *rand.Rand
	vlan bool // false: no VLANs, bonds or VRFs, for kernels without
	// hardware draws what network cards are set to, for kernels with such cards.
	hardware bool
	// kept adds an alias that every configuration has, and with it the MAC; others
	// may stand beside it.
	kept     *netquorum.Interface
	accesses []netquorum.Document
	// refused counts draws that broke a rule and were thrown away.
	refused int
}

var drawnCards = []netquorum.InterfaceName{"eth0", "eth1", "eth2", "eth3", "eth4", "eth5"}

// config draws until the rules of the root package are kept.
func (d *drawer) config() (netquorum.Config, func(netquorum.Key) bool) {
	for {
		c, problems := netquorum.Config{}.Change(d.documents(), nil)
		if len(problems) > 0 {
			d.refused++
			continue
		}
		hosted := map[netquorum.Key]bool{}
		for h := range c.Hosted() {
			hosted[h.Key] = d.chance(0.7)
		}
		return c, func(k netquorum.Key) bool { return hosted[k] }
	}
}

func (d *drawer) chance(p float64) bool { return d.rng.Float64() < p }

func pick[T any](d *drawer, from ...T) T { return from[d.rng.IntN(len(from))] }

// A drawing is one configuration being drawn.
type drawing struct {
	*drawer
	list []netquorum.Interface
	free []netquorum.InterfaceName // may still become a member or carry something
	mtu  map[netquorum.InterfaceName]int
	host int // the next host number
}

func (d *drawer) documents() []netquorum.Document {
	w := drawing{drawer: d, mtu: map[netquorum.InterfaceName]int{}, host: 1 + d.rng.IntN(20)}
	w.free = slices.Clone(drawnCards)
	d.rng.Shuffle(len(w.free), func(i, j int) { w.free[i], w.free[j] = w.free[j], w.free[i] })
	for _, n := range drawnCards {
		i := netquorum.Interface{Name: n, MTU: pick(d, 0, 0, 1500, 9000)}
		if d.hardware && d.chance(0.5) {
			i.Ethernet, i.CPU = d.ethernet(), d.cpu()
		}
		if i.MTU != 0 && d.chance(0.7) || i.Ethernet != nil || i.CPU != nil {
			w.list = append(w.list, i)
			w.mtu[n] = i.MTU
		}
	}
	if d.vlan {
		for _, n := range []netquorum.InterfaceName{"bond0", "bond1"} {
			if d.chance(0.6) {
				w.bond(n)
			}
		}
		w.vlans()
		if d.chance(0.6) {
			w.failover()
		}
	}
	mac, admins := netquorum.MAC{0, 7, 0x34, 4, 0x12, byte(d.rng.IntN(2))}, pick(d, "", "admins")
	if d.kept != nil {
		w.list = append(w.list, *d.kept)
		w.free = append(w.free, d.kept.Parent)
		mac, admins = netquorum.MAC{0, 7, 0x34, 4, 0x12, 9}, ""
	}
	aliases := w.aliases()
	docs := []netquorum.Document{
		{Kind: netquorum.KindCluster, Name: "acme", Spec: &netquorum.Cluster{MAC: mac}},
		{Kind: netquorum.KindRoutes, Name: "tables", Spec: w.policy(false)},
		{Kind: netquorum.KindRoutes, Name: "domain", Spec: w.policy(d.vlan)},
		{Kind: netquorum.KindFilerGroup, Name: "main", Spec: &netquorum.FilerGroup{
			Access: admins, Servers: netquorum.Policies{Access: pick(d, "", "clients")}}},
		{Kind: netquorum.KindFiler, Name: "filer1", Spec: &netquorum.Filer{
			Group: "main", Interfaces: w.list, Routes: pick(d, "", "tables"),
		}},
	}
	if d.accesses == nil || d.chance(0.2) { // they are text, which takes time to read
		d.accesses = d.accessPolicies()
	}
	docs = append(docs, d.accesses...)
	for _, name := range []string{"VsvrA", "VsvrB", "a-server-with-a-long-name"} {
		if v := w.server(aliases); v != nil {
			docs = append(docs, netquorum.Document{Kind: netquorum.KindVirtualServer, Name: name, Spec: v})
		}
	}
	return docs
}

// take removes n names that are still free.
func (w *drawing) take(n int) []netquorum.InterfaceName {
	n = min(n, len(w.free))
	taken := slices.Clone(w.free[:n])
	w.free = w.free[n:]
	return taken
}

func (w *drawing) bond(name netquorum.InterfaceName) {
	b := &netquorum.Bond{Mode: pick(w.drawer, netquorum.BondModes...), Miimon: pick(w.drawer, 0, 50)}
	members := w.take(1 + w.rng.IntN(2))
	switch b.Mode {
	case netquorum.Mode8023AD:
		b.LACPRate = pick(w.drawer, "", "slow", "fast")
		b.LACPActive = pick(w.drawer, nil, new(true), new(false))
		b.ADSelect = pick(w.drawer, "", "bandwidth", "count")
		b.ADUserPortKey = pick(w.drawer, 0, 17)
		b.MinLinks = pick(w.drawer, 0, 1)
		b.XmitHashPolicy = pick(w.drawer, "", "layer3+4", "layer2+3")
	case netquorum.ModeActiveBackup:
		b.Primary = pick(w.drawer, "", members[0])
		b.PrimaryReselect = pick(w.drawer, "", "failure")
		b.FailOverMAC = pick(w.drawer, "", "active")
		b.UpDelay = pick(w.drawer, 0, 200)
		b.PeerNotifDelay = pick(w.drawer, 0, 300)
		b.NumGratARP = pick(w.drawer, nil, new(0), new(3))
		b.AllSlavesActive = w.chance(0.3)
		b.ResendIGMP = pick(w.drawer, nil, new(4))
	case netquorum.ModeBalanceRR:
		b.PacketsPerSlave = pick(w.drawer, nil, new(0), new(7))
	case netquorum.ModeBalanceTLB, netquorum.ModeBalanceALB:
		b.LPInterval = pick(w.drawer, 0, 2)
		b.TLBDynamicLB = pick(w.drawer, nil, new(true), new(false))
	case netquorum.ModeBalanceXOR:
		b.XmitHashPolicy = pick(w.drawer, "", "layer2+3")
	case netquorum.ModeBroadcast:
		b.Miimon, b.ARPInterval = 0, 500
		b.ARPTargets = []netip.Addr{netip.MustParseAddr("10.1.1.254")}
		b.ARPValidate = pick(w.drawer, "", "none", "all", "filter_backup")
		b.MissedMax = pick(w.drawer, 0, 5)
		if b.ARPValidate == "all" {
			b.ARPAllTargets = pick(w.drawer, "", "all")
		}
	}
	if w.chance(0.2) {
		b = nil
	}
	w.add(netquorum.Interface{Name: name, Members: members, Bond: b, MTU: pick(w.drawer, 0, 0, 0, 1500, 9000)})
}

// add adds an interface that others may stand on.
func (w *drawing) add(i netquorum.Interface) {
	w.list = append(w.list, i)
	w.mtu[i.Name] = i.MTU
	w.free = append(w.free, i.Name)
}

func (w *drawing) vlans() {
	for _, n := range slices.Clone(w.free) {
		for _, tag := range []int{10, 20} {
			if w.chance(0.2) {
				w.free = slices.DeleteFunc(w.free, func(f netquorum.InterfaceName) bool { return f == n })
				w.add(netquorum.Interface{Name: netquorum.InterfaceName(fmt.Sprintf("%s.%d", n, tag))})
			}
		}
	}
}

func (w *drawing) failover() {
	w.rng.Shuffle(len(w.free), func(i, j int) { w.free[i], w.free[j] = w.free[j], w.free[i] })
	members := w.take(2)
	if len(members) == 0 {
		return
	}
	f := &netquorum.Failover{Primary: pick(w.drawer, "", members[0]), DownDelay: pick(w.drawer, 0, 150)}
	w.add(netquorum.Interface{Name: "fail0", Members: members, Failover: pick(w.drawer, nil, f)})
	if w.chance(0.3) {
		w.add(netquorum.Interface{Name: "fail0.30"})
	}
}

func (w *drawing) aliases() []netquorum.InterfaceName {
	var made []netquorum.InterfaceName
	if len(w.free) == 0 {
		return nil
	}
	for _, n := range []netquorum.InterfaceName{"mgmt0", "mgmt1", "san0", "data0", "data1", "data2"} {
		if !w.chance(0.8) {
			continue
		}
		parent := pick(w.drawer, w.free...)
		i := netquorum.Interface{Name: n, Parent: parent, MTU: pick(w.drawer, 0, 0, 0, 1400)}
		made = append(made, n)
		if n.Stem() != "data" {
			i.Addresses = w.addresses(3)
		}
		w.list = append(w.list, i)
		if w.vlan && w.chance(0.2) {
			on := netquorum.Interface{Name: n + ".5"}
			if n.Stem() != "data" {
				on.Addresses = w.addresses(2)
			}
			w.list = append(w.list, on)
			made = append(made, on.Name)
		}
	}
	return made
}

// addresses draws addresses of few subnets, each host number once.
func (w *drawing) addresses(most int) []netip.Prefix {
	var list []netip.Prefix
	for range w.rng.IntN(most + 1) {
		w.host++
		subnet := pick(w.drawer, "10.1.1.%d/24", "10.1.2.%d/24", "2001:db8:1::%d/64", "2001:db8:2::%d/64", "10.1.0.%d/16")
		list = append(list, netip.MustParsePrefix(fmt.Sprintf(subnet, w.host)))
	}
	return list
}

func (w *drawing) policy(vrf bool) *netquorum.Routes {
	p := &netquorum.Routes{VRF: vrf}
	if w.chance(0.7) {
		p.Routes = append(p.Routes, netquorum.Route{Via: netip.MustParseAddr(pick(w.drawer, "10.1.1.254", "10.1.1.253", "10.1.2.254"))})
	}
	if w.chance(0.3) {
		p.Routes = append(p.Routes, netquorum.Route{Via: netip.MustParseAddr("2001:db8:1::fe")})
	}
	if w.chance(0.3) {
		p.Routes = append(p.Routes, netquorum.Route{
			To: netquorum.Destination{Prefix: netip.MustParsePrefix("172.16.0.0/12")}, Via: netip.MustParseAddr("10.1.1.250"), Metric: pick(w.drawer, 0, 5),
		})
	}
	return p
}

func (w *drawing) server(aliases []netquorum.InterfaceName) *netquorum.VirtualServer {
	v := &netquorum.VirtualServer{Group: "main", Routes: pick(w.drawer, "", "tables", "domain")}
	for _, a := range aliases {
		if a.Stem() != "data" || w.chance(0.4) {
			continue
		}
		for i, p := range w.addresses(2) {
			v.Addresses = append(v.Addresses, netquorum.Address{Alias: a, Instance: i, Prefix: p})
		}
	}
	if len(v.Addresses) == 0 {
		return nil
	}
	return v
}

// ethernet draws settings of a network card.
func (d *drawer) ethernet() *netquorum.Ethernet {
	if d.chance(0.2) {
		return nil
	}
	e := &netquorum.Ethernet{}
	switch d.rng.IntN(4) {
	case 0:
		e.Autoneg, e.Speed, e.Duplex = new(false), 100, pick(d, "", "half", "full")
	case 1:
		e.Autoneg, e.Speed = new(true), pick(d, 100, 1000)
	case 2:
		e.Autoneg = new(true)
	}
	for _, name := range []string{"tso", "gro", "lro"} {
		if d.chance(0.3) {
			e.Offloads = map[string]bool{name: name != "lro" && d.chance(0.5)}
		}
	}
	e.Rings = pick(d, nil, &netquorum.Rings{RX: 512}, &netquorum.Rings{RX: 1024, TX: 256})
	e.Channels = pick(d, nil, nil, &netquorum.Channels{Combined: pick(d, 1, 3, 4)})
	e.Coalesce = pick(d, nil, &netquorum.Coalesce{RXUsecs: new(pick(d, 0, 30)), AdaptiveTX: pick(d, nil, new(true))})
	e.Pause = pick(d, nil, nil, &netquorum.Pause{Autoneg: new(false), RX: new(d.chance(0.5))})
	return e
}

func (d *drawer) cpu() *netquorum.CPU {
	return pick(d, nil, &netquorum.CPU{
		Interrupts: pick[netquorum.CPUList](d, "", "1", "0-3"), RPS: pick[netquorum.CPUList](d, "", "2-3"),
		XPS: pick[netquorum.CPUList](d, "", "0-1"), RPSFlows: pick(d, 0, 1024), ThreadedNAPI: pick(d, nil, new(true), new(false)),
	})
}
