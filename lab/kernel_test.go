package lab

import (
	"os"
	"strings"
	"testing"
)

// The acceptance topology with one filer's links made by hand, as the daemon
// would: the switches' side of LACP and of the VLANs must be there for it.
func TestKernelSwitchesSpeakLACPAndVLANs(t *testing.T) {
	text, err := os.ReadFile("../examples/two-filers.topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := raise(t, string(text), Options{})
	for _, script := range []string{
		"ip link add bond0 type bond mode 802.3ad miimon 100 lacp_rate fast",
		"ip link set eth0 master bond0", "ip link set eth1 master bond0", "ip link set bond0 up",
		"ip link add link bond0 name bond0.10 type vlan id 10", "ip link set bond0.10 up",
		"ip link add mgmt0 link bond0.10 type macvlan mode bridge", "ip link set mgmt0 up",
		"ip addr add 10.2.2.77/24 dev mgmt0", "ip route add default via 10.2.2.254",
	} {
		out(t, l, "filer1", strings.Fields(script)...)
	}
	partner := func() string {
		return strings.TrimSpace(out(t, l, "filer1", "cat", "/sys/class/net/bond0/bonding/ad_partner_mac"))
	}
	eventually(t, "LACP finds the switch, with both ports in one aggregator", func() bool {
		ports := strings.TrimSpace(out(t, l, "filer1", "cat", "/sys/class/net/bond0/bonding/ad_num_ports"))
		return partner() != "00:00:00:00:00:00" && ports == "2"
	})
	eventually(t, "the gateway in VLAN 10 answers", func() bool { return reaches(t, l, "filer1", "10.2.2.254") })
	eventually(t, "the client behind it answers", func() bool { return reaches(t, l, "filer1", "192.0.2.100") })

	// A port in VLAN 20 does not reach VLAN 10.
	out(t, l, "filer2", "ip", "addr", "add", "10.2.2.78/24", "dev", "eth4")
	out(t, l, "filer2", "ip", "link", "set", "eth4", "up")
	if reaches(t, l, "filer2", "10.2.2.254") {
		t.Error("VLAN 20 reaches VLAN 10")
	}
	out(t, l, "filer2", "ip", "addr", "add", "10.3.5.78/24", "dev", "eth4")
	eventually(t, "the gateway in VLAN 20 answers", func() bool { return reaches(t, l, "filer2", "10.3.5.254") })

	// One cable of the aggregate, then the other: only then is it silent.
	if err := l.SetLink("filer1", "eth0", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one port is enough", func() bool { return reaches(t, l, "filer1", "10.2.2.254") })
	if err := l.SetLink("filer1", "eth1", false); err != nil {
		t.Fatal(err)
	}
	if reaches(t, l, "filer1", "10.2.2.254") {
		t.Error("the gateway is reached with both cables out")
	}
	if err := l.SetCables(true, "filer1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway answers again", func() bool { return reaches(t, l, "filer1", "10.2.2.254") })

	// A partition takes whole aggregates along.
	if err := l.Partition("filer1", "gw-b"); err != nil {
		t.Fatal(err)
	}
	if reaches(t, l, "filer1", "10.2.2.254") {
		t.Error("gw-a is reached across the partition")
	}
	out(t, l, "filer1", "ip", "addr", "add", "10.3.4.77/24", "dev", "mgmt0")
	eventually(t, "gw-b answers, over both switches", func() bool { return reaches(t, l, "filer1", "10.3.4.254") })
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "gw-a answers", func() bool { return reaches(t, l, "filer1", "10.2.2.254") })
	if err := l.PowerCycle(false, "filer1"); err != nil {
		t.Fatal(err)
	}
	if links := out(t, l, "filer1", "ip", "-br", "link"); strings.Contains(links, "bond0") || strings.Count(links, "eth") != 4 {
		t.Errorf("after a power cycle there are:\n%s", links)
	}
}
