package netapply_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
)

// overlapping has several aliases in one subnet, for the filer and for servers:
// one with a VRF, one without.
const overlapping = `
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: Routes
name: domain
spec: {vrf: true, routes: [{to: default, via: 10.2.2.254, alias: data0}]}
---
kind: Routes
name: tables
spec: {routes: [{to: default, via: 10.3.3.254, alias: data0}, {to: default, via: "2001:db8:3::fe", alias: data0}]}
---
kind: Routes
name: filers
spec: {routes: [{to: default, via: 10.1.1.254, alias: mgmt0}]}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: filer1
spec:
  group: main
  routes: filers
  interfaces:
  - {name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}
  - {name: mgmt1, parent: eth0, addresses: [10.1.1.3/24]}
  - {name: data0, parent: eth0}
  - {name: data1, parent: eth0}
---
kind: VirtualServer
name: inside
spec:
  group: main
  routes: domain
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.2.1/24}
  - {alias: data1, instance: 0, prefix: 10.2.2.3/24}
---
kind: VirtualServer
name: beside
spec:
  group: main
  routes: tables
  addresses:
  - {alias: data0, instance: 0, prefix: 10.3.3.1/24}
  - {alias: data1, instance: 0, prefix: 10.3.3.3/24}
  - {alias: data0, instance: 1, prefix: "2001:db8:3::1/64"}
  - {alias: data1, instance: 1, prefix: "2001:db8:3::3/64"}
`

// withClient plugs in a card whose other end is a client that is in all
// subnets and is every gateway.
func withClient(t *testing.T) {
	sh(t, `ip netns add client
		ip link add eth0 type veth peer name eth0 netns client
		ip -n client link set lo up
		ip -n client link set eth0 up
		ip netns exec client sysctl -qw net.ipv4.conf.all.arp_accept=1 net.ipv4.conf.eth0.arp_accept=1`)
	for _, a := range []string{"10.1.1.254/24", "10.2.2.254/24", "10.3.3.254/24", "2001:db8:3::fe/64 nodad", "203.0.113.1/32", "2001:db8:ffff::1/128 nodad"} {
		run(t, "sh", "-c", "ip -n client addr add "+a+" dev eth0")
	}
}

// TestKernelRepliesLeaveByTheOwner pings every address of aliases that share
// subnets, from the subnet and from beyond the gateway, and watches the
// counters: the reply must leave by the link that owns the address.
func TestKernelRepliesLeaveByTheOwner(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	text := overlapping
	if !hasFeature(t, netapply.FeatureVRF) {
		t.Log("no VRF in this kernel: the server that asks for one does without")
		text = strings.Replace(text, "vrf: true, ", "", 1)
	}
	withClient(t)
	k := openKernel(t)
	d := want(t, parse(t, text), "filer1", "inside", "beside")
	mustApply(t, k, d)
	mustBeSettled(t, k, d)
	owners := map[string]string{
		"10.1.1.2": "mgmt0", "10.1.1.3": "mgmt1",
		"10.2.2.1": "data0-inside", "10.2.2.3": "data1-inside",
		"10.3.3.1": "data0-beside", "10.3.3.3": "data1-beside",
		"2001:db8:3::1": "data0-beside", "2001:db8:3::3": "data1-beside",
	}
	links := []string{"mgmt0", "mgmt1", "data0-inside", "data1-inside", "data0-beside", "data1-beside"}
	for address, owner := range owners {
		for _, source := range []string{"", "203.0.113.1", "2001:db8:ffff::1"} {
			six := strings.Contains(address, ":")
			if source != "" && strings.Contains(source, ":") != six {
				continue
			}
			args := []string{"netns", "exec", "client", "ping", "-q", "-c1", "-W5"}
			if source != "" {
				args = append(args, "-I", source)
			}
			// The first ping settles neighbours; the second is counted.
			run(t, "ip", append(args, address)...)
			before := sent(t)
			run(t, "ip", append(args, "-c20", "-i0.002", address)...)
			after := sent(t)
			for _, l := range links {
				// Others send now and then what IPv6 wants of a new link.
				if n := after[l] - before[l]; (n >= 20) != (l == owner) {
					t.Errorf("pinged %s of %s 20 times from %q: %s sent %d packets", address, owner, source, l, n)
				}
			}
		}
	}
}

func hasFeature(t *testing.T, name string) bool {
	for _, f := range netapply.Features(t.Context()) {
		if f.Name == name {
			return f.Present
		}
	}
	return false
}

// sent counts the packets that every link has sent.
func sent(t *testing.T) map[string]int {
	t.Helper()
	var list []struct {
		Name  string `json:"ifname"`
		Stats struct {
			Tx struct{ Packets int }
		} `json:"stats64"`
	}
	if err := json.Unmarshal([]byte(run(t, "ip", "-s", "-j", "link")), &list); err != nil {
		t.Fatal(err)
	}
	m := map[string]int{}
	for _, l := range list {
		m[l.Name] = l.Stats.Tx.Packets
	}
	return m
}

// TestKernelOneAnswerPerAddress asks on the wire who has an address. The card
// and the other aliases on it hear the question, too, and Linux would answer on
// all of them.
func TestKernelOneAnswerPerAddress(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	if _, err := exec.LookPath("arping"); err != nil {
		t.Skip("arping is not installed")
	}
	withClient(t)
	k := openKernel(t)
	mustApply(t, k, want(t, parse(t, strings.Replace(overlapping, "vrf: true, ", "", 1)), "filer1", "inside", "beside"))
	for address, owner := range map[string]string{
		"10.1.1.2": "mgmt0", "10.1.1.3": "mgmt1", "10.2.2.1": "data0-inside", "10.3.3.3": "data1-beside",
	} {
		out := run(t, "ip", "netns", "exec", "client", "arping", "-c1", "-I", "eth0", address)
		answers := regexp.MustCompile(`(?i)([0-9a-f]{2}:){5}[0-9a-f]{2}`).FindAllString(out, -1)
		for _, mac := range answers {
			if !strings.EqualFold(mac, ipLinks(t)[owner].MAC) {
				t.Errorf("%s of %s was answered for by %s:\n%s", address, owner, mac, out)
				break
			}
		}
		if len(answers) == 0 {
			t.Errorf("nobody answered for %s:\n%s", address, out)
		}
	}
}

// TestKernelMoveAnnounced moves an address from one port to another machine's
// and back, and expects the client's neighbour entry to follow at once.
func TestKernelMoveAnnounced(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	text := strings.Replace(overlapping, "vrf: true, ", "", 1)
	withClient(t)
	k := openKernel(t)
	announcer := netapply.NewAnnouncer(nil)
	defer announcer.Close()
	a := netapply.Applier{Kernel: k, Announcer: announcer}
	neighbour := func(address string) string {
		f := strings.Fields(run(t, "ip", "-n", "client", "neigh", "show", address, "dev", "eth0"))
		for i, w := range f {
			if w == "lladdr" {
				return f[i+1]
			}
		}
		return ""
	}
	sh(t, `ip -n client neigh replace 10.3.3.1 lladdr 02:00:00:00:00:99 dev eth0 nud stale
		ip -n client neigh replace 2001:db8:3::1 lladdr 02:00:00:00:00:99 dev eth0 nud stale`)
	for _, hosts := range [][]string{{"beside"}, nil, {"beside"}} {
		if _, err := a.Apply(t.Context(), want(t, parse(t, text), "filer1", hosts...)); err != nil {
			t.Fatal(err)
		}
		if hosts == nil {
			sh(t, `ip -n client neigh replace 10.3.3.1 lladdr 02:00:00:00:00:99 dev eth0 nud stale
				ip -n client neigh replace 2001:db8:3::1 lladdr 02:00:00:00:00:99 dev eth0 nud stale`)
			continue
		}
		mac := ipLinks(t)["data0-beside"].MAC
		for _, address := range []string{"10.3.3.1", "2001:db8:3::1"} {
			eventually(t, "the client knows "+address+" at "+mac, 5*time.Second, func() bool { return neighbour(address) == mac })
		}
	}
}
