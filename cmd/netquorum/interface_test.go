package main

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// brokenAggregate is a filer whose switch does not match its bond.
func brokenAggregate() api.InterfaceReport {
	full := []string{"active", "fast", "aggregatable", "in-sync", "collecting", "distributing"}
	return api.InterfaceReport{
		Filer: "filer1", Seq: 7, Time: testNow,
		Interfaces: []api.GroupStatus{
			{Name: "eth0", Layer: netquorum.LayerPhysical, State: "running", Since: testNow.Add(-time.Hour)},
			{Name: "eth1", Layer: netquorum.LayerPhysical, State: "inactive", Reason: "in aggregator 2, and 1 is in use", Since: testNow.Add(-3 * time.Minute)},
			{Name: "bond0", Layer: netquorum.LayerBond, State: "running", Since: testNow.Add(-time.Hour), Faults: 2, Addresses: 0,
				LACP: &api.LACPStatus{Partner: "02:aa:00:00:00:00", Aggregator: 1, Ports: 1, Rate: "fast"},
				Members: []api.MemberStatus{
					{Name: "eth0", State: "running", LACP: &api.LACPPort{Partner: "02:aa:00:00:00:00", PartnerKey: 15, Aggregator: 1, Actor: full, PartnerState: full, ActorChurn: "none", PartnerChurn: "none", Speed: 10000, Duplex: "full"}},
					{Name: "eth1", State: "inactive", Reason: "in aggregator 2, and 1 is in use", LACP: &api.LACPPort{Partner: "00:00:00:00:00:00", Aggregator: 2,
						Actor: []string{"active", "fast", "aggregatable", "defaulted"}, PartnerState: []string{"active"}, ActorChurn: "churned", PartnerChurn: "churned", Speed: 10000, Duplex: "full"}},
				}},
			{Name: "mgmt0", Layer: netquorum.LayerAlias, State: "failed", Reason: "no answer from 10.1.1.254 for 2s", Since: testNow.Add(-5 * time.Second), Parent: "bond0", Addresses: 1, Routes: 2,
				Probes: []api.ProbeStatus{{Address: netip.MustParseAddr("10.1.1.254"), Reason: "gateway", State: "silent", Answered: before(7 * time.Second)},
					{Address: netip.MustParseAddr("2001:db8::1"), Reason: "peer", State: "never"}}},
		},
		Findings: []api.InterfaceFinding{{Interface: "bond0", Code: "lacp-not-aggregated", Message: "eth1 hears no LACP from its switch port, the other members do", Advice: "put its switch port into the aggregate of the others"}},
	}
}

func TestInterfaceTables(t *testing.T) {
	r := brokenAggregate()
	for _, test := range []struct {
		name, golden string
		show         func(*tool) error
	}{
		{"all", "interfaces", func(t *tool) error { return t.showInterfaces(r, testNow) }},
		{"a bond", "interface-bond", func(t *tool) error { return t.showInterface(r.Interfaces[2], r.Findings, testNow) }},
		{"an alias", "interface-alias", func(t *tool) error { return t.showInterface(r.Interfaces[3], r.Findings, testNow) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := test.show(&tool{out: &out}); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > lineWidth {
					t.Errorf("a line of %d columns: %s", n, line)
				}
			}
			checkGolden(t, filepath.Join("testdata", "status", test.golden+".golden"), out.String())
		})
	}
}
