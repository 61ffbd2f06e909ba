package netapply_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The size of the figures: links, addresses per link, routes per table, and a
// rule per link.
const (
	benchLinks     = 100
	benchAddresses = 10
	benchTables    = 10
	benchRoutes    = 100
)

// benchDesired is 100 aliases, 1,000 addresses, 1,000 routes in 10 tables and 100
// rules, with the settings that aliases have.
func benchDesired(b *testing.B) netapply.Desired {
	// The settings of an alias, which the bare loop does not make.
	settings := want(b, example(b, "single-nic.yaml"), "filer1").Links[1].Settings
	if len(settings) == 0 {
		b.Fatal("an alias without settings")
	}
	d := netapply.Desired{Links: []netapply.Link{{Name: "eth0"}}}
	for l := range benchLinks {
		name := fmt.Sprintf("data%d", l)
		d.Links = append(d.Links, netapply.Link{
			Name: name, Kind: netapply.Macvlan, Role: "alias", Parent: "eth0",
			MAC:     netquorum.MAC{2, 0, 0, 0, 0, byte(l)},
			Options: netapply.Options{"mode": "bridge"}, Settings: settings,
		})
		for a := range benchAddresses {
			d.Addresses = append(d.Addresses, netapply.Address{Link: name, Prefix: benchAddress(l, a)})
		}
		from := benchAddress(l, 0).Addr()
		d.Rules = append(d.Rules, netapply.Rule{Priority: netapply.RulePriority, From: netip.PrefixFrom(from, 32), Table: uint32(1000000 + l%benchTables)})
	}
	for t := range benchTables {
		link, table := fmt.Sprintf("data%d", t), uint32(1000000+t)
		d.Routes = append(d.Routes, netapply.Route{Table: table, To: benchAddress(t, 0).Masked(), Link: link})
		for r := range benchRoutes - 1 {
			d.Routes = append(d.Routes, netapply.Route{Table: table, To: benchTarget(r), Via: benchAddress(t, 200).Addr(), Link: link})
		}
	}
	return d
}

func benchAddress(link, n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(link), 0, byte(n + 1)}), 24)
}

func benchTarget(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(n), 0}), 24)
}

// inBenchNamespace runs f in a network namespace with one card.
func inBenchNamespace(b *testing.B, f func()) {
	b.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the namespace ends with the thread
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			b.Logf("cannot make a network namespace: %v", err)
			b.Fail()
			return
		}
		f()
	}()
	<-done
}

func benchCard(b *testing.B) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		b.Error(err)
		return
	}
	defer h.Close()
	veth := netlink.NewVeth(netlink.NewLinkAttrs())
	veth.Name, veth.PeerName = "eth0", "sw0"
	if err := h.LinkAdd(veth); err != nil {
		b.Error(err)
	}
}

// BenchmarkApply compares plan and execution, which look before and after and make
// settings, with two programs that do neither, by turns in one run: a raw socket
// with batched sends, and a loop over one handle of the netlink library. The bar
// is 1.5 x the raw socket.
func BenchmarkApply(b *testing.B) {
	d := benchDesired(b)
	var own, raw, loop []time.Duration
	for b.Loop() {
		own = append(own, timedNamespace(b, func() { applyBench(b, d) }))
		raw = append(raw, timedNamespace(b, func() { rawBench(b, d) }))
		loop = append(loop, timedNamespace(b, func() { bareBench(b, d) }))
	}
	o, r, l := median(own), median(raw), median(loop)
	b.ReportMetric(float64(o.Microseconds())/1000, "own-ms")
	b.ReportMetric(float64(r.Microseconds())/1000, "raw-ms")
	b.ReportMetric(float64(l.Microseconds())/1000, "loop-ms")
	b.ReportMetric(float64(o)/float64(r), "ratio")
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func rawBench(b *testing.B, d netapply.Desired) {
	if err := netapply.RawApply(d); err != nil {
		b.Error(err)
	}
}

// timedNamespace times f in a namespace of its own, once the one before is gone: the
// kernel removes it in the background for some 40 ms, which show nowhere, under the
// lock that every change of the network takes.
func timedNamespace(b *testing.B, f func()) (took time.Duration) {
	<-time.After(150 * time.Millisecond)
	inBenchNamespace(b, func() {
		benchCard(b)
		start := time.Now()
		f()
		took = time.Since(start)
	})
	return took
}

func applyBench(b *testing.B, d netapply.Desired) {
	k, err := netapply.Open()
	if err != nil {
		b.Error(err)
		return
	}
	defer k.Close()
	a := netapply.Applier{Kernel: k}
	r, err := a.Apply(b.Context(), d)
	if err != nil || r.Err() != nil {
		b.Error(err, r.Err())
	}
}

// bareBench is what a program without a plan would do.
func bareBench(b *testing.B, d netapply.Desired) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		b.Error(err)
		return
	}
	defer h.Close()
	must := func(err error) {
		if err != nil {
			b.Error(err)
		}
	}
	links := map[string]netlink.Link{}
	for _, l := range d.Links {
		if l.Kind == netapply.Physical {
			card, err := h.LinkByName(l.Name)
			must(err)
			must(h.LinkSetUp(card))
			links[l.Name] = card
			continue
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = l.Name, links[l.Parent].Attrs().Index, net.HardwareAddr(l.MAC[:])
		m := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
		must(h.LinkAdd(m)) // and learns its index
		must(h.LinkSetAlias(m, "netquorum: alias"))
		must(h.LinkSetUp(m))
		links[l.Name] = m
	}
	for _, a := range d.Addresses {
		must(h.AddrAdd(links[a.Link], &netlink.Addr{
			IPNet: &net.IPNet{IP: a.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(a.Prefix.Bits(), 32)}, Flags: unix.IFA_F_NOPREFIXROUTE,
		}))
	}
	for _, r := range d.Routes {
		route := &netlink.Route{
			Table: int(r.Table), LinkIndex: links[r.Link].Attrs().Index, Protocol: netapply.Protocol,
			Dst: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)},
		}
		if r.Via.IsValid() {
			route.Gw = r.Via.AsSlice()
		} else {
			route.Scope = netlink.SCOPE_LINK
		}
		must(h.RouteAdd(route))
	}
	for _, r := range d.Rules {
		rule := netlink.NewRule()
		rule.Priority, rule.Table, rule.Protocol = int(r.Priority), int(r.Table), netapply.Protocol
		rule.Src = &net.IPNet{IP: r.From.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}
		must(h.RuleAdd(rule))
	}
}

// BenchmarkReplan is a pass that finds nothing to do, at the same size.
func BenchmarkReplan(b *testing.B) {
	d := benchDesired(b)
	inBenchNamespace(b, func() {
		benchCard(b)
		k, err := netapply.Open()
		if err != nil {
			b.Error(err)
			return
		}
		defer k.Close()
		a := netapply.Applier{Kernel: k}
		if _, err := a.Apply(b.Context(), d); err != nil {
			b.Error(err)
		}
		for b.Loop() {
			r, err := a.Apply(b.Context(), d)
			if err != nil || r.Writes > 0 {
				b.Error(err, r.Steps)
				return
			}
		}
	})
}

// BenchmarkPlanOnly is the pure part of BenchmarkReplan.
func BenchmarkPlanOnly(b *testing.B) {
	d := benchDesired(b)
	inBenchNamespace(b, func() {
		benchCard(b)
		k, err := netapply.Open()
		if err != nil {
			b.Error(err)
			return
		}
		defer k.Close()
		a := netapply.Applier{Kernel: k}
		if _, err := a.Apply(b.Context(), d); err != nil {
			b.Error(err)
		}
		have, err := k.Observe(b.Context())
		if err != nil {
			b.Error(err)
		}
		for b.Loop() {
			if steps, _ := netapply.Plan(d, have); len(steps) > 0 {
				b.Error(steps)
				return
			}
		}
	})
}

// BenchmarkExample is Want and Plan of the acceptance example for filer1, from
// an empty kernel.
func BenchmarkExample(b *testing.B) {
	c := example(b, "two-filers.yaml")
	for b.Loop() {
		d, err := netapply.Want(c, "filer1", func(netquorum.Key) bool { return true })
		if err != nil {
			b.Fatal(err)
		}
		netapply.Plan(d, netapply.Observed{IPv6: true})
	}
}
