package netapply_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

// ownSysfs mounts the /sys of the test's network namespace.
func ownSysfs(t *testing.T) {
	t.Helper()
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

// wantCards is what a filer with the given interfaces wants.
func wantCards(t *testing.T, interfaces ...netquorum.Interface) netapply.Desired {
	t.Helper()
	c, problems := netquorum.Config{}.Change([]netquorum.Document{
		{Kind: netquorum.KindCluster, Name: "acme", Spec: &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 1}}},
		{Kind: netquorum.KindFiler, Name: "filer1", Spec: &netquorum.Filer{Interfaces: interfaces}},
	}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want, err := netapply.Want(c, "filer1", func(netquorum.Key) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// tuned applies and returns what was done, which must be what was to be done
// and leave nothing to do: applying again writes nothing.
func tuned(t *testing.T, k netapply.Kernel, want netapply.Desired, steps ...string) {
	t.Helper()
	r := apply(t, k, want)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.Steps {
		if _, ok := s.(netapply.SetTuning); ok {
			got = append(got, s.String())
		}
	}
	if !slices.Equal(got, steps) {
		t.Fatalf("the steps were\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(steps, "\n"))
	}
	if again := apply(t, k, want); again.Writes != 0 || len(again.Steps) > 0 {
		t.Fatalf("applied again it wrote %d times:\n%s", again.Writes, lines(again.Steps))
	}
}

func offloads(t *testing.T, link string) string {
	t.Helper()
	o, err := openKernel(t).Observe(t.Context(), netapply.Look{Link: link, Sets: []string{"features"}})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(o.Links, func(l netapply.ObservedLink) bool { return l.Name == link })
	return o.Links[i].Tuning["features/rx-gro"] + " " + o.Links[i].Tuning["features/tx-tcp-segmentation"] + " " + o.Links[i].Tuning["features/tx-tcp6-segmentation"]
}

// Offloads of an interface, set, kept, and given back.
func TestKernelOffloads(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan, netapply.FeatureEthtool) {
		return
	}
	sh(t, "ip link add eth0 type veth peer name far")
	k := openKernel(t)
	before := offloads(t, "eth0")
	eth0 := netquorum.Interface{Name: "eth0"}
	with := eth0
	with.Ethernet = &netquorum.Ethernet{Offloads: map[string]bool{"tso": false, "gro": true}}
	data0 := netquorum.Interface{Name: "data0", Parent: "eth0"}
	tuned(t, k, wantCards(t, eth0, data0))
	const off = "ethtool -K eth0 rx-gro on tx-tcp-ecn-segmentation off tx-tcp-segmentation off tx-tcp6-segmentation off"
	tuned(t, k, wantCards(t, with, data0), off)
	if now := offloads(t, "eth0"); now != "on off off" {
		t.Errorf("eth0 has gro, tso %s", now)
	}
	// Somebody changes it.
	if err := errors.Join(k.Do(t.Context(), netapply.SetTuning{Link: "eth0", Values: netapply.Tuning{"features/tx-tcp-segmentation": "on"}})...); err != nil {
		t.Fatal(err)
	}
	tuned(t, k, wantCards(t, with, data0), "ethtool -K eth0 tx-tcp-segmentation off")
	// Nobody wants it any more.
	r := apply(t, k, wantCards(t, eth0, data0))
	if err := r.Err(); err != nil || offloads(t, "eth0") != before {
		t.Errorf("afterwards eth0 has %s, before it had %s: %v\n%s", offloads(t, "eth0"), before, err, lines(r.Steps))
	}
	tuned(t, k, wantCards(t, eth0, data0))
}
