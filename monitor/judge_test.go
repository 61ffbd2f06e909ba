package monitor

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

var testTiming = Timing{Interval: 500 * time.Millisecond, Fault: 2 * time.Second, Repair: 10 * time.Second, LinkRepair: 3 * time.Second}

const (
	modeBackup = 1
	modeLACP   = 4
	full       = PortActive | PortFast | PortAggregatable | PortInSync | PortCollecting | PortDistributing
)

var (
	switchA = netquorum.MAC{2, 0xaa}
	switchB = netquorum.MAC{2, 0xbb}
	gateway = netip.MustParseAddr("10.0.0.254")
	other   = netip.MustParseAddr("10.0.0.253")
)

// A world is a kernel that a test changes.
type world struct {
	t      *testing.T
	judge  *judge
	kernel table
	asked  asked
	plan   Plan
}

func newWorld(t *testing.T, groups ...Group) *world {
	w := &world{t: t, judge: newJudge(), asked: asked{}, plan: Plan{Filer: "f1", Groups: groups, Timing: testTiming}}
	w.kernel.clear()
	return w
}

// good is a link that is set up and has signal.
func (w *world) good(index int, name string, change ...func(*Link)) {
	l := Link{Index: index, Name: name, Up: true, Carrier: true}
	for _, c := range change {
		c(&l)
	}
	w.kernel.apply(Update{Changes: []Change{{Link: &l}}})
}

func (w *world) gone(index int, name string) {
	w.kernel.apply(Update{Changes: []Change{{Gone: true, Link: &Link{Index: index, Name: name}}}})
}

func (w *world) look(at time.Time) Snapshot {
	s, _ := w.judge.look(at, w.plan, &w.kernel, w.asked)
	return s
}

// expect looks and compares states, written like "eth0=running fail0/eth1=standby".
func (w *world) expect(at time.Time, states string) {
	w.t.Helper()
	s := w.look(at)
	for want := range strings.FieldsSeq(states) {
		name, state, _ := strings.Cut(want, "=")
		group, member, _ := strings.Cut(name, "/")
		i := s.Interface(group)
		is, why := i.State, i.Reason
		if member != "" {
			is, why = "", "no such member"
			for _, m := range i.Members {
				if m.Name == member {
					is, why = m.State, m.Reason
				}
			}
		}
		if string(is) != state {
			w.t.Errorf("after %v, %s is %s (%s), want %s", at.Sub(start), name, is, why, state)
		}
		if is != Running && why == "" {
			w.t.Errorf("after %v, %s is %s without a reason", at.Sub(start), name, is)
		}
	}
}

func noSignal(l *Link)        { l.Carrier = false }
func setDown(l *Link)         { l.Up, l.Carrier = false, false }
func letIn(l *Link)           { l.Dormant = true }
func above(i int) func(*Link) { return func(l *Link) { l.Parent = i } }

func bond(mode int) func(*Link) {
	return func(l *Link) {
		l.Kind, l.Bond = "bond", &Bond{Mode: mode, Aggregator: 1, Ports: 2, Partner: switchA, LACPFast: true}
	}
}

func port(master int, change ...func(*Port)) func(*Link) {
	return func(l *Link) {
		l.Master, l.Port = master, &Port{Active: true, Aggregator: 1, Actor: full, Partner: full}
		for _, c := range change {
			c(l.Port)
		}
	}
}

func idle(p *Port)      { p.Active = false }
func givenUp(p *Port)   { p.Monitor = MonitorDown }
func comingUp(p *Port)  { p.Monitor = MonitorBack }
func elsewhere(p *Port) { p.Aggregator = 2; p.Active = false }
func halfway(p *Port)   { p.Actor = PortActive | PortFast | PortAggregatable }

var (
	card    = Group{Name: "eth0", Layer: netquorum.LayerPhysical}
	card1   = Group{Name: "eth1", Layer: netquorum.LayerPhysical}
	bond0   = Group{Name: "bond0", Layer: netquorum.LayerBond, Members: []string{"eth0", "eth1"}}
	fail0   = Group{Name: "fail0", Layer: netquorum.LayerFailover, Members: []string{"eth0", "eth1"}}
	primary = Group{Name: "fail0", Layer: netquorum.LayerFailover, Members: []string{"eth0", "eth1"}, Primary: "eth0"}
	tagged  = Group{Name: "eth0.5", Layer: netquorum.LayerVLAN, Below: "eth0"}
	data0   = Group{Name: "data0", Layer: netquorum.LayerAlias, Below: "eth0"}
)

// The table of the package's comment, one state after the other.
func TestStates(t *testing.T) {
	for _, test := range []struct {
		name   string
		groups []Group
		set    func(*world)
		want   string
	}{
		{"a card with signal", []Group{card}, func(w *world) { w.good(1, "eth0") }, "eth0=running"},
		{"a card without signal", []Group{card}, func(w *world) { w.good(1, "eth0", noSignal) }, "eth0=failed"},
		{"a card that is set down", []Group{card}, func(w *world) { w.good(1, "eth0", setDown) }, "eth0=offline"},
		{"a card that is not there", []Group{card}, func(*world) {}, "eth0=offline"},
		{"a card that waits for 802.1X", []Group{card}, func(w *world) { w.good(1, "eth0", letIn) }, "eth0=up"},

		{"a VLAN and an alias on a card: groups of one", []Group{card, tagged, data0}, func(w *world) {
			w.good(1, "eth0")
			w.good(2, "eth0.5", above(1))
			w.good(3, "data0", above(1))
		}, "eth0=running eth0.5=running data0=running"},
		{"they fail with the card", []Group{card, tagged, data0}, func(w *world) {
			w.good(1, "eth0", noSignal)
			w.good(2, "eth0.5", above(1))
			w.good(3, "data0", above(1))
		}, "eth0=failed eth0.5=failed data0=failed"},
		{"they are offline with the card", []Group{card, tagged, data0}, func(w *world) {
			w.good(1, "eth0", setDown)
			w.good(2, "eth0.5", above(1))
			w.good(3, "data0", above(1))
		}, "eth0=offline eth0.5=offline data0=offline"},
		{"an alias that is set down", []Group{card, data0}, func(w *world) {
			w.good(1, "eth0")
			w.good(3, "data0", above(1), setDown)
		}, "eth0=running data0=offline"},

		{"a failover interface without a primary", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", port(9))
			w.good(2, "eth1", port(9, idle))
		}, "fail0=running fail0/eth0=running fail0/eth1=inactive eth1=inactive"},
		{"with a primary, the other one is standby", []Group{card, card1, primary}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", port(9))
			w.good(2, "eth1", port(9, idle))
		}, "fail0=running fail0/eth0=running fail0/eth1=standby"},
		{"a primary that is not in use is inactive", []Group{card, card1, primary}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", port(9, idle))
			w.good(2, "eth1", port(9))
		}, "fail0=running fail0/eth0=inactive fail0/eth1=running"},
		{"between two members the group is up", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", noSignal, port(9))
			w.good(2, "eth1", port(9, idle))
		}, "fail0=up fail0/eth0=failed fail0/eth1=inactive"},
		{"all members failed: the group failed (S2)", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", noSignal, port(9))
			w.good(2, "eth1", noSignal, port(9, idle))
		}, "fail0=failed fail0/eth0=failed fail0/eth1=failed"},
		{"one failed and one offline: the group failed", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", noSignal, port(9))
			w.good(2, "eth1", setDown, port(9, idle))
		}, "fail0=failed fail0/eth1=offline"},
		{"all members offline: the group is offline", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", setDown, port(9))
		}, "fail0=offline fail0/eth0=offline fail0/eth1=offline"},
		{"a member that the bond's own monitor gave up", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", port(9, givenUp))
			w.good(2, "eth1", port(9))
		}, "fail0=running fail0/eth0=failed"},
		{"a member within the bond's up delay", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", port(9, comingUp))
			w.good(2, "eth1", port(9))
		}, "fail0/eth0=up"},
		{"a link that should be a member and is none", []Group{card, card1, fail0}, func(w *world) {
			w.good(9, "fail0", bond(modeBackup))
			w.good(1, "eth0", port(9))
			w.good(2, "eth1")
		}, "fail0=running fail0/eth1=offline"},

		{"an LACP bond", []Group{card, card1, bond0}, func(w *world) {
			w.good(9, "bond0", bond(modeLACP))
			w.good(1, "eth0", port(9))
			w.good(2, "eth1", port(9))
		}, "bond0=running bond0/eth0=running bond0/eth1=running"},
		{"a member in an aggregator that is not in use", []Group{card, card1, bond0}, func(w *world) {
			w.good(9, "bond0", bond(modeLACP))
			w.good(1, "eth0", port(9))
			w.good(2, "eth1", port(9, elsewhere))
		}, "bond0=running bond0/eth1=inactive"},
		{"a member that LACP is not through with", []Group{card, card1, bond0}, func(w *world) {
			w.good(9, "bond0", bond(modeLACP))
			w.good(1, "eth0", port(9, halfway))
			w.good(2, "eth1", port(9, halfway))
		}, "bond0=up bond0/eth0=up"},
		{"fewer members than min_links", []Group{card, card1, bond0}, func(w *world) {
			w.good(9, "bond0", bond(modeLACP), noSignal, func(l *Link) { l.Bond.MinLinks = 2 })
			w.good(1, "eth0", port(9))
			w.good(2, "eth1", noSignal, port(9))
		}, "bond0=failed bond0/eth0=running bond0/eth1=failed"},
		{"a bond of one, without ceremony (S4)", []Group{card, {Name: "bond0", Layer: netquorum.LayerBond, Members: []string{"eth0"}}}, func(w *world) {
			w.good(9, "bond0", bond(modeLACP))
			w.good(1, "eth0", port(9))
		}, "bond0=running bond0/eth0=running"},
		{"a bond that is not there", []Group{card, card1, bond0}, func(w *world) { w.good(1, "eth0") }, "bond0=offline eth0=running"},
		{"without a configuration, what the kernel has", nil, func(w *world) {
			w.good(9, "bond0", bond(modeLACP))
			w.good(1, "eth0", port(9))
			w.good(2, "eth1", noSignal)
			w.good(3, "docker0")
		}, "bond0=running bond0/eth0=running eth1=failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.groups...)
			test.set(w)
			w.expect(start, test.want)
		})
	}
}

func TestFaultsOfLinksAreDamped(t *testing.T) {
	w := newWorld(t, card, data0)
	w.good(1, "eth0")
	w.good(3, "data0", above(1))
	w.expect(after(0), "eth0=running data0=running")
	w.good(1, "eth0", noSignal)
	w.expect(after(1), "eth0=failed data0=failed")
	w.good(1, "eth0")
	w.expect(after(2), "eth0=up data0=up")
	_, next := w.judge.look(after(2), w.plan, &w.kernel, w.asked)
	if !next.Equal(after(5)) {
		t.Errorf("looks again at %v, want %v", next, after(5))
	}
	w.expect(after(5), "eth0=running data0=running")
	for i := range 3 {
		at := float64(10 + 2*i)
		w.good(1, "eth0", noSignal)
		w.expect(after(at), "data0=failed")
		w.good(1, "eth0")
		w.look(after(at + 1))
	}
	w.expect(after(15.5), "eth0=failed data0=failed") // it flaps
	w.expect(after(60), "eth0=running data0=running")
}

func TestProbes(t *testing.T) {
	target := func(a netip.Addr, why Reason) Target {
		return Target{Interface: "data0", Address: a, Reason: why, OnLink: true}
	}
	newProbed := func(t *testing.T, targets ...Target) *world {
		w := newWorld(t, card, data0)
		w.plan.Targets = targets
		w.good(1, "eth0")
		w.good(3, "data0", above(1))
		w.look(start)
		w.asked.ask(start, w.plan.asks(&w.kernel, w.judge.works))
		return w
	}
	answer := func(w *world, at float64, a netip.Addr) { w.asked.answer(after(at), targetKey{"data0", a}) }

	t.Run("what never answered is no fault", func(t *testing.T) {
		w := newProbed(t, target(gateway, Gateway))
		w.expect(after(60), "data0=running")
	})
	t.Run("unless the operator named it", func(t *testing.T) {
		w := newProbed(t, target(gateway, Configured))
		w.expect(after(1.9), "data0=running")
		w.expect(after(2), "data0=failed")
	})
	t.Run("silence is a fault after its time, and answers end it after theirs", func(t *testing.T) {
		w := newProbed(t, target(gateway, Gateway))
		answer(w, 0.1, gateway)
		w.expect(after(2), "data0=running eth0=running")
		w.expect(after(2.1), "data0=failed eth0=running")
		answer(w, 3, gateway)
		w.expect(after(3), "data0=up")
		for at := 3.5; at <= 13; at += 0.5 {
			answer(w, at, gateway)
		}
		w.expect(after(12.9), "data0=up")
		w.expect(after(13), "data0=running")
	})
	t.Run("one that answers is enough", func(t *testing.T) {
		w := newProbed(t, target(gateway, Gateway), target(other, Peer))
		answer(w, 0.1, gateway)
		answer(w, 0.1, other)
		answer(w, 5, other)
		w.expect(after(6), "data0=running")
		w.expect(after(7), "data0=failed")
	})
	t.Run("vs_mgmt is no fault", func(t *testing.T) {
		w := newProbed(t, target(gateway, Management))
		answer(w, 0.1, gateway)
		w.expect(after(60), "data0=running")
	})
	t.Run("silence while the link is down counts for nothing", func(t *testing.T) {
		w := newProbed(t, target(gateway, Gateway))
		answer(w, 0.1, gateway)
		w.expect(after(0.2), "data0=running")
		w.good(1, "eth0", noSignal)
		w.expect(after(1), "data0=failed")
		w.good(1, "eth0")
		w.expect(after(30), "data0=up")
		w.expect(after(31.9), "data0=up")
		answer(w, 32, gateway)
		w.expect(after(33), "data0=running")
	})
	t.Run("an address that is hosted here is not asked", func(t *testing.T) {
		w := newProbed(t, target(gateway, Configured))
		w.kernel.apply(Update{Changes: []Change{{Address: &Address{Index: 3, Prefix: netip.PrefixFrom(gateway, 24)}}}})
		if asks := w.plan.asks(&w.kernel, w.judge.works); len(asks) > 0 {
			t.Errorf("asks %v", asks)
		}
		w.expect(after(60), "data0=running")
	})
}

// The same events at the same times give the same snapshots.
func TestJudgeIsAFunctionOfEventsAndTimes(t *testing.T) {
	play := func() (out []Snapshot) {
		w := newWorld(t, card, card1, bond0)
		for i := range 200 {
			w.good(9, "bond0", bond(modeLACP))
			w.good(1, "eth0", port(9), func(l *Link) { l.Carrier = i%7 != 3 })
			w.good(2, "eth1", port(9), func(l *Link) { l.Carrier = i%5 != 2 })
			out = append(out, w.look(after(float64(i)/3)))
		}
		return out
	}
	a, b := play(), play()
	for i := range a {
		if a[i].differs(b[i]) {
			t.Fatalf("look %d differs: %+v and %+v", i, a[i], b[i])
		}
	}
}
