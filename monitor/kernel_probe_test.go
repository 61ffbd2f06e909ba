package monitor_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/lab"
	"github.com/netquorum/netquorum/monitor"
)

// A router at the other end of eth0, with a network behind it.
const routed = `
	ip netns add gw
	ip link add eth0 type veth peer name port0 netns gw
	ip link set eth0 up
	ip -n gw link set lo up
	ip -n gw link set port0 up
	ip -n gw addr add 10.0.0.254/24 dev port0
	ip -n gw addr add 2001:db8::fe/64 dev port0 nodad
	ip -n gw addr add 192.0.2.1/32 dev lo
	ip -n gw addr add 2001:db8:9::1/128 dev lo nodad
	ip link add data0 link eth0 type macvlan mode bridge
	ip link set data0 up
`

// Each kind of probe finds out that its target is there, gone, and there again;
// the alias has no address where ARP and neighbour discovery need none.
func TestKernelProbes(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.MACVLAN) {
		return
	}
	sh(t, routed)
	addr := netip.MustParseAddr
	for _, test := range []struct {
		name         string
		target       monitor.Target
		before       string
		deaf, healed string
	}{
		{"ARP from nowhere", monitor.Target{Address: addr("10.0.0.254"), OnLink: true}, "",
			"ip -n gw addr del 10.0.0.254/24 dev port0", "ip -n gw addr add 10.0.0.254/24 dev port0"},
		{"neighbour discovery", monitor.Target{Address: addr("2001:db8::fe"), OnLink: true}, "",
			"ip -n gw addr del 2001:db8::fe/64 dev port0", "ip -n gw addr add 2001:db8::fe/64 dev port0 nodad"},
		{"ICMP beyond a gateway", monitor.Target{Address: addr("192.0.2.1"), Source: addr("10.0.0.1")},
			"ip addr add 10.0.0.1/24 dev data0\nip route add default via 10.0.0.254",
			"ip -n gw addr del 192.0.2.1/32 dev lo", "ip -n gw addr add 192.0.2.1/32 dev lo"},
		{"ICMP in IPv6", monitor.Target{Address: addr("2001:db8:9::1"), Source: addr("2001:db8::1")},
			"ip addr add 2001:db8::1/64 dev data0 nodad\nip -6 route add default via 2001:db8::fe",
			"ip -n gw addr del 2001:db8:9::1/128 dev lo", "ip -n gw addr add 2001:db8:9::1/128 dev lo nodad"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sh(t, test.before)
			test.target.Interface, test.target.Reason = "data0", monitor.Gateway
			m := kernelMonitor(t, singleCard(test.target))
			target := func(state string) func(monitor.Snapshot) bool {
				return func(s monitor.Snapshot) bool {
					i := s.Interface("data0")
					return len(i.Targets) == 1 && i.Targets[0].State == state
				}
			}
			m.await("the target answers", 10*time.Second, target(monitor.Answers))
			m.awaitState("data0", monitor.Running, time.Second)
			sh(t, test.deaf)
			i := m.awaitState("data0", monitor.Failed, 5*time.Second)
			if !strings.Contains(i.Reason, test.target.Address.String()) {
				t.Errorf("the reason names no target: %s", i.Reason)
			}
			sh(t, test.healed)
			m.awaitState("data0", monitor.Up, 10*time.Second)
			m.awaitState("data0", monitor.Running, 10*time.Second)
		})
	}
}

// Somebody else on the wire says that he has an address of this filer.
func TestKernelDuplicateAddress(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.MACVLAN) {
		return
	}
	sh(t, routed)
	sh(t, `
		ip addr add 10.0.0.7/24 dev data0
		ip addr add 2001:db8::7/64 dev data0 nodad
	`)
	gateways := []monitor.Target{
		{Interface: "data0", Address: netip.MustParseAddr("10.0.0.254"), Source: netip.MustParseAddr("10.0.0.7"), OnLink: true, Reason: monitor.Gateway},
		{Interface: "data0", Address: netip.MustParseAddr("2001:db8::fe"), OnLink: true, Reason: monitor.Gateway},
	}
	m := kernelMonitor(t, singleCard(gateways...))
	m.await("the targets answer", 10*time.Second, func(s monitor.Snapshot) bool {
		ts := s.Interface("data0").Targets
		return len(ts) == 2 && ts[0].State == monitor.Answers && ts[1].State == monitor.Answers
	})
	if f := m.Snapshot().Findings; len(f) > 0 {
		t.Fatalf("found before there was anything: %v", f)
	}
	mac := strings.TrimSpace(sh(t, "ip netns exec gw cat /sys/class/net/port0/address"))
	for _, claim := range []struct{ address, command string }{
		// Asking for somebody from the address is a claim, too; who asks is heard by all.
		{"10.0.0.7", "ip -n gw addr add 10.0.0.7/24 dev port0\nip netns exec gw ping -q -c 3 -i 0.3 -W 1 -I 10.0.0.7 10.0.0.99 || true"},
		// Duplicate address detection asks from nowhere.
		{"2001:db8::7", "ip -n gw addr add 2001:db8::7/64 dev port0\nsleep 1\nip -n gw addr del 2001:db8::7/64 dev port0\nip -n gw addr add 2001:db8::7/64 dev port0"},
	} {
		sh(t, claim.command)
		m.await("it is found that "+mac+" claims "+claim.address, 10*time.Second, func(s monitor.Snapshot) bool {
			return slices.ContainsFunc(s.Findings, func(f monitor.Finding) bool {
				return f.Code == monitor.DuplicateAddress && f.Interface == "data0" && strings.Contains(f.Message, claim.address+",") && strings.Contains(f.Message, mac)
			})
		})
	}
}

// S3: however often the monitor is killed and started, on links with bonds,
// addresses and targets, the kernel tells of no change and is as it was.
func TestKernelRestartsDisturbNothing(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.MACVLAN) {
		return
	}
	sh(t, routed)
	sh(t, "ip addr add 10.0.0.1/24 dev data0\nip addr add 2001:db8::1/64 dev data0 nodad\nip route add default via 10.0.0.254")
	state := func() string {
		return sh(t, "ip -d link; ip -d addr; ip -d route show table all; ip -d -6 route show table all; ip rule; ip maddr; cat /proc/net/if_inet6")
	}
	plan := singleCard(
		monitor.Target{Interface: "data0", Address: netip.MustParseAddr("10.0.0.254"), OnLink: true, Reason: monitor.Gateway},
		monitor.Target{Interface: "data0", Address: netip.MustParseAddr("2001:db8::fe"), OnLink: true, Reason: monitor.Gateway},
		monitor.Target{Interface: "data0", Address: netip.MustParseAddr("192.0.2.1"), Source: netip.MustParseAddr("10.0.0.1"), Reason: monitor.Configured},
	)
	first := kernelMonitor(t, plan)
	answering := func(s monitor.Snapshot) bool {
		n := 0
		for _, x := range s.Interface("data0").Targets {
			if x.State == monitor.Answers {
				n++
			}
		}
		return n == 3
	}
	first.await("all targets answer, and duplicate address detection is over", 20*time.Second, func(s monitor.Snapshot) bool {
		return answering(s) && sh(t, "ip -6 addr show tentative") == ""
	})
	first.stop()
	before := state()
	events := exec.CommandContext(t.Context(), "ip", "monitor", "link", "address", "route", "rule", "netconf")
	var told strings.Builder
	events.Stdout = &told
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		m := kernelMonitor(t, plan)
		m.await(fmt.Sprintf("all targets answer in round %d", round), 10*time.Second, answering)
		if s := m.Snapshot().Interface("data0").State; s != monitor.Running {
			t.Errorf("round %d: data0 is %s", round, s)
		}
		m.stop()
	}
	if after := state(); after != before {
		t.Errorf("the kernel was changed:\n%s\nwas:\n%s", after, before)
	}
	_ = events.Process.Kill()
	_ = events.Wait()
	if told.Len() > 0 {
		t.Errorf("the kernel told of changes:\n%s", told.String())
	}
}
