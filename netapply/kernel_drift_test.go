package netapply_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

// foreignState is what somebody else has in the namespace, as other programs
// report it.
func foreignState(t *testing.T) string {
	t.Helper()
	return run(t, "sh", "-c", `ip -d link show other0 | grep -v '^ *altname'; ip addr show dev other0
		ip addr show dev mgmt0 | grep 192.0.2.9
		ip route show 198.51.100.0/24; ip rule show pref 700; ip -6 route show 2001:db8:f::/64; nft list table inet other`)
}

// TestKernelForeignSurvives puts links, addresses, routes, rules and a firewall
// table of somebody else beside ours, one address even on a link of ours, and
// goes through configurations.
func TestKernelForeignSurvives(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan, netapply.FeatureNftables) {
		return
	}
	cards(t, "eth0", "ext0")
	k := openKernel(t)
	c := example(t, "single-nic.yaml")
	mustApply(t, k, want(t, c, "filer1", "files"))
	sh(t, `ip link set ext0 up
		ip link add link ext0 name other0 type macvlan mode bridge
		ip link set other0 alias "somebody else's" up
		ip addr add 192.0.2.1/24 dev other0
		ip addr add 192.0.2.9/32 dev mgmt0
		ip route add 198.51.100.0/24 via 192.0.2.254 dev other0
		ip route add 203.0.113.0/24 via 192.0.2.254 dev other0 table 1000500
		ip -6 route add 2001:db8:f::/64 dev other0
		ip rule add pref 700 from 192.0.2.1 lookup 1000500
		nft add table inet other
		nft add chain inet other input '{ type filter hook input priority 0; }'`)
	eventually(t, "duplicate address detection on other0", 10*time.Second, func() bool {
		return !strings.Contains(run(t, "ip", "addr", "show", "dev", "other0"), "tentative")
	})
	before := foreignState(t)
	for _, hosts := range [][]string{{"files"}, {"media"}, nil, {"files", "media"}} {
		d := want(t, c, "filer1", hosts...)
		mustApply(t, k, d)
		mustBeSettled(t, k, d)
	}
	if diff := cmp.Diff(before, foreignState(t)); diff != "" {
		t.Errorf("what is not ours changed (-before +after):\n%s", diff)
	}
	// With everything of ours gone the foreign address on our link must go,
	// too, but nothing else.
	r := apply(t, k, netapply.Desired{})
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(before, "    inet 192.0.2.9/32 scope global mgmt0\n", ""),
		run(t, "sh", "-c", `ip -d link show other0; ip addr show dev other0; ip route show 198.51.100.0/24
		ip rule show pref 700; ip -6 route show 2001:db8:f::/64; nft list table inet other`)); diff != "" {
		t.Errorf("what is not ours changed when ours went (-before +after):\n%s", diff)
	}
	for name, l := range ipLinks(t) {
		if strings.HasPrefix(l.Alias, "netquorum: ") {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestKernelConflict expects that a link of ours by name, but not by mark, is
// reported and left alone, with everything else applied.
func TestKernelConflict(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0")
	sh(t, "ip link add mgmt0 type veth peer name other0")
	before := run(t, "ip", "-d", "link", "show", "mgmt0")
	k := openKernel(t)
	r := apply(t, k, want(t, example(t, "single-nic.yaml"), "filer1", "files"))
	var failed []string
	for _, f := range r.Failures {
		failed = append(failed, f.Object)
	}
	if expected := []string{"link mgmt0", "address 10.1.1.2/24 dev mgmt0"}; !slices.Equal(failed, expected) {
		t.Errorf("failures for %q, want %q: %v", failed, expected, r.Failures)
	}
	if after := run(t, "ip", "-d", "link", "show", "mgmt0"); after != before {
		t.Errorf("the foreign mgmt0 changed:\n%s", cmp.Diff(before, after))
	}
	if got := ipAddresses(t)["data0-files"]; len(got) != 2 {
		t.Errorf("data0-files has %v: the conflict of mgmt0 stopped it", got)
	}
}

// TestKernelDriftIsRepaired breaks things and expects Watch to wake us, and one
// pass to repair them, within a second.
func TestKernelDriftIsRepaired(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	d := want(t, example(t, "single-nic.yaml"), "filer1", "files")
	ctx, cancel := context.WithCancel(t.Context())
	wake := netapply.Watch(ctx, nil)
	follower := make(chan struct{})
	a := netapply.Applier{Kernel: k}
	go func() {
		defer close(follower)
		for range wake {
			if _, err := a.Apply(context.Background(), d); err != nil {
				t.Error(err)
			}
		}
	}()
	if r, err := a.Apply(t.Context(), d); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	good := settledState(t, k, d)
	for _, damage := range []string{
		"ip link del data0",
		"ip link del data0-files",
		"ip link set mgmt0 down",
		"ip link set data0 mtu 1300",
		"ip link set data0 alias nonsense",
		"ip link set mgmt0 address 02:00:00:00:00:77",
		"ip addr del 10.2.2.1/24 dev data0-files",
		"ip addr flush dev mgmt0",
		"ip route flush table all proto 190",
		"ip -6 addr del 2001:db8:2::1/64 dev data0-files",
		"ip rule del pref 900 from 10.2.2.1",
		"ip link set eth0 down",
	} {
		run(t, "sh", "-ec", damage)
		start := time.Now()
		within := time.Second
		if emulated {
			within = 10 * time.Second
		}
		eventually(t, "repair after "+damage, within, func() bool { return settledState(t, k, d) == good })
		t.Logf("%-50s repaired after %v", damage, time.Since(start).Round(100*time.Microsecond))
	}
	cancel()
	<-follower
}

// emulated says that we run in the virtual machine, where figures mean nothing.
var emulated = func() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && strings.Contains(unix.ByteSliceToString(u.Version[:]), "Debian")
}()

// TestKernelMTU raises and lowers MTUs through all layers.
func TestKernelMTU(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	for _, step := range []struct {
		what               string
		card, alias, other string // settings
		expect             map[string]int
	}{
		{"all of the card's", "9000", "0", "0", map[string]int{"eth0": 9000, "data0": 9000, "mgmt0": 9000, "data0-files": 9000}},
		{"one alias has less", "9000", "4000", "0", map[string]int{"eth0": 9000, "data0": 4000, "mgmt0": 9000, "data0-files": 4000}},
		{"the card is lowered below it", "1500", "0", "0", map[string]int{"eth0": 1500, "data0": 1500, "mgmt0": 1500, "data0-files": 1500}},
		{"and raised again", "8000", "7000", "1500", map[string]int{"eth0": 8000, "data0": 7000, "mgmt0": 1500, "data0-files": 7000}},
		{"no longer said, the card keeps its own", "0", "0", "0", map[string]int{"eth0": 8000, "data0": 8000, "mgmt0": 8000, "data0-files": 8000}},
	} {
		c := parse(t, strings.NewReplacer("$card", step.card, "$alias", step.alias, "$other", step.other).Replace(`
kind: Cluster
name: home
spec: {mac: "00:07:34:04:12:0f"}
---
kind: FilerGroup
name: main
spec: {interfaces: [{name: eth0, mtu: $card}, {name: data0, parent: eth0, mtu: $alias}]}
---
kind: Filer
name: filer1
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, mtu: $other, addresses: [10.1.1.2/24]}]}
---
kind: VirtualServer
name: files
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}
`))
		d := want(t, c, "filer1", "files")
		mustApply(t, k, d)
		mustBeSettled(t, k, d)
		links := ipLinks(t)
		for l, mtu := range step.expect {
			if links[l].MTU != mtu {
				t.Errorf("%s: %s has %d, want %d", step.what, l, links[l].MTU, mtu)
			}
		}
	}
}

// TestKernelUnclaimedBond takes over the bond0 that the bonding module makes by
// itself, and no bond that is in use.
func TestKernelUnclaimedBond(t *testing.T) {
	if !inNamespace(t, netapply.FeatureBond) {
		return
	}
	cards(t, "eth0", "eth1")
	sh(t, "ip link add bond0 type bond\nip link add bond1 type bond\nip link set bond1 up")
	k := openKernel(t)
	r := apply(t, k, want(t, parse(t, `
kind: FilerGroup
name: main
spec: {interfaces: [{name: bond0, members: [eth0]}, {name: bond1, members: [eth1]}]}
---
kind: Cluster
name: home
spec: {mac: "00:07:34:04:12:0f"}
---
kind: Filer
name: filer1
spec: {group: main}
`), "filer1"))
	if len(r.Failures) != 1 || r.Failures[0].Object != "link bond1" {
		t.Errorf("failures %v, want one for bond1, which is up", r.Failures)
	}
	links := ipLinks(t)
	if l := links["bond0"]; l.Alias != "netquorum: bond" || l.LinkInfo.Data["mode"] != "802.3ad" || links["eth0"].Master != "bond0" {
		t.Errorf("bond0 was not taken over: %+v", l)
	}
	if l := links["bond1"]; l.Alias != "" || links["eth1"].Master != "" {
		t.Errorf("bond1 was taken over: %+v", l)
	}
}

// elsewhere runs a function in a network namespace of its own. Commands that it
// starts are there, too.
func elsewhere(t *testing.T, f func() string) string {
	t.Helper()
	result := make(chan string, 1)
	go func() {
		defer close(result)
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		result <- f()
	}()
	return <-result
}
