package netapply_test

import (
	"net/netip"
	"strings"
	"testing"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// card is eth0 with settings.
func card(e *netquorum.Ethernet, c *netquorum.CPU) netquorum.Interface {
	return netquorum.Interface{Name: "eth0", Ethernet: e, CPU: c}
}

var tuningCases = []struct {
	name  string
	card  netquorum.Interface
	steps []string // to have it
	back  []string // to be without
}{
	{"a forced speed", card(&netquorum.Ethernet{Autoneg: new(false), Speed: 100, Duplex: "half"}, nil),
		[]string{"ethtool -s eth0 autoneg off speed 100 duplex half"},
		[]string{"ethtool -s eth0 autoneg on advertise mode 1000baseT/Full on 100baseT/Full on 100baseT/Half on"}},
	{"one offered speed", card(&netquorum.Ethernet{Autoneg: new(true), Speed: 100}, nil),
		[]string{"ethtool -s eth0 advertise mode 100baseT/Full on"},
		[]string{"ethtool -s eth0 advertise mode 1000baseT/Full on 100baseT/Full on 100baseT/Half on"}},
	{"autoneg as it is", card(&netquorum.Ethernet{Autoneg: new(true)}, nil), nil, nil},
	{"offloads by short names, as far as the card can switch them", card(&netquorum.Ethernet{Offloads: map[string]bool{"tso": false, "gro": true}}, nil),
		[]string{"ethtool -K eth0 tx-tcp-segmentation off tx-tcp6-segmentation off"},
		[]string{"ethtool -K eth0 tx-tcp-segmentation on tx-tcp6-segmentation on"}},
	{"an offload that is fixed as wanted", card(&netquorum.Ethernet{Offloads: map[string]bool{"lro": false}}, nil), nil, nil},
	{"rings, channels, coalescing, pause: queues first", card(&netquorum.Ethernet{
		Rings: &netquorum.Rings{RX: 512}, Channels: &netquorum.Channels{Combined: 4},
		Coalesce: &netquorum.Coalesce{RXUsecs: new(0), AdaptiveTX: new(true)}, Pause: &netquorum.Pause{Autoneg: new(false), RX: new(false), TX: new(true)},
	}, nil),
		[]string{"ethtool -L eth0 combined 4", "ethtool -G eth0 rx 512", "ethtool -A eth0 autoneg off rx off", "ethtool -C eth0 adaptive-tx on rx-usecs 0"},
		[]string{"ethtool -L eth0 combined 2", "ethtool -G eth0 rx 256", "ethtool -A eth0 autoneg on rx on", "ethtool -C eth0 adaptive-tx off rx-usecs 3"}},
	{"interrupts in turn, packets spread, queues shared out", card(nil, &netquorum.CPU{Interrupts: "1-3", RPS: "0-2", XPS: "0-3", RPSFlows: 4096}),
		[]string{
			"echo 7 > /sys/class/net/eth0/queues/rx-0/rps_cpus", "echo 2048 > /sys/class/net/eth0/queues/rx-0/rps_flow_cnt",
			"echo 7 > /sys/class/net/eth0/queues/rx-1/rps_cpus", "echo 2048 > /sys/class/net/eth0/queues/rx-1/rps_flow_cnt",
			"echo 5 > /sys/class/net/eth0/queues/tx-0/xps_cpus", "echo a > /sys/class/net/eth0/queues/tx-1/xps_cpus",
			"echo 1 > /proc/irq/24/smp_affinity_list", "echo 2 > /proc/irq/25/smp_affinity_list",
		},
		[]string{
			"echo 0 > /sys/class/net/eth0/queues/rx-0/rps_cpus", "echo 0 > /sys/class/net/eth0/queues/rx-0/rps_flow_cnt",
			"echo 0 > /sys/class/net/eth0/queues/rx-1/rps_cpus", "echo 0 > /sys/class/net/eth0/queues/rx-1/rps_flow_cnt",
			"echo 0 > /sys/class/net/eth0/queues/tx-0/xps_cpus", "echo 0 > /sys/class/net/eth0/queues/tx-1/xps_cpus",
			"echo 0-3 > /proc/irq/24/smp_affinity_list", "echo 0-3 > /proc/irq/25/smp_affinity_list",
		}},
	{"more queues than processors", card(&netquorum.Ethernet{Channels: &netquorum.Channels{Combined: 3}}, &netquorum.CPU{XPS: "33"}),
		[]string{
			"ethtool -L eth0 combined 3",
			// The old queues' settings first, then those of all the new ones.
			"echo 2,00000000 > /sys/class/net/eth0/queues/tx-0/xps_cpus", "echo 2,00000000 > /sys/class/net/eth0/queues/tx-1/xps_cpus",
			"echo 2,00000000 > /sys/class/net/eth0/queues/tx-2/xps_cpus",
		},
		[]string{
			"ethtool -L eth0 combined 2",
			"echo 0 > /sys/class/net/eth0/queues/tx-0/xps_cpus", "echo 0 > /sys/class/net/eth0/queues/tx-1/xps_cpus", "echo 0 > /sys/class/net/eth0/queues/tx-2/xps_cpus",
		}},
	{"busy polling", card(nil, &netquorum.CPU{ThreadedNAPI: new(true), DeferHardIRQs: new(2), GROFlushTimeout: new(200000)}),
		[]string{"echo 200000 > /sys/class/net/eth0/gro_flush_timeout", "echo 2 > /sys/class/net/eth0/napi_defer_hard_irqs", "echo 1 > /sys/class/net/eth0/threaded"},
		[]string{"echo 0 > /sys/class/net/eth0/gro_flush_timeout", "echo 0 > /sys/class/net/eth0/napi_defer_hard_irqs", "echo 0 > /sys/class/net/eth0/threaded"}},
}

// Each setting comes, stays without a further write, and is given back as it was.
func TestTuningComesAndGoes(t *testing.T) {
	for _, tc := range tuningCases {
		t.Run(tc.name, func(t *testing.T) {
			k := fakekernel.New("eth0")
			plain := wantCards(t, netquorum.Interface{Name: "eth0"})
			if err := apply(t, k, plain).Err(); err != nil {
				t.Fatal(err)
			}
			before := k.String()
			tuned(t, k, wantCards(t, tc.card), tc.steps...)
			tuned(t, k, plain, tc.back...)
			if after := k.String(); after != before {
				t.Errorf("before\n%s\nafterwards\n%s", before, after)
			}
		})
	}
}

// What a driver refuses is told in its words with the field, and everything that
// the change did is undone.
func TestRefusedTuningIsRolledBack(t *testing.T) {
	for _, tc := range []struct {
		name  string
		card  netquorum.Interface
		words []string
	}{
		{"rings", card(&netquorum.Ethernet{Channels: &netquorum.Channels{Combined: 4}, Rings: &netquorum.Rings{RX: 8192}}, nil),
			[]string{"ethtool -G eth0 rx 8192", "exceeds maximum of 4096"}},
		{"a speed", card(&netquorum.Ethernet{Autoneg: new(false), Speed: 1000, Offloads: map[string]bool{"gro": false}}, nil),
			[]string{"ethtool -s eth0 autoneg off speed 1000 duplex full", "speed 1000 cannot be forced"}},
		{"a speed to offer that the card lacks", card(&netquorum.Ethernet{Autoneg: new(true), Speed: 40000}, nil),
			[]string{"ethtool -s eth0", "speed 40000", "no mode"}},
		{"an offload that there is not", card(&netquorum.Ethernet{Offloads: map[string]bool{"gro": false, "hw-magic": true}}, nil),
			[]string{"hw-magic", "bit name not found"}},
		{"a processor", card(nil, &netquorum.CPU{RPS: "1", Interrupts: "2-5"}), nil},
		{"a processor that there is not", card(nil, &netquorum.CPU{RPS: "1", Interrupts: "4"}), []string{"/proc/irq/24/smp_affinity_list", "processor 4"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := fakekernel.New("eth0")
			if err := apply(t, k, wantCards(t, netquorum.Interface{Name: "eth0"})).Err(); err != nil {
				t.Fatal(err)
			}
			before := k.String()
			a := netapply.Applier{Kernel: k}
			r, err := a.Change(t.Context(), wantCards(t, tc.card), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(tc.words) == 0 {
				if r.Err() != nil {
					t.Fatal(r.Err())
				}
				return
			}
			if r.Err() == nil || !r.RolledBack || len(r.Left) > 0 {
				t.Fatalf("rolled back: %v, left: %v, failed: %v", r.RolledBack, r.Left, r.Err())
			}
			for _, w := range tc.words {
				if !strings.Contains(r.Err().Error(), w) {
					t.Errorf("the error does not say %q: %v", w, r.Err())
				}
			}
			if after := k.String(); after != before {
				t.Errorf("before\n%s\nafterwards\n%s", before, after)
			}
		})
	}
}

// A change that gives settings back, and fails elsewhere, takes them again.
func TestGivenBackTuningIsTakenAgain(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	tuned(t, k, wantCards(t, card(&netquorum.Ethernet{Rings: &netquorum.Rings{RX: 512}, Autoneg: new(false), Speed: 100}, nil)),
		"ethtool -G eth0 rx 512", "ethtool -s eth0 autoneg off speed 100 duplex full")
	if err := k.Do(t.Context(), netapply.SetLink{Name: "eth1", Up: new(true)})[0]; err != nil {
		t.Fatal(err)
	}
	before := tuningLines(k)
	a := netapply.Applier{Kernel: k}
	r, err := a.Change(t.Context(), wantCards(t, netquorum.Interface{Name: "eth1", Ethernet: &netquorum.Ethernet{Rings: &netquorum.Rings{RX: 8192}}}), nil)
	if err != nil || !r.RolledBack || len(r.Left) > 0 {
		t.Fatalf("rolled back: %v, left: %v, %v", r.RolledBack, r.Left, err)
	}
	if after := tuningLines(k); after != before {
		t.Errorf("before\n%s\nafterwards\n%s", before, after)
	}
	tuned(t, k, wantCards(t, netquorum.Interface{Name: "eth0"}),
		"ethtool -G eth0 rx 256", "ethtool -s eth0 autoneg on advertise mode 1000baseT/Full on 100baseT/Full on 100baseT/Half on")
}

func tuningLines(k *fakekernel.Kernel) string {
	var list []string
	for l := range strings.Lines(k.String()) {
		if strings.HasPrefix(l, "tuning ") {
			list = append(list, l)
		}
	}
	return strings.Join(list, "")
}

// Interfaces without such settings cost nothing: nobody asks their drivers.
func TestNoTuningIsLookedAtUnasked(t *testing.T) {
	want := wantCards(t, netquorum.Interface{Name: "eth0", Ethernet: &netquorum.Ethernet{Rings: &netquorum.Rings{RX: 512}}},
		netquorum.Interface{Name: "eth1", MTU: 9000}, netquorum.Interface{Name: "data0", Parent: "eth1"})
	looks := want.Looks()
	if len(looks) != 1 || looks[0].Link != "eth0" || strings.Join(looks[0].Sets, " ") != "rings" {
		t.Errorf("looked at are %v", looks)
	}
}

// Changing what the hardware is set to interrupts traffic, and the plan says so.
func TestTuningThatInterrupts(t *testing.T) {
	k := fakekernel.New("eth0")
	mgmt0 := netquorum.Interface{Name: "mgmt0", Parent: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.1.2/24")}}
	if err := apply(t, k, wantCards(t, mgmt0)).Err(); err != nil {
		t.Fatal(err)
	}
	want := wantCards(t, mgmt0, card(&netquorum.Ethernet{Rings: &netquorum.Rings{RX: 512}, Offloads: map[string]bool{"gro": false}}, nil))
	have, err := k.Observe(t.Context(), want.Looks()...)
	if err != nil {
		t.Fatal(err)
	}
	steps, _ := netapply.Plan(want, have)
	impacts := netapply.Impacts(have, steps)
	if len(steps) != 2 || len(impacts) != 1 || impacts[0].Step.String() != "ethtool -G eth0 rx 512" || impacts[0].Lasting || impacts[0].Links[0] != "mgmt0" {
		t.Errorf("of the steps\n%sthese interrupt: %v", lines(steps), impacts)
	}
}
