package netapply_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
)

// TestKernelParentChange moves an alias, and 20 ports beside it, between two cards of one network, again
// and again, while a client pings it every two milliseconds. The new link is
// ready before the old one goes, so that next to nothing is lost.
func TestKernelParentChange(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	sh(t, `ip netns add client
		ip -n client link add br0 type bridge
		ip -n client link set br0 up
		ip link add eth0 type veth peer name sw0 netns client
		ip link add eth1 type veth peer name sw1 netns client
		ip -n client link set sw0 master br0 up
		ip -n client link set sw1 master br0 up
		ip -n client addr add 10.1.1.254/24 dev br0`)
	var servers, names []string // which move with it
	for i := range 20 {
		names = append(names, fmt.Sprintf("v%d", i))
		servers = append(servers, fmt.Sprintf("{kind: VirtualServer, name: v%d, spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.%d.1/24}]}}", i, i))
	}
	on := func(card string) netapply.Desired {
		return want(t, single(t, `{name: eth0}, {name: eth1}, {name: mgmt0, parent: `+card+`, addresses: [10.1.1.2/24]}, {name: data0, parent: `+card+`}`, servers...), "filer1", names...)
	}
	k := openKernel(t)
	announcer := netapply.NewAnnouncer(nil)
	defer announcer.Close()
	a := netapply.Applier{Kernel: k, Announcer: announcer}
	go_ := func(card string) netapply.Report {
		r, err := a.Apply(t.Context(), on(card))
		if err != nil || r.Err() != nil {
			t.Fatal(err, r.Err())
		}
		return r
	}
	go_("eth0")
	eventually(t, "the first answer", 30*time.Second, func() bool { return tryCommand("ip netns exec client ping -q -c1 -W1 10.1.1.2") })
	const moves = 6
	ping := exec.Command("ip", "netns", "exec", "client", "ping", "-q", "-i", "0.002", "-w", "4", "10.1.1.2")
	var out lockedBuffer
	ping.Stdout = &out
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := range moves {
		<-tick.C
		r := go_([]string{"eth1", "eth0"}[i%2])
		if !strings.Contains(lines(r.Steps), "name mgmt0 up") {
			t.Errorf("no link took another's place:\n%s", lines(r.Steps))
		}
	}
	_ = ping.Wait()
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatal(out.String())
	}
	transmitted, _ := strconv.Atoi(m[1])
	received, _ := strconv.Atoi(m[2])
	lost := transmitted - received
	t.Logf("%d of %d packets lost in %d moves: %.1f ms each", lost, transmitted, moves, float64(lost)*2/moves)
	if limit := 25 * moves; lost > limit && !emulated { // 50 ms each
		t.Errorf("%d packets lost, at most %d", lost, limit)
	}
	mustBeSettled(t, k, on("eth0"))
	for name := range ipLinks(t) {
		if strings.HasPrefix(name, "nq-") {
			t.Errorf("%s was left behind", name)
		}
	}
}
