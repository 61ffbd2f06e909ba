package netquorum

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheExampleHasOneFinding(t *testing.T) {
	got := acceptance(t).Findings()
	want := []Finding{{key("VirtualServer/VsvrC"), FindingCannotFailOver,
		"only Filer2 can host it, and it cannot fail over: Filer1 lacks data2; Filer3 lacks data2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestFindings(t *testing.T) {
	const group = "kind: FilerGroup\nname: g\n---\n"
	for _, tc := range []struct{ name, puts, want string }{
		{"a policy that nobody names", routes("to: default, via: 10.9.9.1"), "Routes/X unused: no filer, group, virtual server or service names this policy"},
		{"a group of nothing", "kind: FilerGroup\nname: g", "FilerGroup/g unused: no filer, virtual server or service is in this group"},
		{"a group without filers", group + "kind: VirtualServer\nname: X\nspec:\n  group: g\n  addresses:\n  - {alias: data0, prefix: 10.9.9.1/24}",
			"FilerGroup/g no-filer: the group has no filers; its 1 virtual servers and services are hosted nowhere"},
		{"a group of one filer", group + "kind: VirtualServer\nname: X\nspec: {group: g}\n---\nkind: Filer\nname: X\nspec:\n  group: g\n  interfaces: [{name: mgmt0, parent: eth0}]",
			"FilerGroup/g one-filer: the group has one filer; its 1 virtual servers and services cannot fail over\nVirtualServer/X no-address: it has no address"},
		{"a filer by itself", "kind: Filer\nname: X", "Filer/X no-group: the filer is in no group and hosts no virtual server\nFiler/X no-management: the filer has no mgmt alias, so that it cannot be reached for management"},
		{"members that do not help", group + "kind: Filer\nname: X\nspec:\n  group: g\n  interfaces:\n  - {name: bond0, members: [eth0]}\n  - {name: bond1, members: [eth1, eth2]}\n  - {name: bond1.5}\n  - {name: bond1.6}\n  - {name: fail0, members: [bond1.5, bond1.6]}\n  - {name: mgmt0, parent: fail0}",
			"Filer/X members-vlan: fail0 has bond1.5 (in VLAN 5) and bond1.6 (in VLAN 6) for members: what it reaches changes with the member in use; give all the same VLAN\nFiler/X one-member: bond0 has the one member eth0; when that fails, all on bond0 fails\nFiler/X same-link: all members of fail0 are on bond1 and fail with it"},
		{"jumbo frames over nobody knows what", group + "kind: Filer\nname: X\nspec:\n  group: g\n  interfaces:\n  - {name: mgmt0, parent: eth0, mtu: 9000}",
			"Filer/X mtu-unset: mgmt0 asks for an MTU of 9000 and eth0 below it for none, which usually means 1500; list eth0 with an mtu"},
		{"a virtual server that some filers cannot host", "kind: Filer\nname: Filer1\nspec:\n  group: main\n  interfaces:\n  - {name: mgmt0, parent: eth0}\n  - {name: mgmt1, parent: eth0}\n  - {name: data0, parent: eth0}",
			"VirtualServer/VsvrA fewer-hosts: not every filer of group main can host it: Filer1 lacks data1"},
		{"vs_mgmt out of the filers' reach", strings.Replace(server("alias: data0, prefix: 10.9.9.1/24"), "X", "vs_mgmt", 1),
			"VirtualServer/vs_mgmt no-mgmt-address: it has no address on a mgmt alias, where every filer could reach it"},
		{"a member without a document", "kind: Member\nname: X\nspec: {id: a}",
			"Member/X member-without-filer: the filer is a member of the cluster and has no Filer document; add one, or remove the member"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := acceptance(t)
			had := map[Finding]bool{}
			for _, f := range base.Findings() {
				had[f] = true
			}
			var got []string
			for _, f := range change(t, base, parse(t, tc.puts)).Findings() {
				if !had[f] {
					got = append(got, f.Document.String()+" "+string(f.Code)+": "+f.Message)
				}
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("new findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	c := acceptance(t)
	want := map[string][]Candidate{
		"VsvrA":         {{Filer: "Filer1"}, {Filer: "Filer2"}, {Filer: "Filer3"}},
		"VsvrB":         {{Filer: "Filer1"}, {Filer: "Filer2"}, {Filer: "Filer3"}},
		"VsvrC":         {{Filer: "Filer1", Missing: []InterfaceName{"data2"}}, {Filer: "Filer2"}, {Filer: "Filer3", Missing: []InterfaceName{"data2"}}},
		"MySQLMgmtNode": {{Filer: "Filer1"}, {Filer: "Filer2"}, {Filer: "Filer3"}},
	}
	for h := range c.Hosted() {
		if w, ok := want[h.Key.Name]; ok {
			if diff := cmp.Diff(w, c.Candidates(h)); diff != "" {
				t.Errorf("candidates of %s (-want +got):\n%s", h.Key, diff)
			}
		}
	}
	if got := c.Candidates(Hosted{Group: "none"}); got != nil {
		t.Errorf("a group that does not exist has the candidates %v", got)
	}
	if got := (Config{}).Candidates(Hosted{Group: "main"}); got != nil {
		t.Errorf("an empty configuration has the candidates %v", got)
	}
}

func TestManagementServerComesFirst(t *testing.T) {
	c := change(t, acceptance(t), parse(t, "kind: VirtualServer\nname: VS_mgmt\nspec:\n  group: main\n  addresses:\n  - {alias: mgmt0, prefix: 10.1.1.100/24}"))
	var got []string
	for h := range c.Hosted() {
		got = append(got, h.Key.Name)
	}
	want := "VS_mgmt VsvrA VsvrB VsvrC MySQLAppNode1 MySQLAppNode2 MySQLAppNode3 MySQLDataNode1 MySQLDataNode2 MySQLMgmtNode"
	if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
