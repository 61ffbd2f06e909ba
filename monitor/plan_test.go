package monitor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum"
)

const planned = `
kind: Cluster
name: c
spec: {mac: "00:07:34:04:12:0e"}
---
kind: Routes
name: out
spec: {routes: [{to: default, via: 10.2.2.254}, {to: default, via: "fe80::1", alias: data0}]}
---
kind: Routes
name: office
spec: {routes: [{to: default, via: 10.1.1.254}]}
---
kind: FilerGroup
name: main
spec:
  routes: office
  interfaces: [{name: fail0, members: [eth0, eth1], failover: {primary: eth1}}, {name: fail0.7}, {name: data0, parent: fail0.7}]
---
kind: Filer
name: f1
spec: {group: main, interfaces: [{name: mgmt0, parent: fail0, addresses: [10.1.1.1/24, "2001:db8::1/64"]}]}
---
kind: Filer
name: f2
spec: {group: main, interfaces: [{name: mgmt0, parent: fail0, addresses: [10.1.1.2/24]}]}
---
kind: Member
name: f1
spec: {id: 00000000-0000-4000-8000-000000000001}
---
kind: Member
name: f2
spec: {id: 00000000-0000-4000-8000-000000000002}
---
kind: VirtualServer
name: web
spec: {group: main, routes: out, addresses: [{alias: data0, prefix: 10.2.2.1/24}, {alias: data0, instance: 1, prefix: "2001:db8:2::1/64"}]}
---
kind: VirtualServer
name: vs_mgmt
spec: {group: main, addresses: [{alias: mgmt0, prefix: 10.1.1.100/24}]}
`

func configured(t *testing.T, yaml string) netquorum.Config {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

func (t Target) text() string {
	how := "distant"
	if t.OnLink {
		how = "on link"
	}
	return fmt.Sprintf("%s %s %s %s from %v", t.Interface, t.Address, t.Reason, how, t.Source)
}

func targetsOf(p Plan) (out []string) {
	for _, x := range p.Targets {
		out = append(out, x.text())
	}
	return out
}

func TestPlanFor(t *testing.T) {
	p := PlanFor(configured(t, planned), "f1")
	want := []Group{
		{Name: "eth0", Layer: netquorum.LayerPhysical}, {Name: "eth1", Layer: netquorum.LayerPhysical},
		{Name: "fail0", Layer: netquorum.LayerFailover, Members: []string{"eth0", "eth1"}, Primary: "eth1"},
		{Name: "fail0.7", Layer: netquorum.LayerVLAN, Below: "fail0"}, {Name: "mgmt0", Layer: netquorum.LayerAlias, Below: "fail0"},
		{Name: "data0", Layer: netquorum.LayerAlias, Below: "fail0.7"},
	}
	if diff := cmp.Diff(want, p.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"data0 10.2.2.254 gateway on link from invalid IP",
		"data0 fe80::1 gateway on link from invalid IP",
		"mgmt0 10.1.1.254 gateway on link from 10.1.1.1",
		"mgmt0 10.1.1.100 management on link from 10.1.1.1",
		"mgmt0 10.1.1.2 peer on link from 10.1.1.1",
	}, targetsOf(p)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if p.Timing != DefaultTiming {
		t.Errorf("timing %+v, want the defaults %+v", p.Timing, DefaultTiming)
	}
}

func TestPlanForConfiguredProbes(t *testing.T) {
	spec := `spec: {mac: "00:07:34:04:12:0e", probes: {automatic: false, interval: 1000, targets: [{alias: mgmt0, address: 192.0.2.1}, {alias: data0, address: 192.0.2.1}, {alias: mgmt0, address: 10.1.1.9}]}}`
	p := PlanFor(configured(t, strings.Replace(planned, `spec: {mac: "00:07:34:04:12:0e"}`, spec, 1)), "f1")
	if diff := cmp.Diff([]string{
		"mgmt0 192.0.2.1 configured distant from 10.1.1.1",
		"data0 192.0.2.1 configured distant from invalid IP", // which is a finding
		"mgmt0 10.1.1.9 configured on link from 10.1.1.1",
	}, targetsOf(p)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if p.Timing.Fault != 3*p.Timing.Interval {
		t.Errorf("a fault after %v at an interval of %v", p.Timing.Fault, p.Timing.Interval)
	}
}

// One peer alone proves nothing, with a gateway it says that the link works.
func TestOnePeerAloneIsNotAsked(t *testing.T) {
	p := PlanFor(configured(t, strings.Replace(planned, "  routes: office\n", "", 1)), "f1")
	if i := slices.IndexFunc(p.Targets, func(x Target) bool { return x.Reason == Peer }); i >= 0 {
		t.Errorf("asks %s", p.Targets[i].text())
	}
}

// However many servers and gateways there are, a filer asks few targets.
func TestAutomaticTargetsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(planned)
	for i := range 300 {
		fmt.Fprintf(&b, "---\nkind: Routes\nname: r%d\nspec: {routes: [{to: default, via: 10.%d.%d.254}]}\n", i, 100+i/250, i%250)
		fmt.Fprintf(&b, "---\nkind: VirtualServer\nname: v%d\nspec: {group: main, routes: r%d, addresses: [{alias: data0, prefix: 10.%d.%d.1/24}]}\n", i, i, 100+i/250, i%250)
	}
	p := PlanFor(configured(t, b.String()), "f1")
	n := 0
	for _, x := range p.Targets {
		if x.Interface == "data0" {
			n++
		}
	}
	if n != maxPerAlias {
		t.Errorf("asks %d targets on data0, want %d", n, maxPerAlias)
	}
}
