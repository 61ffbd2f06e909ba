package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/lab"
)

// fourCards is what each filer of the acceptance example has: two LACP bonds,
// a VLAN on either, a failover interface of the two VLANs, and aliases on that.
var fourCards = wantLinks{
	"eth0":     "veth of bond0 mtu 9000",
	"eth1":     "veth of bond0 mtu 9000",
	"eth2":     "veth of bond1 mtu 9000",
	"eth3":     "veth of bond1 mtu 9000",
	"bond0":    "bond mode 802.3ad lacp fast hash layer3+4 mtu 9000",
	"bond1":    "bond mode 802.3ad lacp fast hash layer3+4 mtu 9000",
	"bond0.10": "vlan tag 10 on bond0 of fail0 mtu 9000",
	"bond1.10": "vlan tag 10 on bond1 of fail0 mtu 9000",
	"fail0":    "bond mode active-backup mtu 9000",
	"mgmt0":    "macvlan on fail0 mtu 1500",
	"mgmt1":    "macvlan on fail0 mtu 1500",
	"san0":     "macvlan on fail0 mtu 9000",
	"data0":    "macvlan on fail0 mtu 9000",
	"data1":    "macvlan on fail0 mtu 1500",
}

// sixCards is what filer2 has beside that.
var sixCards = wantLinks{
	"eth4":  "veth of fail1 mtu 1500",
	"eth5":  "veth of fail1 mtu 1500",
	"fail1": "bond mode active-backup mtu 1500",
	"data2": "macvlan on fail1 mtu 1500",
}

// acceptanceLinks is the table of the acceptance example.
func acceptanceLinks(filer string) wantLinks {
	all := maps.Clone(fourCards)
	if filer == "filer2" {
		maps.Copy(all, sixCards)
	}
	return all
}

// The acceptance example of the source documents, in real kernels.
func TestVMTwoFilers(t *testing.T) {
	c := formed(t, "two-filers", lab.VRF)
	config := c.configuration()

	t.Run("every link of the table exists with its kind, mode, members, parent and MTU", func(t *testing.T) {
		for _, f := range c.filers() {
			if err := c.in(t).missingLinks(f, acceptanceLinks(f)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("each address sits on its link and nowhere else", func(t *testing.T) {
		c := c.in(t)
		hosts := c.hosts("filer1")
		for server, host := range hosts {
			if host == "" {
				t.Errorf("%s is hosted by nobody", server)
			}
		}
		if err := c.misplaced(config, hosts); err != nil {
			t.Error(err)
		}
	})
	t.Run("the monitors agree with the switches", func(t *testing.T) { c.in(t).monitored() })
	t.Run("VsvrA answers the client on all its addresses", func(t *testing.T) {
		for _, a := range []string{"10.2.2.1", "10.3.3.1", "10.2.2.3"} {
			c.in(t).reaches("client", a)
		}
	})
	t.Run("VsvrA and VsvrB leave by their own gateways", func(t *testing.T) {
		c := c.in(t)
		for _, gateway := range []string{"gw-a", "gw-b"} {
			c.sh(gateway, "nft add table ip seen; nft add chain ip seen forward '{ type filter hook forward priority 0 ; }'; nft add counter ip seen a; nft add counter ip seen b; "+
				"nft add rule ip seen forward ip saddr 10.2.2.1 counter name a; nft add rule ip seen forward ip saddr 10.3.4.1 counter name b")
		}
		for _, v := range []struct{ server, address, counter, gateway, other string }{
			{"VsvrA", "10.2.2.1", "a", "gw-a", "gw-b"},
			{"VsvrB", "10.3.4.1", "b", "gw-b", "gw-a"},
		} {
			host := c.host("filer1", v.server)
			domain := c.domainOf(host, v.server)
			c.exec(host, "ping", "-c3", "-i0.3", "-W5", "-I", domain, "-I", v.address, "192.0.2.100")
			if n := c.counted(v.gateway, v.counter); n < 3 {
				t.Errorf("%s forwarded %d packets of %s, want 3 or more", v.gateway, n, v.server)
			}
			if n := c.counted(v.other, v.counter); n > 0 {
				t.Errorf("%s forwarded %d packets of %s, whose gateway is %s", v.other, n, v.server, v.gateway)
			}
		}
	})
	t.Run("VsvrC is reported as unable to fail over, with the missing alias and the filers named", func(t *testing.T) {
		c.in(t).expect(c.in(t).cli("filer3", "", "status"), 0,
			"VirtualServer/VsvrC: only filer2 can host it, and it cannot fail over: filer1 lacks data2; filer3 lacks data2")
	})
	t.Run("the source's duplicate 10.2.2.3 is refused, naming both owners", func(t *testing.T) {
		c := c.in(t)
		source := strings.Replace(read(t, c.example.config), "10.2.2.4/24", "10.2.2.3/24", 1)
		c.changesNothing("filer1", func() {
			c.expect(c.cli("filer1", source, "apply", "-f", "-"), 1, "10.2.2.3", "Filer/filer2", "VirtualServer/VsvrA", "refused")
		})
	})
	others := plantForeign(c, "fail0")
	t.Run("applying the same again changes nothing, of ours or of others", func(t *testing.T) {
		c := c.in(t)
		c.appliesToNothing()
		others.survives(c, "after applying again")
	})
	t.Run("each daemon keeps to 45 MB of memory", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.filers() {
			out := c.sh(f, `for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = netquorum ] && grep VmRSS $p/status; done; true`)
			var kb int
			if _, err := fmt.Sscanf(out, "VmRSS: %d kB", &kb); err != nil {
				t.Fatalf("%s: %v in %q", f, err, out)
			}
			t.Logf("%s: %.1f MB resident", f, float64(kb)/1000)
			if kb > 45_000 {
				t.Errorf("%s has %d kB resident, want 45,000 or less", f, kb)
			}
		}
	})
	drift(t, c, driftBound(), vmDrift)
	t.Run("what is not ours survives repairs", func(t *testing.T) {
		others.survives(c.in(t), "after repairs")
	})
	t.Run("what is not ours survives the move of a virtual server", func(t *testing.T) {
		c := c.in(t)
		moves(c, c.host("filer1", "VsvrA"), "VsvrA")
		others.survives(c, "after a virtual server moved")
	})
	t.Run("what is not ours survives daemons that are killed and started", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.filers() {
			if err := c.KillDaemon(f); err != nil {
				t.Fatal(err)
			}
			if err := c.StartDaemon(f); err != nil {
				t.Fatal(err)
			}
		}
		c.settled("filer1")
		others.survives(c, "after the daemons were restarted")
	})
	t.Run("all filers lose their power with the cables out, and boot as they were", func(t *testing.T) {
		morningAfter(c.in(t), acceptanceLinks, "VsvrA")
	})
}

// vmDrift is what can happen to a filer of the acceptance example.
var vmDrift = []drifting{
	{"an alias is deleted", "ip link del data0", "ip -d link show data0 | sed 's/^[0-9]*: //; s/state [A-Z]*//'"},
	{"a member leaves its bond", "ip link set eth1 nomaster", "ip -j -d link show eth1 | grep -o '\"master\":\"[a-z0-9]*\"'; cat /sys/class/net/eth1/mtu"},
	{"a VLAN is deleted", "ip link del bond1.10", "ip -j -d link show bond1.10 | grep -o '\"master\":\"[a-z0-9]*\"'; cat /sys/class/net/bond1.10/mtu"},
}

// domainOf is the VRF of a virtual server on its host.
func (c *cluster) domainOf(host, server string) string {
	c.t.Helper()
	for _, l := range c.links(host) {
		if l.Info.Kind == "vrf" && strings.Contains(strings.ToLower(l.Purpose+" "+l.Name), strings.ToLower(server)) {
			return l.Name
		}
	}
	c.t.Fatalf("%s has no VRF for %s", host, server)
	return ""
}

// counted reads a counter of the firewall of a gateway.
func (c *cluster) counted(gateway, counter string) (n int) {
	c.t.Helper()
	out := c.exec(gateway, "nft", "list", "counter", "ip", "seen", counter)
	if _, err := fmt.Sscanf(out[strings.Index(out, "packets"):], "packets %d", &n); err != nil {
		c.t.Fatalf("%s: %v in:\n%s", gateway, err, out)
	}
	return n
}
