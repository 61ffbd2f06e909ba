package netquorum

import (
	"strings"
	"testing"
)

const vlanCluster = `
kind: Cluster
name: c
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
---
kind: Filer
name: f1
spec:
  group: main
  interfaces: [{name: bond0, members: [eth0]}, {name: bond1, members: [eth1]}, {name: bond0.10}, {name: bond1.TAG},
    {name: fail0, members: [bond0.10, bond1.TAG]}, {name: mgmt0, parent: fail0}, {name: data0, parent: fail0}]
---
kind: Filer
name: f2
spec:
  group: main
  interfaces: [{name: eth0.OTHER}, {name: mgmt0, parent: eth0.OTHER}, {name: data0, parent: eth0.OTHER}]
`

func TestFindingsOfVLANs(t *testing.T) {
	for _, test := range []struct{ name, tag, other, want string }{
		{"all in one VLAN", "10", "10", ""},
		{"a failover interface across VLANs", "20", "10", "members-vlan: fail0 has bond0.10 (in VLAN 10) and bond1.20 (in VLAN 20)"},
		{"one name, two VLANs", "10", "20", "alias-vlan: mgmt0 is in VLAN 10 on f1 and in VLAN 20 on f2; alias-vlan: data0 is in VLAN 10 on f1 and in VLAN 20 on f2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.NewReplacer("TAG", test.tag, "OTHER", test.other).Replace(vlanCluster)
			c := change(t, Config{}, parse(t, text))
			var got []string
			for _, f := range c.Findings() {
				if f.Code == FindingMembersVLAN || f.Code == FindingAliasVLAN {
					message, _, _ := strings.Cut(f.Message, " for members")
					message, _, _ = strings.Cut(message, ": servers")
					got = append(got, string(f.Code)+": "+message)
				}
			}
			if g := strings.Join(got, "; "); !sameParts(g, test.want) {
				t.Errorf("found %q, want %q", g, test.want)
			}
		})
	}
}

// sameParts compares lists whose order does not matter here.
func sameParts(a, b string) bool {
	x, y := strings.Split(a, "; "), strings.Split(b, "; ")
	if len(x) != len(y) {
		return false
	}
	for _, part := range x {
		if !strings.Contains("; "+b+"; ", "; "+part+"; ") {
			return false
		}
	}
	return true
}
