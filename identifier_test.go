package netquorum

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdentifiersOfTheSourceDocuments(t *testing.T) {
	c := acceptance(t)
	_, cluster, _ := c.Cluster()
	got := map[string]string{}
	for h := range c.Hosted() {
		for _, a := range h.Addresses {
			id := HostClientIdentifier(cluster.MAC, a.Alias, h.Key.Name)
			if h.Key.Kind == KindVirtualServer {
				id = ClientIdentifier(cluster.MAC, a.Alias, h.Key.Name, a.Instance)
			}
			got[id] = a.Prefix.Addr().String()
		}
	}
	for d := range c.All(KindFiler) {
		for _, i := range c.Interfaces(d.Name) {
			for _, a := range i.Addresses {
				got[HostClientIdentifier(cluster.MAC, i.Name, d.Name)] = a.Addr().String()
			}
		}
	}
	want := map[string]string{
		"00:07:34:04:12:0E:data0:VsvrA:0":        "10.2.2.1",
		"00:07:34:04:12:0E:data0:VsvrA:1":        "10.3.3.1",
		"00:07:34:04:12:0E:data0:VsvrB:0":        "10.3.4.1",
		"00:07:34:04:12:0E:data1:VsvrA:0":        "10.2.2.3",
		"00:07:34:04:12:0E:mgmt0:Filer1":         "10.1.1.2",
		"00:07:34:04:12:0E:mgmt1:Filer1":         "10.1.1.3",
		"00:07:34:04:12:0E:san0:Filer1":          "10.2.2.2",
		"00:07:34:04:12:0E:data2:VsvrC:0":        "10.3.5.1",
		"00:07:34:04:12:0E:mgmt0:Filer2":         "10.1.1.4",
		"00:07:34:04:12:0E:mgmt1:Filer2":         "10.1.1.5",
		"00:07:34:04:12:0E:san0:Filer2":          "10.2.2.4", // 10.2.2.3 in the source, which VsvrA has
		"00:07:34:04:12:0E:mgmt0:MySQLMgmtNode":  "10.1.1.10",
		"00:07:34:04:12:0E:mgmt1:MySQLMgmtNode":  "10.1.1.11",
		"00:07:34:04:12:0E:mgmt0:MySQLDataNode1": "10.1.1.12",
		"00:07:34:04:12:0E:mgmt1:MySQLDataNode1": "10.1.1.13",
		"00:07:34:04:12:0E:mgmt0:MySQLDataNode2": "10.1.1.14",
		"00:07:34:04:12:0E:mgmt1:MySQLDataNode2": "10.1.1.15",
		"00:07:34:04:12:0E:mgmt0:MySQLAppNode1":  "10.1.1.16",
		"00:07:34:04:12:0E:mgmt1:MySQLAppNode1":  "10.1.1.17",
		"00:07:34:04:12:0E:mgmt0:MySQLAppNode2":  "10.1.1.18",
		"00:07:34:04:12:0E:mgmt1:MySQLAppNode2":  "10.1.1.19",
		"00:07:34:04:12:0E:mgmt0:MySQLAppNode3":  "10.1.1.20",
		"00:07:34:04:12:0E:mgmt1:MySQLAppNode3":  "10.1.1.21",
		"00:07:34:04:12:0E:mgmt0:Filer3":         "10.1.1.6", // the third filer is ours
		"00:07:34:04:12:0E:mgmt1:Filer3":         "10.1.1.7",
		"00:07:34:04:12:0E:san0:Filer3":          "10.2.2.5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("client identifiers (-want +got):\n%s", diff)
	}
}

func TestPortMACs(t *testing.T) {
	a, b := MAC{0, 7, 0x34, 4, 0x12, 0x0e}, MAC{0, 7, 0x34, 4, 0x12, 0x0f}
	seen := map[MAC]string{}
	for i, cluster := range []MAC{a, b} {
		for _, owner := range []string{"VirtualServer/a", "VirtualServer/b", "Service/a", "Filer/a"} {
			for _, alias := range []InterfaceName{"data0", "data1", "mgmt0"} {
				mac := PortMAC(cluster, key(owner), alias)
				what := fmt.Sprint(i, owner, alias)
				if other, taken := seen[mac]; taken {
					t.Errorf("%s and %s have the MAC %s", what, other, mac)
				}
				seen[mac] = what
				if mac.Multicast() || mac[0]&2 == 0 {
					t.Errorf("%s has %s, which is not unicast and locally administered", what, mac)
				}
			}
		}
	}
	if PortMAC(a, key("VirtualServer/VsvrA"), "data0") != PortMAC(a, key("VirtualServer/vsvra"), "data0") {
		t.Error("the MAC depends on the case of the name")
	}
	// Neighbours remember it: a new version of the product must not change it.
	if got := PortMAC(a, key("VirtualServer/VsvrA"), "data0").String(); got != "6a:1c:cd:d5:63:7f" {
		t.Errorf("the MAC of VsvrA on data0 is %s", got)
	}
}
