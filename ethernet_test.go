package netquorum

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// eth0 is a filer whose eth0 has Ethernet settings.
func eth0(settings string) string { return filer("name: eth0, ethernet: {" + settings + "}") }

// cpu is a filer whose eth0 has CPU settings.
func cpu(settings string) string { return filer("name: eth0, cpu: {" + settings + "}") }

var ethernetCases = []struct{ name, puts, want string }{
	{"a forced speed", eth0("autoneg: false, speed: 100, duplex: half"), ""},
	{"one offered speed", eth0("autoneg: true, speed: 1000"), ""},
	{"a speed needs autoneg said", eth0("speed: 1000"), "ethernet.speed option-combination"},
	{"without autoneg somebody says the speed", eth0("autoneg: false"), "ethernet.autoneg option-combination"},
	{"a speed is one that Ethernet has", eth0("autoneg: false, speed: 101"), "ethernet.speed option-value"},
	{"a speed is not negative", eth0("autoneg: false, speed: -10"), "ethernet.speed option-value"},
	{"a duplex is half or full", eth0("autoneg: false, speed: 10, duplex: both"), "ethernet.duplex option-value"},
	{"a duplex goes with a speed", eth0("autoneg: true, duplex: full"), "ethernet.duplex option-combination"},
	{"there is no half duplex from a gigabit on", eth0("autoneg: false, speed: 1000, duplex: half"), "ethernet.duplex option-combination"},
	{"offloads by short names and the kernel's", eth0("offloads: {tso: false, gro: true, rx-gro-hw: true, hw-tc-offload: false}"), ""},
	{"an offload has a name as the kernel writes it", eth0("offloads: {TSO: true, tx_checksum: true, -x: true, x-: true, a: true, 'a b': true}"), `ethernet.offloads.-x option-value
ethernet.offloads.TSO option-value
ethernet.offloads.a option-value
ethernet.offloads.a b option-value
ethernet.offloads.tx_checksum option-value
ethernet.offloads.x- option-value`},
	{"an offload's name fits where the kernel keeps it", eth0("offloads: {" + strings.Repeat("a", 32) + ": true}"), "ethernet.offloads." + strings.Repeat("a", 32) + " option-value"},
	{"a feature is switched once", eth0("offloads: {tso: false, tx-tcp6-segmentation: true}"), "ethernet.offloads.tx-tcp6-segmentation option-combination"},
	{"rings and channels have their ranges", eth0("rings: {rx: -1, tx: 1048577}, channels: {rx: -1, tx: 16385, combined: -5}"), `ethernet.channels.combined option-value
ethernet.channels.rx option-value
ethernet.channels.tx option-value
ethernet.rings.rx option-value
ethernet.rings.tx option-value`},
	{"no wait at all is a wait, too", eth0("coalesce: {rxUsecs: 0, txUsecs: 0}, pause: {autoneg: false, rx: true, tx: false}"), ""},
	{"coalescing has its ranges", eth0("coalesce: {rxUsecs: -1, rxFrames: 65537, txUsecs: 1000001, rxUsecsIrq: -1, rxFramesIrq: -1, txFrames: -1, txUsecsIrq: -1, txFramesIrq: -1}"), `ethernet.coalesce.rxFrames option-value
ethernet.coalesce.rxFramesIrq option-value
ethernet.coalesce.rxUsecs option-value
ethernet.coalesce.rxUsecsIrq option-value
ethernet.coalesce.txFrames option-value
ethernet.coalesce.txFramesIrq option-value
ethernet.coalesce.txUsecs option-value
ethernet.coalesce.txUsecsIrq option-value`},
	{"times are fixed or adapt", eth0("coalesce: {adaptiveRx: true, rxUsecs: 5, adaptiveTx: true, txUsecs: 5}"),
		"ethernet.coalesce.rxUsecs option-combination\nethernet.coalesce.txUsecs option-combination"},
	{"times are fixed where they do not adapt", eth0("coalesce: {adaptiveRx: false, rxUsecs: 5}"), ""},

	{"processors", cpu("interrupts: 0-3, rps: '4,5,6', xps: '0', rpsFlows: 32768, threadedNapi: true, deferHardIrqs: 2, groFlushTimeout: 200000"), ""},
	{"flows are a power of two", cpu("rpsFlows: 1000"), "cpu.rpsFlows option-value"},
	{"flows have an end", cpu("rpsFlows: 2097152"), "cpu.rpsFlows option-value"},
	{"busy polling has its ranges", cpu("deferHardIrqs: 1001, groFlushTimeout: -1"), "cpu.deferHardIrqs option-value\ncpu.groFlushTimeout option-value"},
	{"busy polling needs both its numbers", cpu("deferHardIrqs: 2"), "cpu.deferHardIrqs option-combination"},
	{"busy polling needs both its numbers, also the other", cpu("groFlushTimeout: 2"), "cpu.groFlushTimeout option-combination"},

	{"every option of ARP probes", filer("name: bond0, members: [eth0], bond: {mode: active-backup, arpInterval: 100, arpTargets: [10.0.0.1], arpValidate: filter_active, arpAllTargets: all, missedMax: 5, numGratArp: 0, resendIgmp: 0, allSlavesActive: true}"), ""},
	{"announcements spaced out", filer("name: fail0, members: [eth0], failover: {numGratArp: 5, peerNotifDelay: 200, resendIgmp: 3}"), ""},
	{"turns", filer("name: bond0, members: [eth0], bond: {mode: balance-rr, packetsPerSlave: 0, resendIgmp: 1}"), ""},
	{"learning", filer("name: bond0, members: [eth0], bond: {mode: balance-tlb, lpInterval: 2, tlbDynamicLb: false}"), ""},
	{"more words are those that the kernel takes", filer("name: bond0, members: [eth0], bond: {mode: active-backup, arpInterval: 100, arpTargets: [10.0.0.1], arpValidate: x, arpAllTargets: x}"),
		"bond.arpAllTargets option-value\nbond.arpValidate option-value"},
	{"more numbers have their ranges", filer("name: bond0, members: [eth0], bond: {mode: active-backup, numGratArp: 256, resendIgmp: -1, peerNotifDelay: 300100}"),
		"bond.numGratArp option-value\nbond.peerNotifDelay option-value\nbond.resendIgmp option-value"},
	{"turns and learning have their ranges", filer("name: bond0, members: [eth0], bond: {mode: balance-rr, packetsPerSlave: 65536}\nname: bond1, members: [eth1], bond: {mode: balance-alb, lpInterval: -1}"),
		"bond.packetsPerSlave option-value\nbond.lpInterval option-value"},
	{"options go with the mode that has them", filer("name: bond0, members: [eth0], bond: {numGratArp: 1, peerNotifDelay: 100, resendIgmp: 1, lpInterval: 1, tlbDynamicLb: true, packetsPerSlave: 1}"), `bond.lpInterval option-combination
bond.numGratArp option-combination
bond.packetsPerSlave option-combination
bond.peerNotifDelay option-combination
bond.resendIgmp option-combination
bond.tlbDynamicLb option-combination`},
	{"what looks at ARP probes goes with ARP probes", filer("name: bond0, members: [eth0], bond: {mode: active-backup, arpValidate: all, missedMax: 2}\nname: bond1, members: [eth1], bond: {mode: active-backup, arpAllTargets: all}"), `bond.arpValidate option-combination
bond.missedMax option-combination
bond.arpAllTargets option-combination`},
	{"the space between announcements is a multiple of miimon", filer("name: fail0, members: [eth0], failover: {peerNotifDelay: 150}"), "failover.peerNotifDelay option-combination"},
	{"the space between announcements does not go with ARP probes", filer("name: fail0, members: [eth0], failover: {arpInterval: 100, arpTargets: [10.0.0.1], peerNotifDelay: 100}"), "failover.peerNotifDelay option-combination"},
}

func TestEthernetRules(t *testing.T) {
	base := acceptance(t)
	for _, tc := range ethernetCases {
		t.Run(tc.name, func(t *testing.T) {
			_, problems := base.Change(parse(t, tc.puts), nil)
			var got []string
			for _, p := range problems {
				_, field, _ := strings.Cut(p.Field, "].")
				got = append(got, field+" "+string(p.Rule))
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("broken rules (-want +got):\n%s\n%v", diff, problems)
			}
		})
	}
}

func TestCPULists(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"0", "0"}, {"0-3", "0-3"}, {"3,2,1,0", "0-3"}, {"0-3,2-5,8", "0-5,8"}, {"7,7,7", "7"}, {"0,2,4", "0,2,4"}, {"8191", "8191"},
	} {
		l, err := ParseCPUList(tc.text)
		if err != nil || string(l) != tc.want {
			t.Errorf("%q is %q, %v; want %q", tc.text, l, err, tc.want)
		}
		if again := FormatCPUList(l.CPUs()); again != l {
			t.Errorf("%q becomes %q by its numbers", l, again)
		}
	}
	for _, bad := range []string{"", ",", "0-", "-3", "3-1", "0,,1", "a", "0x1", "01", "8192", "0-8192", " 0", "0 1", "0--1", strings.Repeat("0-8191,", 10) + "0"} {
		if l, err := ParseCPUList(bad); err == nil {
			t.Errorf("%q is taken for the list %q", bad, l)
		}
	}
}

func FuzzCPUList(f *testing.F) {
	for _, s := range []string{"0", "0-3,8", "3,1", "8191", "1-1", "0-8191,0-8191"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseCPUList(s)
		if err != nil {
			return
		}
		if again, err := ParseCPUList(string(l)); err != nil || again != l || FormatCPUList(l.CPUs()) != l {
			t.Fatalf("%q became %q, then %q, %v", s, l, again, err)
		}
	})
}

// How the settings look in a dump, and that reading them back changes nothing.
func TestEthernetSettingsLookTheSame(t *testing.T) {
	const text = `kind: Filer
name: X
spec:
  interfaces:
  - name: eth0
    ethernet:
      autoneg: false
      speed: 1000
      duplex: full
      offloads:
        gro: true
        rx-gro-hw: false
      rings:
        rx: 512
        tx: 256
      coalesce:
        adaptiveRx: false
        rxUsecs: 0
      channels:
        combined: 4
      pause:
        rx: false
    cpu:
      interrupts: 0-3
      rps: "4-5,8"
      rpsFlows: 32768
      xps: "1"
      threadedNapi: false
`
	docs := parse(t, text)
	got, err := FormatYAML(slices.Values(docs))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
	after := parse(t, strings.Replace(text, "gro: true", "gro: false", 1))
	if d := FormatDiff(&docs[0], &after[0]); !strings.Contains(d, "-        gro: true\n+        gro: false\n") {
		t.Errorf("the diff is\n%s", d)
	}
}
