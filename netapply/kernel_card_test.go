package netapply_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// realCard takes the network card that the virtual machine has for such tests
// into the test's namespace, as eth0. It goes back when the namespace ends.
func realCard(t *testing.T) {
	t.Helper()
	if os.Getenv("NQ_IN_VM") == "" {
		t.Skip("needs a network card that may be tried out; run by test/vm/kerneltests, or with -exec test/vm/vm-exec and VM_NET='-device e1000e,romfile='")
	}
	if !tryCommand("modprobe e1000e") {
		t.Skip("this kernel has no driver e1000e")
	}
	// The first /sys is that of the machine's own namespace, where the card is.
	found, err := filepath.Glob("/sys/bus/pci/drivers/e1000e/0000:*/net/*")
	if err != nil || len(found) == 0 {
		t.Skip("the machine has no e1000e card; VM_NET='-device e1000e,romfile=' gives it one")
	}
	name := filepath.Base(found[0])
	sh(t, fmt.Sprintf("nsenter --net=/proc/1/ns/net ip link set %s down", name))
	sh(t, fmt.Sprintf("nsenter --net=/proc/1/ns/net ip link set %s netns %d", name, os.Getpid()))
	if name != "eth0" {
		sh(t, "ip link set "+name+" name eth0")
	}
	ownSysfs(t)
}

// dropCard takes the card's driver out again: the virtual machine is slow to go
// down with it, and what it runs meanwhile loses its files.
func dropCard() {
	if os.Getenv("NQ_IN_VM") != "" {
		tryCommand("modprobe -r e1000e")
	}
}

// TestKernelCard sets everything that a card can be set to, on a driver of real
// hardware.
func TestKernelCard(t *testing.T) {
	if !inNamespace(t, netapply.FeatureEthtool, netapply.FeatureRPS) {
		dropCard()
		return
	}
	realCard(t)
	k := openKernel(t)
	plain := wantCards(t, netquorum.Interface{Name: "eth0"})
	if err := apply(t, k, plain).Err(); err != nil {
		t.Fatal(err)
	}
	all := netapply.Look{Link: "eth0", Sets: []string{"link", "features", "rings", "coalesce", "pause", "queues", "irq", "device"}}
	before := lookAt(t, k, all)
	for _, tc := range []struct {
		card  netquorum.Interface
		steps []string
	}{
		{card(&netquorum.Ethernet{Autoneg: new(false), Speed: 100, Duplex: "half"}, nil), []string{"ethtool -s eth0 autoneg off speed 100 duplex half"}},
		{card(&netquorum.Ethernet{Autoneg: new(false), Speed: 10}, nil), []string{"ethtool -s eth0 autoneg off speed 10 duplex full"}},
		{card(&netquorum.Ethernet{Autoneg: new(true), Speed: 100}, nil), []string{"ethtool -s eth0 autoneg on advertise mode 100baseT/Full on"}},
		{card(&netquorum.Ethernet{
			Rings: &netquorum.Rings{RX: 512, TX: 1024}, Coalesce: &netquorum.Coalesce{RXUsecs: new(100)},
			Pause: &netquorum.Pause{Autoneg: new(false), RX: new(true), TX: new(false)}, Offloads: map[string]bool{"tso": false, "gro": false, "rxvlan": false},
		}, nil), nil},
		{card(nil, &netquorum.CPU{Interrupts: "1", RPS: "0-1", RPSFlows: 64, ThreadedNAPI: new(true), DeferHardIRQs: new(2), GROFlushTimeout: new(20000)}), nil},
	} {
		want := wantCards(t, tc.card)
		if tc.steps != nil {
			tuned(t, k, want, tc.steps...)
			continue
		}
		r := apply(t, k, want)
		if err := r.Err(); err != nil {
			t.Fatalf("%v\n%s", err, lines(r.Steps))
		}
		t.Logf("done:\n%s", lines(r.Steps))
		if again := apply(t, k, want); again.Writes != 0 {
			t.Errorf("applied again it wrote %d times:\n%s", again.Writes, lines(again.Steps))
		}
	}
	if got := readTrimmed(t, "/sys/class/net/eth0/queues/rx-0/rps_cpus"); strings.TrimLeft(got, "0,") != "3" {
		t.Errorf("received packets are spread over %s", got)
	}
	if err := apply(t, k, plain).Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, lookAt(t, k, all)); diff != "" {
		t.Errorf("not as before (-before +afterwards):\n%s", diff)
	}
}

// TestKernelCardRefuses asks for what the driver does not take: it says so in
// its own words, and everything is as before.
func TestKernelCardRefuses(t *testing.T) {
	if !inNamespace(t, netapply.FeatureEthtool) {
		dropCard()
		return
	}
	realCard(t)
	k := openKernel(t)
	if err := apply(t, k, wantCards(t, netquorum.Interface{Name: "eth0"})).Err(); err != nil {
		t.Fatal(err)
	}
	gro := map[string]bool{"gro": false}
	for _, tc := range []struct {
		name  string
		card  netquorum.Interface
		words []string
	}{
		{"rings", card(&netquorum.Ethernet{Offloads: gro, Rings: &netquorum.Rings{RX: 100_000}}, nil), []string{"ethernet.rings.rx", "maximum"}},
		{"rings that the driver rounds", card(&netquorum.Ethernet{Offloads: gro, Rings: &netquorum.Rings{RX: 513}}, nil), []string{"ethernet.rings.rx", "took 520 for rx of 513"}},
		{"a speed that copper cannot be forced to", card(&netquorum.Ethernet{Offloads: gro, Autoneg: new(false), Speed: 40_000}, nil), []string{"ethernet.speed", "invalid argument"}},
		{"a speed that the card does not have", card(&netquorum.Ethernet{Offloads: gro, Autoneg: new(true), Speed: 40_000}, nil), []string{"ethernet.speed", "no link mode of 40000 Mb/s, full duplex", "100baseT/Full"}},
		{"a time that is too long", card(&netquorum.Ethernet{Offloads: gro, Coalesce: &netquorum.Coalesce{RXUsecs: new(100_000)}}, nil), []string{"ethernet.coalesce.rxUsecs", "invalid argument"}},
		{"what the driver does not have", card(&netquorum.Ethernet{Offloads: gro, Coalesce: &netquorum.Coalesce{TXUsecs: new(5)}}, nil), []string{"ethernet.coalesce.txUsecs", "unsupported"}},
		{"a processor that there is not", card(&netquorum.Ethernet{Offloads: gro}, &netquorum.CPU{Interrupts: "200"}), []string{"cpu.interrupts", "no such processor"}},
		{"an offload that there is not", card(&netquorum.Ethernet{Offloads: map[string]bool{"gro": false, "no-such-thing": true}}, nil), []string{"no-such-thing", "bit name not found"}},
		{"an offload that the card lacks", card(&netquorum.Ethernet{Offloads: map[string]bool{"gro": false, "lro": true}}, nil), []string{"ethernet.offloads.rx-lro"}},
	} {
		t.Run(tc.name, func(t *testing.T) { refusedAndRolledBack(t, k, tc.card, tc.words) })
	}
}

// refusedAndRolledBack changes to a configuration that the driver refuses.
func refusedAndRolledBack(t *testing.T, k *netapply.Netlink, i netquorum.Interface, words []string) {
	t.Helper()
	all := netapply.Look{Link: string(i.Name), Sets: []string{"link", "features", "rings", "channels", "coalesce", "pause", "queues", "irq", "device"}}
	before := lookAt(t, k, all)
	a := netapply.Applier{Kernel: k}
	r, err := a.Change(t.Context(), wantCards(t, i), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Err() == nil || !r.RolledBack || len(r.Left) > 0 {
		t.Fatalf("rolled back: %v, left: %v, failed: %v\n%s", r.RolledBack, r.Left, r.Err(), lines(r.Steps))
	}
	t.Log(r.Err())
	if len(r.Failures) != 1 && len(words) > 0 && !strings.HasPrefix(words[0], "cpu.") {
		t.Errorf("%d failures", len(r.Failures))
	}
	for _, w := range words {
		if !strings.Contains(r.Err().Error(), w) {
			t.Errorf("the error does not say %q: %v", w, r.Err())
		}
	}
	if diff := cmp.Diff(before, lookAt(t, k, all)); diff != "" {
		t.Errorf("not as before (-before +afterwards):\n%s", diff)
	}
}

func lookAt(t *testing.T, k netapply.Kernel, l netapply.Look) netapply.Tuning {
	t.Helper()
	o, err := k.Observe(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range o.Links {
		if link.Name == l.Link {
			return link.Tuning
		}
	}
	t.Fatalf("there is no %s", l.Link)
	return nil
}

func readTrimmed(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestKernelQueues: queues of a veth pair, and how packets are spread over them.
func TestKernelQueues(t *testing.T) {
	if !inNamespace(t, netapply.FeatureEthtool, netapply.FeatureRPS, netapply.FeatureXPS) {
		return
	}
	sh(t, "ip link add eth0 numrxqueues 4 numtxqueues 4 type veth peer name far numrxqueues 4 numtxqueues 4")
	ownSysfs(t)
	k := openKernel(t)
	plain := netquorum.Interface{Name: "eth0"}
	if err := apply(t, k, wantCards(t, plain)).Err(); err != nil {
		t.Fatal(err)
	}
	all := netapply.Look{Link: "eth0", Sets: []string{"channels", "queues", "device"}}
	before := lookAt(t, k, all)
	i := card(&netquorum.Ethernet{Channels: &netquorum.Channels{RX: 2, TX: 2}}, &netquorum.CPU{RPS: "0", XPS: "0-1", RPSFlows: 64, DeferHardIRQs: new(2), GROFlushTimeout: new(20000)})
	r := apply(t, k, wantCards(t, i))
	if err := r.Err(); err != nil {
		t.Fatalf("%v\n%s", err, lines(r.Steps))
	}
	t.Logf("done:\n%s", lines(r.Steps))
	for path, want := range map[string]string{
		"queues/rx-0/rps_cpus": "1", "queues/rx-1/rps_cpus": "1", "queues/tx-0/xps_cpus": "1", "queues/tx-1/xps_cpus": "2",
		"queues/rx-1/rps_flow_cnt": "32", "napi_defer_hard_irqs": "2", "gro_flush_timeout": "20000",
	} {
		if got := strings.TrimLeft(readTrimmed(t, "/sys/class/net/eth0/"+path), "0,"); got != want {
			t.Errorf("%s is %s, not %s", path, got, want)
		}
	}
	if _, err := os.Stat("/sys/class/net/eth0/queues/rx-2"); err == nil {
		t.Error("there is a third queue")
	}
	if again := apply(t, k, wantCards(t, i)); again.Writes != 0 {
		t.Errorf("applied again it wrote %d times:\n%s", again.Writes, lines(again.Steps))
	}
	// What is remembered outlives the daemon.
	t.Run("refused", func(t *testing.T) {
		i := i
		i.Ethernet = &netquorum.Ethernet{Channels: &netquorum.Channels{RX: 9000, TX: 2}, Offloads: map[string]bool{"gro": true}}
		refusedAndRolledBack(t, k, i, []string{"ethernet.channels.rx", "ethtool -L eth0 rx 9000", "exceeds maximum"})
	})
	if err := apply(t, k, wantCards(t, plain)).Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, lookAt(t, k, all)); diff != "" {
		t.Errorf("not as before (-before +afterwards):\n%s", diff)
	}
}

// TestKernelRefusalIsBelieved: a driver that has refused is not asked again with
// every pass, because asking stops some cards; it is when something has changed.
func TestKernelRefusalIsBelieved(t *testing.T) {
	if !inNamespace(t, netapply.FeatureEthtool) {
		return
	}
	sh(t, "ip link add eth0 numrxqueues 4 numtxqueues 4 type veth peer name far")
	k := openKernel(t)
	want := wantCards(t, card(&netquorum.Ethernet{Channels: &netquorum.Channels{RX: 9000}}, nil))
	first := apply(t, k, want)
	if first.Err() == nil {
		t.Fatal("9000 queues are taken")
	}
	again := apply(t, k, want)
	if again.Writes != 0 || again.Err() == nil || again.Err().Error() != first.Err().Error() {
		t.Errorf("asked again it wrote %d times and said %v", again.Writes, again.Err())
	}
	if err := apply(t, k, wantCards(t, card(&netquorum.Ethernet{Channels: &netquorum.Channels{RX: 2}}, nil))).Err(); err != nil {
		t.Fatal(err)
	}
	if r := apply(t, k, want); r.Err() == nil || r.Writes == 0 {
		t.Errorf("with other queues it was not asked: %d writes, %v", r.Writes, r.Err())
	}
}
