package netquorum

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAllowed(t *testing.T) {
	for _, tc := range []struct{ name, puts, deletes string }{
		{"one interface carries everything", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: mgmt0, parent: eth0, addresses: [10.9.9.1/24]}
  - {name: data0, parent: eth0}`, ""},
		{"a VLAN sits on any layer, an alias included", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: bond0, members: [eth1, eth2]}
  - {name: fail0, members: [bond0.7, eth3]}
  - {name: eth0.5}
  - {name: eth0.5.6}
  - {name: bond0.7}
  - {name: fail0.5}
  - {name: data0, parent: eth0}
  - {name: data0.5}
  - {name: mgmt1, parent: fail0.5}
  - {name: mgmt1.4094, addresses: [10.9.9.1/24]}`, ""},
		{"names are written in any case and kept in lower case", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: BOND0, members: [Eth1, eth2]}
  - {name: MGMT0, parent: Bond0, addresses: ['FD00:0:0::1/64']}`, ""},
		{"a failover interface fails over between bonds", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: bond0, members: [eth0, eth1]}
  - {name: bond1, members: [eth2, eth3]}
  - {name: fail0, members: [bond0, bond1], failover: {primary: bond0, primaryReselect: better, miimon: 50, upDelay: 200, failOverMac: active}}`, ""},
		{"jumbo frames for data and 1500 for management on one interface", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: eth0, mtu: 9000}
  - {name: data0, parent: eth0, mtu: 9000}
  - {name: mgmt0, parent: eth0, mtu: 1500, addresses: ['fd00::1/64']}`, ""},
		{"every option of 802.3ad at once", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: bond0, members: [eth0, eth1], bond: {mode: 802.3ad, lacpRate: slow, lacpActive: false, minLinks: 2, adSelect: count, adSystem: '02:00:00:00:00:01', adPriority: 65535, adUserPortKey: 1023, xmitHashPolicy: layer3+4, miimon: 50, downDelay: 100}}`, ""},
		{"ARP probes with a mode that takes them", `
kind: Filer
name: X
spec:
  interfaces:
  - {name: bond0, members: [eth0, eth1], bond: {mode: active-backup, primary: eth1, arpInterval: 250, arpTargets: [10.0.0.1, 'fd00::1']}}`, ""},
		{"a filer replaces an interface of its group", `
kind: FilerGroup
name: g
spec:
  interfaces:
  - {name: bond0, members: [eth0, eth1]}
  - {name: data0, parent: bond0}
---
kind: Filer
name: X
spec:
  group: g
  interfaces:
  - {name: bond0, members: [eth2]}
  - {name: mgmt0, parent: eth0}`, ""},
		{"a group leaves to its filers what its aliases stand on", `
kind: FilerGroup
name: g
spec:
  interfaces:
  - {name: data0, parent: fail0}`, ""},
		{"point to point subnets have no broadcast address", `
kind: VirtualServer
name: X
spec:
  group: main
  addresses:
  - {alias: data0, instance: 0, prefix: 10.9.9.0/31}
  - {alias: data0, instance: 1, prefix: 10.9.9.255/32}
  - {alias: data1, instance: 0, prefix: 'fd00::/127'}`, ""},
		{"vs_mgmt is on mgmt and data aliases", `
kind: VirtualServer
name: vs_mgmt
spec:
  group: main
  addresses:
  - {alias: mgmt0, prefix: 10.1.1.100/24}
  - {alias: data0, prefix: 10.9.9.1/24}`, ""},
		{"a group may be described before its filers are", `
kind: FilerGroup
name: later
---
kind: VirtualServer
name: X
spec:
  group: later
  addresses:
  - {alias: data9, prefix: 10.9.9.1/24}`, ""},
		{"references ignore case", "kind: VirtualServer\nname: X\nspec: {group: MAIN, routes: A-OUT}", ""},
		{"two virtual servers swap their addresses in one change", `
kind: VirtualServer
name: VsvrC
spec:
  group: main
  addresses:
  - {alias: data2, prefix: 10.3.4.1/24}
---
kind: VirtualServer
name: VsvrB
spec:
  group: main
  addresses:
  - {alias: data0, prefix: 10.3.5.1/24}`, ""},
		{"an address of what the same change deletes is free", "kind: VirtualServer\nname: X\nspec:\n  group: main\n  addresses:\n  - {alias: data0, prefix: 10.3.5.1/24}", "VirtualServer/VsvrC"},
		{"another Cluster document takes the place of the first", "kind: Cluster\nname: other\nspec: {mac: '00:07:34:04:12:0f'}", "Cluster/acme"},
		{"what is deleted and put again is put", "kind: VirtualServer\nname: VsvrC\nspec: {group: main}", "VirtualServer/VsvrC"},
		{"deleting a document and its last users at once", "", "Routes/b-out VirtualServer/VsvrB"},
		{"deleting what is not there", "", "Routes/none"},
		{"the cluster's own documents hold nothing", `
kind: Placement
name: VsvrC
spec: {filer: gone, epoch: 3}
---
kind: Member
name: gone
spec: {id: a}`, "VirtualServer/VsvrC"},
		{"a link-local gateway by the alias it is on", `
kind: Routes
name: six
spec:
  routes:
  - {to: default, via: 'fe80::1', alias: data0}
---
kind: VirtualServer
name: X
spec:
  group: main
  routes: six
  addresses:
  - {alias: data0, instance: 0, prefix: 'fd00::1/64'}
  - {alias: data1, instance: 0, prefix: 'fd01::1/64'}`, ""},
		{"a policy for who has no address yet", `
kind: FilerGroup
name: main
spec: {routes: m}
---
kind: Routes
name: m
spec:
  routes:
  - {to: default, via: 10.1.1.254, alias: mgmt1}`, ""},
		{"a record has a path for a name, and any value", "kind: Record\nname: nfs/exports/vol0\nspec: {type: nfs, data: [1, {b: null, a: 'x'}]}", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := acceptance(t)
			var deletes []Key
			for k := range strings.FieldsSeq(tc.deletes) {
				deletes = append(deletes, key(k))
			}
			var puts []Document
			if tc.puts != "" {
				puts = parse(t, tc.puts)
			}
			next := change(t, base, puts, deletes...)
			for _, d := range puts {
				if got, ok := next.Get(d.Kind, d.Name); !ok || !got.Equal(d) {
					t.Errorf("%s was put and is not there", d.Key())
				}
			}
		})
	}
}

func TestChangeRefusesWhatNoFileCanSay(t *testing.T) {
	rec := func(data string) Document {
		return Document{Kind: KindRecord, Name: "a", Spec: &Record{Data: []byte(data)}}
	}
	big := strings.Repeat("x", 100)
	names := []string{}
	for range 4000 {
		names = append(names, big)
	}
	for _, tc := range []struct {
		name string
		puts []Document
		want string
	}{
		{"an unknown kind", []Document{{Kind: "Gizmo", Name: "a", Spec: &Record{}}}, "Gizmo/a kind document-kind"},
		{"no spec", []Document{{Kind: KindRecord, Name: "a"}}, "Record/a spec document-kind"},
		{"the spec of another kind", []Document{{Kind: KindRecord, Name: "a", Spec: &Routes{}}}, "Record/a spec document-kind"},
		{"a document twice", []Document{rec("1"), rec("2")}, "Record/a  document-once"},
		{"data that is no JSON", []Document{rec("{")}, "Record/a spec.data record-data"},
		{"data that is not text", []Document{rec("\"\xff\"")}, "Record/a spec.data record-data"},
		{"data with space in it", []Document{rec(`{"a": 1}`)}, "Record/a spec.data record-data"},
		{"data with a key twice", []Document{rec(`{"a":1,"a":2}`)}, "Record/a spec.data record-data"},
		{"data with keys out of order", []Document{rec(`{"b":1,"a":2}`)}, "Record/a spec.data record-data"},
		{"data with a needless escape", []Document{rec(`"\u0041"`)}, "Record/a spec.data record-data"},
		{"a name in upper case, and one that is none", []Document{{Kind: KindFiler, Name: "X", Spec: &Filer{Interfaces: []Interface{{Name: "ETH0"}, {Name: "lo"}}}}},
			"Filer/X spec.interfaces[0].name interface-name\nFiler/X spec.interfaces[1].name interface-name"},
		{"parts that are no names", []Document{{Kind: KindFiler, Name: "X", Spec: &Filer{Interfaces: []Interface{{Name: "bond0", Members: []InterfaceName{"lo"}}, {Name: "mgmt0", Parent: "wlan0"}}}}},
			"Filer/X spec.interfaces[0].members[0] interface-name\nFiler/X spec.interfaces[1].parent interface-name"},
		{"a document too large for the log", []Document{{Kind: KindVirtualServer, Name: "X", Spec: &VirtualServer{Group: "main", Addresses: []Address{
			{Alias: "data0", Prefix: mustPrefix("10.9.9.1/24"), Names: names}}}}}, "VirtualServer/X spec document-size"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, problems := acceptance(t).Change(tc.puts, nil)
			got := briefly(slices.DeleteFunc(problems, func(p Problem) bool { return p.Rule == RuleAddressName }))
			if strings.TrimSpace(got) != tc.want {
				t.Errorf("broken rules: got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func mustPrefix(s string) netip.Prefix {
	p, err := parsePrefix(s)
	if err != nil {
		panic(err)
	}
	return p
}

// The hash of a port's MAC is 46 bits long; nobody waits for two to be equal.
// This test makes a claim as if they were.
func TestPortsNeedDifferentMACs(t *testing.T) {
	c := acceptance(t)
	taken := claimPort(key("VirtualServer/other"), "data0", "name")
	taken.owner = key("VirtualServer/other")
	mine := claimPort(key("VirtualServer/X"), "data0", "name")
	claims, _, _ := c.claims.Insert([]byte(mine.thing), taken)
	c.claims = claims
	_, problems := c.Change(parse(t, server("alias: data0, prefix: 10.9.9.1/24")), nil)
	if got := strings.TrimSpace(briefly(problems)); got != "VirtualServer/X name port-mac of VirtualServer/other" {
		t.Errorf("broken rules: %s", got)
	}
}

func TestProblemsNameWhereAndWhatToDo(t *testing.T) {
	_, problems := acceptance(t).Change(parse(t, strings.Replace(server("alias: data0, prefix: 10.3.5.1/24"), "X", "Z", 1)), nil)
	const want = "VirtualServer/Z: spec.addresses[0].prefix: address 10.3.5.1 belongs to VirtualServer/VsvrC already (spec.addresses[0].prefix); choose another or remove it there [address-unique]"
	if problems.Error() != want {
		t.Errorf("got  %s\nwant %s", problems, want)
	}
	text, err := json.Marshal(problems[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"owner":{"kind":"VirtualServer","name":"VsvrC"}`) {
		t.Errorf("the JSON form does not name the owner: %s", text)
	}
}

func TestOldConfigurationsAreNotChanged(t *testing.T) {
	old := acceptance(t)
	hash, n := old.Hash(), old.Len()
	new := change(t, old, parse(t, "kind: VirtualServer\nname: VsvrA\nspec: {group: main}"), key("VirtualServer/VsvrB"))
	if old.Hash() != hash || old.Len() != n || new.Len() != n-1 || new.Hash() == hash {
		t.Error("the old configuration changed with the new one")
	}
	if _, _, taken := new.OwnerOf(mustPrefix("10.3.4.1/24").Addr()); taken {
		t.Error("a deleted server still has its address")
	}
	if owner, _, _ := old.OwnerOf(mustPrefix("10.3.4.1/24").Addr()); owner != key("VirtualServer/VsvrB") {
		t.Error("the old configuration lost an address")
	}
}
