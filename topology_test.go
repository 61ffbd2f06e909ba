package netquorum

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func names(all []Interface) string {
	var out []string
	for _, i := range all {
		out = append(out, string(i.Name))
	}
	return strings.Join(out, " ")
}

func TestInterfacesComeAfterWhatTheyStandOn(t *testing.T) {
	c := acceptance(t)
	for filer, want := range map[string]string{
		"filer1": "eth0 eth1 eth2 eth3 bond0 bond1 bond0.10 bond1.10 fail0 data0 data1 mgmt0 mgmt1 san0",
		"Filer2": "eth0 eth1 eth2 eth3 eth4 eth5 bond0 bond1 fail1 bond0.10 bond1.10 data2 fail0 data0 data1 mgmt0 mgmt1 san0",
		"nobody": "",
	} {
		if diff := cmp.Diff(want, names(c.Interfaces(filer))); diff != "" {
			t.Errorf("interfaces of %s (-want +got):\n%s", filer, diff)
		}
	}
}

func TestAFilerInheritsFromItsGroup(t *testing.T) {
	c := change(t, acceptance(t), parse(t, `
kind: FilerGroup
name: g
spec:
  interfaces:
  - {name: eth10, mtu: 9000}
  - {name: bond0, members: [eth0, eth1]}
  - {name: data0, parent: bond0}
  - {name: mgmt0, parent: eth10}
---
kind: Filer
name: X
spec:
  group: g
  interfaces:
  - {name: bond0, members: [eth2, eth10]}
  - {name: mgmt0, parent: bond0, addresses: [10.9.9.1/24]}
`))
	all := c.Interfaces("X")
	if diff := cmp.Diff("eth2 eth10 bond0 data0 mgmt0", names(all)); diff != "" {
		t.Fatalf("interfaces (-want +got):\n%s", diff)
	}
	if all[1].MTU != 9000 || all[4].Parent != "bond0" || len(all[4].Addresses) != 1 {
		t.Errorf("the filer has %v", all)
	}
	g, _ := c.Get(KindFilerGroup, "g")
	if n := g.Spec.(*FilerGroup).Interfaces[0].Name; n != "eth10" {
		t.Errorf("inheriting reordered the group's own interfaces: %s first", n)
	}
}

// The order does not depend on the order in which interfaces are written.
func TestOrderOfInterfacesIsOne(t *testing.T) {
	f := parse(t, filer(`name: eth0
name: bond0, members: [eth1, eth2]
name: bond0.10
name: fail0, members: [bond0.10, eth3]
name: fail0.7
name: data0, parent: fail0.7
name: data0.5
name: data10, parent: eth0
name: data2, parent: eth0`))[0].Spec.(*Filer)
	const want = "eth0 eth1 eth2 eth3 bond0 data2 data10 bond0.10 fail0 fail0.7 data0 data0.5"
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		rng.Shuffle(len(f.Interfaces), func(i, j int) { f.Interfaces[i], f.Interfaces[j] = f.Interfaces[j], f.Interfaces[i] })
		if got := names((Config{}).effective(f)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestEffectiveMTU(t *testing.T) {
	all := parse(t, filer(`name: eth0, mtu: 9000
name: eth1, mtu: 4000
name: bond0, members: [eth0, eth1, eth2]
name: bond0.5
name: data0, parent: bond0.5
name: mgmt0, parent: bond0, mtu: 1500
name: mgmt0.7
name: san0, parent: eth3`))[0].Spec.(*Filer).Interfaces
	for name, want := range map[InterfaceName]int{
		"eth0": 9000, "bond0": 4000, "bond0.5": 4000, "data0": 4000, "mgmt0": 1500, "mgmt0.7": 1500, "san0": 0, "eth3": 0, "data9": 0,
	} {
		if got := EffectiveMTU(all, name); got != want {
			t.Errorf("MTU of %s is %d, want %d", name, got, want)
		}
	}
	circle := []Interface{{Name: "fail0", Members: []InterfaceName{"fail0.5"}}, {Name: "fail0.5"}}
	if got := EffectiveMTU(circle, "fail0"); got != 0 {
		t.Errorf("MTU in a circle is %d", got)
	}
}

func TestDefaults(t *testing.T) {
	for _, tc := range []struct {
		bond   *Bond
		mode   BondMode
		miimon int
	}{
		{nil, Mode8023AD, 100},
		{&Bond{}, Mode8023AD, 100},
		{&Bond{Mode: ModeActiveBackup, Miimon: 50}, ModeActiveBackup, 50},
		{&Bond{Mode: ModeActiveBackup, ARPInterval: 200}, ModeActiveBackup, 0},
	} {
		if tc.bond.EffectiveMode() != tc.mode || tc.bond.EffectiveMiimon() != tc.miimon {
			t.Errorf("%+v: mode %s, miimon %d; want %s, %d", tc.bond, tc.bond.EffectiveMode(), tc.bond.EffectiveMiimon(), tc.mode, tc.miimon)
		}
	}
	var none *Failover
	if none.EffectiveMiimon() != 100 || (&Failover{ARPInterval: 1}).EffectiveMiimon() != 0 || (&Failover{Miimon: 7}).EffectiveMiimon() != 7 {
		t.Error("a failover interface has another miimon than it should")
	}
	if (&Cluster{}).EffectiveHistory() != 1000 || (&Cluster{History: 5}).EffectiveHistory() != 5 {
		t.Error("the cluster keeps another number of revisions than it should")
	}
}
