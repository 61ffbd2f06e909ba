package rollout

import (
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
)

// put is the configuration with the rollout changed by hand.
func put(t testing.TB, c netquorum.Config, edit func(*netquorum.Rollout)) netquorum.Config {
	t.Helper()
	doc, r, _ := c.Rollout()
	r = r.Clone()
	edit(r)
	doc.Spec = r
	return change(t, c, []netquorum.Document{doc})
}

func TestViewHasBothAddressesUntilTheEnd(t *testing.T) {
	c := begun(t, cluster(t, 3), moved(t, 3, "10.9.9"), Order{})
	if got := addresses(c, "f1"); got != "10.9.9.1/24" {
		t.Fatalf("the configuration itself has %s", got)
	}
	if got := addresses(View(c, "f1"), "f2"); got != "10.1.1.2/24 10.9.9.2/24" {
		t.Errorf("at first f1 knows f2 at %s", got)
	}
	c = put(t, c, func(r *netquorum.Rollout) {
		r.Phase = netquorum.RolloutFilers
		r.Steps[0].State = netquorum.StepDone
	})
	if got := addresses(View(c, "f1"), "f1"); got != "10.9.9.1/24 10.1.1.1/24" {
		t.Errorf("after its step f1 has %s", got)
	}
	c = put(t, c, func(r *netquorum.Rollout) { end(r) })
	if got := addresses(View(c, "f1"), "f1"); got != "10.9.9.1/24" {
		t.Errorf("in the end f1 has %s", got)
	}
}

func TestAFilerInItsStepBootsWithWhatWasBefore(t *testing.T) {
	c := begun(t, cluster(t, 3), bonded(t, 3), Order{})
	c = put(t, c, func(r *netquorum.Rollout) {
		r.Phase = netquorum.RolloutFilers
		r.Steps[0].State, r.Steps[1].State = netquorum.StepDone, netquorum.StepApplying
	})
	parent := func(c netquorum.Config, filer string) string {
		list := c.Interfaces(filer)
		return string(list[indexOf(list, "mgmt0")].Parent)
	}
	for filer, want := range map[string]string{"f1": "bond0", "f2": "eth0", "f3": "eth0"} {
		if got := parent(View(c, filer), filer); got != want {
			t.Errorf("%s has mgmt0 on %s, want %s", filer, got, want)
		}
	}
	if got := parent(Ahead(c, "f2"), "f2"); got != "bond0" {
		t.Errorf("f2 tries mgmt0 on %s, want bond0", got)
	}
}

// A network may move to an alias of its own, with a VLAN below it.
func TestJointAddsAnAliasBesideTheOldOne(t *testing.T) {
	text := ""
	for _, n := range []string{"1", "2", "3"} {
		text += "---\nkind: Filer\nname: f" + n + "\nspec: {group: main, interfaces: [{name: eth0.20}, {name: mgmt1, parent: eth0.20, addresses: [10.9.9." + n + "/24]}]}\n"
	}
	c := begun(t, cluster(t, 3), parse(t, text), Order{})
	v := View(c, "f1")
	if got := addresses(v, "f1"); got != "10.1.1.1/24 10.9.9.1/24" {
		t.Errorf("f1 has %s", got)
	}
	if indexOf(v.Interfaces("f1"), "eth0.20") < 0 {
		t.Error("the VLAN is missing")
	}
}

func TestAddressesCannotBeSwappedAtOneStroke(t *testing.T) {
	before := cluster(t, 3)
	swap := parse(t, strings.TrimPrefix(
		"\n---\nkind: Filer\nname: f1\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}]}\n"+
			"\n---\nkind: Filer\nname: f2\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.1/24]}]}\n", "\n---\n"))
	after := change(t, before, swap)
	doc, _, err := Begin(before, after, Guard(before, after), Order{})
	if err != nil {
		t.Fatal(err)
	}
	if problems := Check(change(t, after, []netquorum.Document{doc})); len(problems) == 0 {
		t.Error("two filers may have each other's address at the same time")
	}
}

func TestRevertPutsBackOnlyWhatTheChangeTouched(t *testing.T) {
	c := begun(t, cluster(t, 3), moved(t, 3, "10.9.9"), Order{Actor: "root"})
	c = put(t, c, func(r *netquorum.Rollout) { r.Phase, r.Steps[0].State = netquorum.RolloutFilers, netquorum.StepDone })
	other := parse(t, "kind: VirtualServer\nname: late\nspec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.7/24}]}\n")
	c = change(t, c, other)
	puts, deletes, err := Revert(c, "for a test")
	if err != nil {
		t.Fatal(err)
	}
	c = change(t, c, puts, deletes...)
	if got := addresses(c, "f1"); got != "10.1.1.1/24" {
		t.Errorf("f1 is to have %s", got)
	}
	if _, ok := c.VirtualServer("late"); !ok {
		t.Error("what was added since is gone")
	}
	_, r, _ := c.Rollout()
	if r.Phase != netquorum.RolloutReverting || r.Steps[0].State != netquorum.StepWaiting || r.Steps[1].State != netquorum.StepDone {
		t.Errorf("the rollout is %s with steps %v", r.Phase, r.Steps)
	}
	if got := addresses(View(c, "f1"), "f1"); got != "10.9.9.1/24 10.1.1.1/24" {
		t.Errorf("before its step back f1 has %s", got)
	}
}

func TestNextLetsServersLeaveAndReturn(t *testing.T) {
	c := begun(t, cluster(t, 3), bonded(t, 3), Order{Leader: "f1"})
	c = put(t, c, func(r *netquorum.Rollout) { r.Phase, r.Revision = netquorum.RolloutFilers, 10 })
	_, r, _ := c.Rollout()
	if r.Steps[2].Filer != "f1" {
		t.Fatalf("the leader is not the last: %v", r.Steps)
	}
	seen := Seen{Leader: "f1", Filers: map[string]Filer{}}
	for _, f := range members(c) {
		seen.Filers[f] = Filer{Live: true, Cached: 10, Settled: 10}
	}
	place := func(filer string) {
		c = change(t, c, []netquorum.Document{{Kind: netquorum.KindPlacement, Name: "web", Spec: &netquorum.Placement{Filer: filer}}})
	}
	step := func() Decision {
		d := Next(c, seen)
		if d.Commits() {
			c = change(t, c, d.Puts, d.Deletes...)
		}
		return d
	}
	place("f2")
	step()
	if !Draining(c, "f2") {
		t.Fatal("f2 is not drained")
	}
	if d := step(); d.Commits() || !strings.Contains(d.Waiting, "web has yet to leave f2") {
		t.Fatalf("with web on f2: %+v", d)
	}
	place("f3")
	step()
	seen.Filers["f2"] = Filer{Live: true, Cached: 10, Settled: 10, Attempt: Attempt{"rollout-1", 1, Proven, ""}}
	step()
	if d := step(); d.Commits() || !strings.Contains(d.Waiting, "f2 has yet to take back web") || Homes(c)("web") != "f2" {
		t.Fatalf("after f2's step: %+v", d)
	}
	place("f2")
	if step(); !Draining(c, "f3") {
		t.Fatal("f3 is not next")
	}
}

func TestServersThatNobodyElseCanHostAreNamed(t *testing.T) {
	c := change(t, cluster(t, 3), []netquorum.Document{{Kind: netquorum.KindPlacement, Name: "web", Spec: &netquorum.Placement{Filer: "f2"}}})
	need := Guard(c, change(t, c, bonded(t, 3)))
	if got := Grounded(c, need, func(string) bool { return true }); len(got) != 0 {
		t.Errorf("with others there: %v", got)
	}
	if got := Grounded(c, need, func(f string) bool { return f == "f2" }); len(got) != 1 || !strings.Contains(got[0], "web on f2") {
		t.Errorf("with nobody else there: %v", got)
	}
}

func TestAFilerThatLeftTheClusterIsNotWaitedFor(t *testing.T) {
	c := begun(t, cluster(t, 3), bonded(t, 3), Order{})
	c = put(t, c, func(r *netquorum.Rollout) {
		r.Phase, r.Revision = netquorum.RolloutFilers, 10
		r.Steps[0].State, r.Steps[1].State, r.Steps[2].State = netquorum.StepDone, netquorum.StepApplying, netquorum.StepDone
	})
	c = change(t, c, nil, netquorum.Key{Kind: netquorum.KindMember, Name: "f2"})
	seen := Seen{Leader: "f1", Filers: map[string]Filer{"f1": {Live: true, Cached: 10}, "f3": {Live: true, Cached: 10}}}
	d := Next(c, seen)
	if !d.Commits() || d.Puts[0].Spec.(*netquorum.Rollout).Phase != netquorum.RolloutDone {
		t.Errorf("the leader does %+v", d)
	}
}
