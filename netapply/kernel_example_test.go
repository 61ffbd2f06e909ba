package netapply_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum/netapply"
)

// TestKernelSingleCard needs macvlan only: one card carries everything.
func TestKernelSingleCard(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	d := want(t, example(t, "single-nic.yaml"), "filer1", "files", "media")
	r := mustApply(t, k, d)
	t.Logf("%d writes, %d rounds, %v:\n%s", r.Writes, r.Rounds, r.Duration, lines(r.Steps))
	mustBeSettled(t, k, d)
	got := ipAddresses(t)
	expected := map[string][]string{
		"mgmt0":       {"10.1.1.2/24"},
		"data0-files": {"10.2.2.1/24", "2001:db8:2::1/64"},
		"data0-media": {"10.2.2.2/24"},
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("addresses (-expected +got):\n%s", diff)
	}
	for _, l := range []string{"mgmt0", "data0", "data0-files", "data0-media"} {
		got := ipLinks(t)[l]
		if got.LinkInfo.Kind != "macvlan" || got.LinkInfo.Data["mode"] != "bridge" || got.Parent != "eth0" || !slices.Contains(got.Flags, "UP") {
			t.Errorf("%s is not a macvlan on eth0 in bridge mode, up: %+v", l, got)
		}
	}
	for from, leaves := range map[string]string{
		"10.2.2.1": "via 10.2.2.254 dev data0-files",
		"10.1.1.2": "",
	} {
		if leaves == "" {
			continue
		}
		if got := routeFrom(t, "198.51.100.1", from); !strings.Contains(got, leaves) {
			t.Errorf("a packet from %s leaves as %q, want %q", from, got, leaves)
		}
	}
}

// TestKernelTwoFilers is the acceptance example: each filer's hierarchy as the
// table of the requirements has it.
func TestKernelTwoFilers(t *testing.T) {
	if !inNamespace(t, netapply.FeatureBond, netapply.FeatureVLAN, netapply.FeatureMacvlan, netapply.FeatureVRF) {
		return
	}
	cards(t, "eth0", "eth1", "eth2", "eth3", "eth4", "eth5")
	k := openKernel(t)
	c := example(t, "two-filers.yaml")
	for _, filer := range []struct {
		name    string
		hosts   []string
		members map[string]string // link: master
		parents map[string]string // link: parent
		addrs   map[string][]string
	}{
		{
			name: "filer1", hosts: []string{"VsvrA", "VsvrB", "MySQLMgmtNode"},
			members: map[string]string{
				"eth0": "bond0", "eth1": "bond0", "eth2": "bond1", "eth3": "bond1",
				"bond0.10": "fail0", "bond1.10": "fail0",
				"data0-vsvra": "vrf-vsvra", "data1-vsvra": "vrf-vsvra", "data0-vsvrb": "vrf-vsvrb",
			},
			parents: map[string]string{
				"bond0.10": "bond0", "bond1.10": "bond1",
				"mgmt0": "fail0", "mgmt1": "fail0", "san0": "fail0", "data0": "fail0", "data1": "fail0",
				"data0-vsvra": "fail0", "data1-vsvra": "fail0", "data0-vsvrb": "fail0",
			},
			addrs: map[string][]string{
				"mgmt0": {"10.1.1.2/24"}, "mgmt1": {"10.1.1.3/24"}, "san0": {"10.2.2.2/24"},
				"data0-vsvra": {"10.2.2.1/24", "10.3.3.1/24"}, "data1-vsvra": {"10.2.2.3/24"},
				"data0-vsvrb": {"10.3.4.1/24"},
				"nq-mgmt0":    {"10.1.1.10/24"}, "nq-mgmt1": {"10.1.1.11/24"},
			},
		},
		{
			name: "filer2", hosts: []string{"VsvrC"},
			members: map[string]string{
				"eth0": "bond0", "eth1": "bond0", "eth2": "bond1", "eth3": "bond1",
				"bond0.10": "fail0", "bond1.10": "fail0", "eth4": "fail1", "eth5": "fail1",
				"data2-vsvrc": "vrf-vsvrc",
			},
			parents: map[string]string{
				"bond0.10": "bond0", "bond1.10": "bond1", "data2": "fail1", "data2-vsvrc": "fail1",
				"mgmt0": "fail0", "mgmt1": "fail0", "san0": "fail0", "data0": "fail0", "data1": "fail0",
			},
			addrs: map[string][]string{
				"mgmt0": {"10.1.1.4/24"}, "mgmt1": {"10.1.1.5/24"}, "san0": {"10.2.2.4/24"},
				"data2-vsvrc": {"10.3.5.1/24"},
			},
		},
	} {
		// The second filer's state is applied over the first's: the same machine
		// changes its role, which is harder than starting from nothing.
		d := want(t, c, filer.name, filer.hosts...)
		start := time.Now()
		r := mustApply(t, k, d)
		t.Logf("%s: %d writes, %d rounds, %v (%v)", filer.name, r.Writes, r.Rounds, r.Duration, time.Since(start))
		mustBeSettled(t, k, d)
		links := ipLinks(t)
		for l, master := range filer.members {
			if links[l].Master != master {
				t.Errorf("%s: %s is in %q, want %q", filer.name, l, links[l].Master, master)
			}
		}
		for l, parent := range filer.parents {
			if links[l].Parent != parent {
				t.Errorf("%s: %s is on %q, want %q", filer.name, l, links[l].Parent, parent)
			}
		}
		got := ipAddresses(t)
		for l := range got {
			// Names that are too long are hashed: said by what they are for.
			if alias := links[l].Alias; strings.HasPrefix(l, "nq-") {
				got["nq-"+strings.Fields(alias)[2]] = got[l]
				delete(got, l)
			}
		}
		if diff := cmp.Diff(filer.addrs, got); diff != "" {
			t.Errorf("%s: addresses (-expected +got):\n%s", filer.name, diff)
		}
		checkExampleLinks(t, filer.name, links)
	}
	if got := ipLinks(t)["vrf-vsvra"]; got.Name != "" {
		t.Error("the VRF of VsvrA is still there although it is hosted elsewhere")
	}
}

func checkExampleLinks(t *testing.T, filer string, links map[string]ipLink) {
	t.Helper()
	for name, l := range links {
		mtu, kind := 9000, ""
		data := map[string]any{}
		switch {
		case strings.HasPrefix(name, "bond") && strings.Contains(name, "."):
			kind, data["id"] = "vlan", 10.0
		case strings.HasPrefix(name, "bond"):
			kind, data["mode"], data["ad_lacp_rate"], data["xmit_hash_policy"] = "bond", "802.3ad", "fast", "layer3+4"
		case strings.HasPrefix(name, "fail"):
			kind, data["mode"], data["miimon"] = "bond", "active-backup", 100.0
		case strings.HasPrefix(name, "mgmt"), strings.HasPrefix(name, "data1"):
			mtu, kind, data["mode"] = 1500, "macvlan", "bridge"
		case strings.HasPrefix(name, "data"), strings.HasPrefix(name, "san"):
			kind, data["mode"] = "macvlan", "bridge"
		default:
			continue
		}
		if name == "fail1" || strings.HasPrefix(name, "data2") {
			mtu = 1500 // on cards without a configured MTU
		}
		if l.MTU != mtu || l.LinkInfo.Kind != kind || !slices.Contains(l.Flags, "UP") || !strings.HasPrefix(l.Alias, "netquorum: ") {
			t.Errorf("%s: %s is %+v, want kind %s, MTU %d, up, and our alias text", filer, name, l, kind, mtu)
		}
		for k, v := range data {
			if fmt.Sprint(l.LinkInfo.Data[k]) != fmt.Sprint(v) {
				t.Errorf("%s: %s has %s=%v, want %v", filer, name, k, l.LinkInfo.Data[k], v)
			}
		}
	}
}
