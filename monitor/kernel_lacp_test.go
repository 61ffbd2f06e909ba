package monitor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab"
	"github.com/netquorum/netquorum/monitor"
)

// aggregate is two cards in an LACP bond, cabled to ports port0 and port1 in the
// namespace sw, and a plan that watches it.
func aggregate(t *testing.T) monitor.Plan {
	sh(t, `
		ip netns add sw
		ip link add eth0 type veth peer name port0 netns sw
		ip link add eth1 type veth peer name port1 netns sw
		ip link add bond0 type bond mode 802.3ad miimon 50 lacp_rate fast
		ip link set eth0 master bond0
		ip link set eth1 master bond0
		ip link set bond0 up
	`)
	return monitor.Plan{Filer: "f1", Timing: quick, Groups: []monitor.Group{
		{Name: "eth0", Layer: netquorum.LayerPhysical}, {Name: "eth1", Layer: netquorum.LayerPhysical},
		{Name: "bond0", Layer: netquorum.LayerBond, Members: []string{"eth0", "eth1"}},
	}}
}

// lacpSwitch makes an aggregate of ports at the switch's side.
func lacpSwitch(t *testing.T, name, options string, ports ...string) {
	t.Helper()
	sh(t, "ip -n sw link add "+name+" type bond mode 802.3ad miimon 50 "+options)
	for _, p := range ports {
		sh(t, "ip -n sw link set "+p+" down\nip -n sw link set "+p+" master "+name)
	}
	sh(t, "ip -n sw link set "+name+" up")
}

const lacpPatience = 60 * time.Second

func TestKernelLACP(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.Bonding) {
		return
	}
	plan := aggregate(t)
	lacpSwitch(t, "lag0", "lacp_rate fast", "port0", "port1")
	m := kernelMonitor(t, plan)
	partner := strings.TrimSpace(sh(t, "ip netns exec sw cat /sys/class/net/lag0/address"))
	const full = monitor.PortInSync | monitor.PortCollecting | monitor.PortDistributing
	good := func(s monitor.Snapshot) bool {
		b := s.Interface("bond0")
		if b.State != monitor.Running || b.LACP == nil || b.LACP.Partner.String() != partner || b.LACP.Ports != 2 || len(s.Findings) > 0 {
			return false
		}
		for _, m := range b.Members {
			if m.State != monitor.Running || !m.LACP.Actor.Has(full) || !m.LACP.Partners.Has(full) || m.LACP.Partner.String() != partner || m.LACP.ActorChurn == "" {
				return false
			}
		}
		return true
	}
	m.await("the bond and its switch agree", lacpPatience, good)
	t.Logf("%+v", *m.Snapshot().Interface("bond0").Members[0].LACP)

	sh(t, "ip -n sw link set port1 down")
	m.awaitState("eth1", monitor.Failed, 5*time.Second)
	if b := m.Snapshot().Interface("bond0"); b.State != monitor.Running {
		t.Errorf("with one member left, bond0 is %s: %s", b.State, b.Reason)
	}
	sh(t, "ip -n sw link set port0 down")
	m.awaitState("bond0", monitor.Failed, 5*time.Second)
	sh(t, "ip -n sw link set port0 up\nip -n sw link set port1 up")
	m.await("they agree again", lacpPatience, good)
}

// Every way in which a switch can fail to match, each with a bond of its own, all
// at once: LACP takes its time to find out.
func TestKernelLACPMisconfigured(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.Bonding, lab.Bridges) {
		return
	}
	sh(t, "ip netns add sw")
	plan := monitor.Plan{Filer: "f1", Timing: quick}
	tests := []struct {
		name string
		set  func(lag, a, b string)
		want monitor.FindingCode
		says []string
	}{
		{"the switch side is a plain bridge", func(lag, a, b string) {
			sh(t, "ip -n sw link add "+lag+" type bridge\nip -n sw link set "+lag+" up")
			for _, p := range []string{a, b} {
				sh(t, "ip -n sw link set "+p+" master "+lag+"\nip -n sw link set "+p+" up")
			}
		}, monitor.NoPartner, []string{"00:00:00:00:00:00", "eth0", "eth1"}},
		{"the members end at two switches", func(lag, a, b string) {
			lacpSwitch(t, lag+"a", "lacp_rate fast", a)
			lacpSwitch(t, lag+"b", "lacp_rate fast", b)
		}, monitor.PartnersDiffer, []string{"eth2 at", "eth3 at"}},
		{"one port of the switch is in no aggregate", func(lag, a, b string) {
			lacpSwitch(t, lag, "lacp_rate fast", a)
			sh(t, "ip -n sw link set "+b+" up")
		}, monitor.NotAggregated, []string{"eth5"}},
		{"one switch has the ports in two aggregates", func(lag, a, b string) {
			lacpSwitch(t, lag+"a", "lacp_rate fast ad_actor_system 02:00:00:00:00:aa ad_user_port_key 1", a)
			lacpSwitch(t, lag+"b", "lacp_rate fast ad_actor_system 02:00:00:00:00:aa ad_user_port_key 2", b)
		}, monitor.AggregatorsSplit, []string{"02:00:00:00:00:aa", "eth6 in", "eth7 in"}},
		{"the rates differ", func(lag, a, b string) { lacpSwitch(t, lag, "lacp_rate slow", a, b) }, monitor.RateDiffers, []string{"fast", "slow"}},
	}
	for n, test := range tests {
		bond := fmt.Sprintf("bond%d", n)
		sh(t, "ip link add "+bond+" type bond mode 802.3ad miimon 50 lacp_rate fast")
		g := monitor.Group{Name: bond, Layer: netquorum.LayerBond}
		for _, i := range []int{2 * n, 2*n + 1} {
			card := fmt.Sprintf("eth%d", i)
			sh(t, fmt.Sprintf("ip link add %s type veth peer name port%d netns sw\nip link set %s master %s", card, i, card, bond))
			g.Members = append(g.Members, card)
			plan.Groups = append(plan.Groups, monitor.Group{Name: card, Layer: netquorum.LayerPhysical})
		}
		sh(t, "ip link set "+bond+" up")
		plan.Groups = append(plan.Groups, g)
		test.set(fmt.Sprintf("lag%d", n), fmt.Sprintf("port%d", 2*n), fmt.Sprintf("port%d", 2*n+1))
	}
	m := kernelMonitor(t, plan)
	for n, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := m.awaitFinding(fmt.Sprintf("bond%d", n), test.want, lacpPatience)
			t.Log(f)
			for _, word := range test.says {
				if !strings.Contains(f.Message+f.Advice, word) {
					t.Errorf("%q is not in: %v", word, f)
				}
			}
		})
	}
}

// Two failover members, each a VLAN on an aggregate of one (N14): the hierarchy
// of the acceptance example.
func TestKernelFailoverGroup(t *testing.T) {
	if !inNamespace(t, lab.Cables, lab.Bonding, lab.VLAN, lab.MACVLAN) {
		return
	}
	sh(t, `
		ip netns add sw
		ip link add eth0 type veth peer name port0 netns sw
		ip link add eth1 type veth peer name port1 netns sw
		ip -n sw link set port0 up
		ip -n sw link set port1 up
		ip link add bond0 type bond mode active-backup miimon 50
		ip link add bond1 type bond mode active-backup miimon 50
		ip link set eth0 master bond0
		ip link set eth1 master bond1
		ip link set bond0 up
		ip link set bond1 up
		ip link add link bond0 name bond0.10 type vlan id 10
		ip link add link bond1 name bond1.10 type vlan id 10
		ip link add fail0 type bond mode active-backup miimon 50
		ip link set bond0.10 master fail0
		ip link set bond1.10 master fail0
		ip link set fail0 type bond primary bond0.10
		ip link set fail0 up
		ip link add data0 link fail0 type macvlan mode bridge
		ip link set data0 up
	`)
	m := kernelMonitor(t, monitor.Plan{Filer: "f1", Timing: quick, Groups: []monitor.Group{
		{Name: "eth0", Layer: netquorum.LayerPhysical}, {Name: "eth1", Layer: netquorum.LayerPhysical},
		{Name: "bond0", Layer: netquorum.LayerBond, Members: []string{"eth0"}},
		{Name: "bond1", Layer: netquorum.LayerBond, Members: []string{"eth1"}},
		{Name: "bond0.10", Layer: netquorum.LayerVLAN, Below: "bond0"},
		{Name: "bond1.10", Layer: netquorum.LayerVLAN, Below: "bond1"},
		{Name: "fail0", Layer: netquorum.LayerFailover, Members: []string{"bond0.10", "bond1.10"}, Primary: "bond0.10"},
		{Name: "data0", Layer: netquorum.LayerAlias, Below: "fail0"},
	}})
	states := func(want string) {
		t.Helper()
		m.await(want, 15*time.Second, func(s monitor.Snapshot) bool {
			for pair := range strings.FieldsSeq(want) {
				name, state, _ := strings.Cut(pair, "=")
				if string(s.Interface(name).State) != state {
					return false
				}
			}
			return true
		})
	}
	states("eth0=running bond0=running bond0.10=running bond1.10=standby fail0=running data0=running")
	sh(t, "ip -n sw link set port0 down")
	states("eth0=failed bond0=failed bond0.10=failed bond1.10=running fail0=running data0=running")
	if active := m.Snapshot().Interface("fail0").Active; active != "bond1.10" {
		t.Errorf("%q is in use, want bond1.10", active)
	}
	sh(t, "ip -n sw link set port1 down")
	states("bond1.10=failed fail0=failed data0=failed")
	sh(t, "ip -n sw link set port1 up")
	states("bond1.10=running fail0=running data0=running")
	sh(t, "ip -n sw link set port0 up")
	states("eth0=running bond0.10=running bond1.10=standby fail0=running data0=running")
	sh(t, "ip link set data0 down")
	states("fail0=running data0=offline")
	sh(t, "ip link del data0")
	m.awaitFinding("data0", monitor.LinkMissing, 5*time.Second)
}
