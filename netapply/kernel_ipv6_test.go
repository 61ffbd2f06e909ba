package netapply_test

import (
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
)

const dadFiler = `
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces:
  - {name: mgmt0, parent: eth0, addresses: ["2001:db8:1::5/64", "2001:db8:1::6/64"]}
  - {name: data0, parent: eth0}
---
kind: VirtualServer
name: files
spec:
  group: main
  addresses:
  - {alias: data0, prefix: "2001:db8:1::7/64"}
`

// TestKernelDuplicateDetection: a filer's own IPv6 address is tried first, and
// not used when somebody on the network has it. A virtual server's is used at
// once: the cluster's log guarantees that it is nowhere else, and a second of
// waiting would be a second of outage. Nothing is forwarded or answered for
// others.
func TestKernelDuplicateDetection(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	if !tryCommand("test -d /proc/sys/net/ipv6") {
		t.Skip("this kernel has no IPv6")
	}
	sh(t, `ip netns add client
		ip link add eth0 type veth peer name eth0 netns client
		ip -n client link set eth0 up
		ip -n client addr add 2001:db8:1::5/64 dev eth0 nodad
		ip -n client addr add 2001:db8:1::7/64 dev eth0 nodad`)
	k := openKernel(t)
	mustApply(t, k, want(t, parse(t, dadFiler), "filer1", "files"))
	addr := func(link, address string) string {
		for line := range strings.Lines(run(t, "ip", "-6", "-o", "addr", "show", "dev", link)) {
			if strings.Contains(line, " "+address+"/") {
				return line
			}
		}
		t.Fatalf("%s has no %s", link, address)
		return ""
	}
	if a := addr("data0-files", "2001:db8:1::7"); !strings.Contains(a, "nodad") || strings.Contains(a, "tentative") || strings.Contains(a, "dadfailed") {
		t.Errorf("the server's address waits: %s", a)
	}
	if a := addr("mgmt0", "2001:db8:1::6"); strings.Contains(a, "nodad") {
		t.Errorf("the filer's address is not tried: %s", a)
	}
	eventually(t, "the filer's duplicate address to be found", 10*time.Second, func() bool {
		return strings.Contains(addr("mgmt0", "2001:db8:1::5"), "dadfailed")
	})
	eventually(t, "the filer's other address to be used", 10*time.Second, func() bool {
		return !strings.Contains(addr("mgmt0", "2001:db8:1::6"), "tentative")
	})
	if a := addr("data0-files", "2001:db8:1::7"); strings.Contains(a, "dadfailed") {
		t.Errorf("the server's address was given up: %s", a)
	}
	for _, name := range []string{"ipv4/conf/%s/forwarding", "ipv4/conf/%s/proxy_arp", "ipv6/conf/%s/forwarding", "ipv6/conf/%s/proxy_ndp"} {
		for _, link := range []string{"eth0", "mgmt0", "data0", "data0-files"} {
			if v := readTrimmed(t, "/proc/sys/net/"+strings.ReplaceAll(name, "%s", link)); v != "0" {
				t.Errorf("%s of %s is %s", name, link, v)
			}
		}
	}
}

// TestKernelFailOverMAC: with active, a bond has the MAC of the member in use,
// with none that of its first for ever.
func TestKernelFailOverMAC(t *testing.T) {
	if !inNamespace(t, netapply.FeatureBond) {
		return
	}
	cards(t, "eth0", "eth1")
	ownSysfs(t)
	k := openKernel(t)
	first, second := readTrimmed(t, "/sys/class/net/eth0/address"), readTrimmed(t, "/sys/class/net/eth1/address")
	for _, tc := range []struct{ policy, after string }{{"active", second}, {"none", first}, {"active", second}} {
		policy, after := tc.policy, tc.after
		c := parse(t, `
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: Filer
name: filer1
spec:
  interfaces:
  - {name: bond0, members: [eth0, eth1], bond: {mode: active-backup, primary: eth0, failOverMac: `+policy+`}}
`)
		mustApply(t, k, want(t, c, "filer1"))
		eventually(t, "eth0 to be in use", 10*time.Second, func() bool { return readTrimmed(t, "/sys/class/net/bond0/bonding/active_slave") == "eth0" })
		if got := readTrimmed(t, "/sys/class/net/bond0/address"); got != first {
			t.Errorf("%s: the bond has the MAC %s, not %s", policy, got, first)
		}
		sh(t, "ip link set xeth0 down")
		eventually(t, "eth1 to be in use", 10*time.Second, func() bool { return readTrimmed(t, "/sys/class/net/bond0/bonding/active_slave") == "eth1" })
		if got := readTrimmed(t, "/sys/class/net/bond0/address"); got != after {
			t.Errorf("%s: after the failover the bond has the MAC %s, not %s", policy, got, after)
		}
		sh(t, "ip link set xeth0 up")
	}
}
