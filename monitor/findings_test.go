package monitor

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

// codes are the findings' codes on one interface.
func codes(s Snapshot, on string) (out []FindingCode) {
	for _, f := range s.Findings {
		if f.Interface == on {
			out = append(out, f.Code)
		}
	}
	return slices.Compact(out)
}

func TestFindingsOfLACP(t *testing.T) {
	detail := func(mac netquorum.MAC, change ...func(*PortDetail)) PortDetail {
		d := PortDetail{Speed: 10000, Duplex: "full", Partner: mac, PartnerKey: 15, ActorChurn: ChurnNone, PartnerChurn: ChurnNone}
		for _, c := range change {
			c(&d)
		}
		return d
	}
	none := netquorum.MAC{}
	slow := func(p *Port) { p.Partner &^= PortFast }
	for _, test := range []struct {
		name       string
		bond       func(*Link)
		eth0, eth1 func(*Link)
		d0, d1     PortDetail
		want       []FindingCode
	}{
		{"all is well", bond(modeLACP), port(9), port(9), detail(switchA), detail(switchA), nil},
		{"no partner", func(l *Link) { bond(modeLACP)(l); l.Bond.Partner = none }, port(9), port(9, elsewhere), detail(none), detail(none), []FindingCode{NoPartner}},
		{"two partners", bond(modeLACP), port(9), port(9, elsewhere), detail(switchA), detail(switchB), []FindingCode{PartnersDiffer}},
		{"one member hears nothing", bond(modeLACP), port(9), port(9, elsewhere), detail(switchA), detail(none), []FindingCode{NotAggregated}},
		{"one partner, two aggregates", bond(modeLACP), port(9), port(9, elsewhere), detail(switchA), detail(switchA), []FindingCode{AggregatorsSplit}},
		{"the rate differs", bond(modeLACP), port(9, slow), port(9), detail(switchA), detail(switchA), []FindingCode{RateDiffers}},
		{"churn", bond(modeLACP), port(9), port(9), detail(switchA), detail(switchA, func(d *PortDetail) { d.PartnerChurn = Churned }), []FindingCode{OutOfSync}},
		{"speeds differ", bond(modeLACP), port(9), port(9, elsewhere), detail(switchA), detail(switchA, func(d *PortDetail) { d.Speed = 1000 }), []FindingCode{AggregatorsSplit, SpeedDiffers}},
		{"half duplex", bond(modeLACP), port(9), port(9), detail(switchA), detail(switchA, func(d *PortDetail) { d.Duplex = "half" }), []FindingCode{DuplexDiffers}},
		{"a dead member says nothing", bond(modeLACP), port(9), func(l *Link) { port(9, elsewhere)(l); l.Carrier = false }, detail(switchA), detail(none), nil},
		{"other modes have no LACP", bond(modeBackup), port(9), port(9, idle), PortDetail{}, PortDetail{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, card, card1, bond0)
			w.good(9, "bond0", test.bond)
			w.good(1, "eth0", test.eth0)
			w.good(2, "eth1", test.eth1)
			w.kernel.details["bond0"] = Detail{"eth0": test.d0, "eth1": test.d1}
			s := w.look(start)
			if got := codes(s, "bond0"); !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", s.Findings, test.want)
			}
			for _, f := range s.Findings {
				if f.Message == "" || f.Advice == "" {
					t.Errorf("%s says nothing, or not what to do", f.Code)
				}
			}
		})
	}
}

func TestFindingsOfLinksAndTargets(t *testing.T) {
	target := func(a netip.Addr, why Reason) Target {
		return Target{Interface: "data0", Address: a, Reason: why, OnLink: true}
	}
	answer := func(w *world, at float64, a netip.Addr) { w.asked.answer(after(at), targetKey{"data0", a}) }
	for _, test := range []struct {
		name string
		set  func(*world)
		on   string
		want []FindingCode
	}{
		{"a link that is not there", func(w *world) { w.gone(3, "data0") }, "data0", []FindingCode{LinkMissing}},
		{"a link that is no member", func(w *world) {
			w.plan.Groups = append(w.plan.Groups, Group{Name: "bond0", Layer: netquorum.LayerBond, Members: []string{"eth0"}})
			w.good(9, "bond0", bond(modeLACP))
		}, "bond0", []FindingCode{NotMember}},
		{"a link that flaps", func(w *world) {
			for i := range 6 {
				w.good(1, "eth0", func(l *Link) { l.Carrier = i%2 == 1 })
				w.look(after(float64(i)))
			}
		}, "eth0", []FindingCode{Flapping}},
		{"one of two targets is silent", func(w *world) {
			w.plan.Targets = []Target{target(gateway, Gateway), target(other, Peer)}
			w.asked.ask(start, w.plan.asks(&w.kernel, w.judge.works))
			answer(w, 0, gateway)
			answer(w, 9, other)
		}, "data0", []FindingCode{TargetSilent}},
		{"a gateway never answered", func(w *world) { w.plan.Targets = []Target{target(gateway, Gateway)} }, "data0", []FindingCode{TargetNever}},
		{"vs_mgmt does not answer", func(w *world) { w.plan.Targets = []Target{target(gateway, Management)} }, "data0", []FindingCode{NoManagement}},
		{"a target that cannot be asked", func(w *world) {
			w.plan.Targets = []Target{{Interface: "data0", Address: gateway, Reason: Configured}}
		}, "data0", []FindingCode{NotAskable}},
		{"duplicate address detection failed", func(w *world) {
			w.kernel.apply(Update{Changes: []Change{{Address: &Address{Index: 3, Prefix: netip.MustParsePrefix("2001:db8::1/64"), Duplicate: true}}}})
		}, "data0", []FindingCode{DuplicateAddress}},
		{"one claim of our address is no conflict yet", func(w *world) { w.claim(1, switchA) }, "data0", nil},
		{"two are", func(w *world) { w.claim(1, switchA); w.claim(2, switchA) }, "data0", []FindingCode{DuplicateAddress}},
		{"our own claims are none", func(w *world) { w.claim(1, netquorum.MAC{2, 1}); w.claim(2, netquorum.MAC{2, 1}) }, "data0", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, card, data0)
			w.good(1, "eth0")
			w.good(3, "data0", above(1), func(l *Link) { l.MAC = netquorum.MAC{2, 1} })
			w.look(start)
			test.set(w)
			w.look(after(0.5))
			w.asked.ask(after(0.5), w.plan.asks(&w.kernel, w.judge.works))
			s := w.look(after(10))
			if got := codes(s, test.on); !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", s.Findings, test.want)
			}
		})
	}
}

// claim lets somebody say that he has 10.0.0.7, which is an address of ours.
func (w *world) claim(at float64, mac netquorum.MAC) {
	own := netip.MustParseAddr("10.0.0.7")
	w.kernel.apply(Update{Changes: []Change{{Address: &Address{Index: 3, Prefix: netip.PrefixFrom(own, 24)}}}})
	w.judge.wire.hear(after(at), Heard{Interface: "data0", Address: own, MAC: mac}, &w.kernel)
}

// A conflict is reported for a while, and a liar cannot fill the memory.
func TestConflictsAreForgottenAndBounded(t *testing.T) {
	w := newWorld(t, card, data0)
	w.good(1, "eth0")
	w.good(3, "data0", above(1))
	for i := range 1000 {
		w.claim(1, netquorum.MAC{2, 9, byte(i >> 8), byte(i)})
		w.claim(2, netquorum.MAC{2, 9, byte(i >> 8), byte(i)})
	}
	if n := len(w.judge.wire); n > maxConflicts {
		t.Errorf("remembers %d claims", n)
	}
	if n := len(w.look(after(3)).Findings); n == 0 {
		t.Error("reports nothing")
	}
	if s := w.look(after(2).Add(conflictMemory + time.Second)); len(s.Findings) > 0 {
		t.Errorf("still reports %v", s.Findings)
	}
}
