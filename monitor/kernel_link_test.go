package monitor_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab"
	"github.com/netquorum/netquorum/monitor"
)

// singleCard is a plan of one card with an alias (S4).
func singleCard(targets ...monitor.Target) monitor.Plan {
	return monitor.Plan{Filer: "f1", Timing: quick, Targets: targets, Groups: []monitor.Group{
		{Name: "eth0", Layer: netquorum.LayerPhysical},
		{Name: "data0", Layer: netquorum.LayerAlias, Below: "eth0"},
	}}
}

// measureLinkDown takes the time from pulling a card's cable to the published
// state of the alias on it, each time with a monitor that knows of no earlier
// fault: one that does would wait, as it should, with saying that it is over. A
// veth's signal goes when its other end is set down.
func measureLinkDown(ctx context.Context, rounds int) ([]time.Duration, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth0"
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "port0"}); err != nil {
		return nil, err
	}
	card, err := h.LinkByName("eth0")
	if err != nil {
		return nil, err
	}
	defer h.LinkDel(card)
	port, err := h.LinkByName("port0")
	if err != nil {
		return nil, err
	}
	on := netlink.NewLinkAttrs()
	on.Name, on.ParentIndex = "data0", card.Attrs().Index
	alias := &netlink.Macvlan{LinkAttrs: on, Mode: netlink.MACVLAN_MODE_BRIDGE}
	if err := h.LinkAdd(alias); err != nil {
		return nil, err
	}
	for _, l := range []netlink.Link{card, port, alias} {
		if err := h.LinkSetUp(l); err != nil {
			return nil, err
		}
	}
	var took []time.Duration
	for range rounds {
		d, err := oneLinkDown(ctx, func() error { return h.LinkSetDown(port) })
		if err != nil {
			return nil, err
		}
		took = append(took, d)
		if err := h.LinkSetUp(port); err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}

func oneLinkDown(ctx context.Context, pull func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	m := monitor.New(monitor.Options{Source: &monitor.Netlink{}})
	m.Configure(singleCard())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var pulled time.Time
	for e := range m.Subscribe(ctx) {
		state := m.Snapshot().Interface("data0").State
		switch {
		case pulled.IsZero() && state == monitor.Running:
			pulled = time.Now()
			if err := pull(); err != nil {
				return 0, err
			}
		case !pulled.IsZero() && e.Interface == "data0" && e.Is == monitor.Failed:
			return time.Since(pulled), nil
		}
	}
	return 0, fmt.Errorf("10 s after its cable was pulled, data0 is %s", m.Snapshot().Interface("data0").State)
}

const linkDownBar = 20 * time.Millisecond

func TestKernelLinkDown(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.MACVLAN) {
		return
	}
	took, err := measureLinkDown(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	p99 := took[len(took)*99/100-1]
	t.Logf("link down to published state: median %v, p99 %v, worst %v", took[len(took)/2], p99, took[len(took)-1])
	if p99 > linkDownBar && os.Getenv("NQ_IN_VM") == "" {
		t.Errorf("p99 is %v, want %v or less", p99, linkDownBar)
	}
}

// BenchmarkLinkDown is the same for the figures. test/bench runs it in a
// namespace of its own; it makes links and so runs in no other.
func BenchmarkLinkDown(b *testing.B) {
	links, err := net.Interfaces()
	if err != nil || len(links) != 1 {
		b.Skip("makes links: run it in a network namespace that has none, as `go run ./test/bench` does")
	}
	const rounds = 200
	for b.Loop() {
		took, err := measureLinkDown(b.Context(), rounds)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(took[rounds/2].Seconds()*1e3, "median-ms")
		b.ReportMetric(took[rounds*99/100-1].Seconds()*1e3, "p99-ms")
	}
}
