package netquorum

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestNextInterface(t *testing.T) {
	c := acceptance(t)
	for stem, want := range map[string]InterfaceName{"data": "data3", "DATA": "data3", "mgmt": "mgmt2", "san": "san1", "bond": "bond2", "fail": "fail2"} {
		if got, err := NextInterface(c.Documents(), stem); err != nil || got != want {
			t.Errorf("the next %s is %s, %v; want %s", stem, got, err, want)
		}
	}
	for _, stem := range []string{"eth", "data0", "", "veth"} {
		if got, err := NextInterface(c.Documents(), stem); err == nil || !strings.Contains(err.Error(), "bond, fail, mgmt, data, san") {
			t.Errorf("the next %q is %q, %v", stem, got, err)
		}
	}
	// Gaps are filled; whoever speaks of a name has it, also by a VLAN on it.
	docs := parse(t, `
kind: Filer
name: a
spec: {interfaces: [{name: data0, parent: eth0}, {name: data2.5}, {name: mgmt0, parent: bond0}, {name: fail0, members: [bond1.10, eth3]}]}
---
kind: FilerGroup
name: g
spec: {interfaces: [{name: data1, parent: eth0}]}
---
kind: VirtualServer
name: v
spec: {group: g, addresses: [{alias: data3, prefix: 10.1.1.1/24}]}
---
kind: Service
name: s
spec: {group: g, addresses: [{alias: mgmt1, prefix: 10.1.1.2/24}]}
---
kind: Routes
name: r
spec: {routes: [{via: 10.1.1.3, alias: san0}]}
`)
	for stem, want := range map[string]InterfaceName{"data": "data4", "mgmt": "mgmt2", "san": "san1", "bond": "bond2", "fail": "fail1"} {
		if got, err := NextInterface(slices.Values(docs), stem); err != nil || got != want {
			t.Errorf("the next %s is %s, %v; want %s", stem, got, err, want)
		}
	}
	all := make([]Interface, 0, maxInstanceNumber+1)
	for n := range maxInstanceNumber + 1 {
		all = append(all, Interface{Name: InterfaceName("data" + strconv.Itoa(n))})
	}
	full := Document{Kind: KindFilerGroup, Name: "g", Spec: &FilerGroup{Interfaces: all}}
	if got, err := NextInterface(slices.Values([]Document{full}), "data"); err == nil {
		t.Errorf("after the last one comes %s", got)
	}
}
