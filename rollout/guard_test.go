package rollout

import (
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
)

func TestGuard(t *testing.T) {
	with := func(text string) func(testing.TB) []netquorum.Document {
		return func(t testing.TB) []netquorum.Document { return parse(t, text) }
	}
	for _, c := range []struct {
		name       string
		puts       func(testing.TB) []netquorum.Document
		want       string // part of the reason; empty for none
		steps      int
		interrupts bool
	}{
		{"a record", with("kind: Record\nname: a\nspec: {data: 1}\n"), "", 0, false},
		{"a virtual server", with("kind: VirtualServer\nname: new\nspec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.9/24}]}\n"), "", 0, false},
		{"an alias on an untouched parent", with("kind: FilerGroup\nname: main\nspec: {interfaces: [{name: data0, parent: eth0}, {name: data1, parent: eth0}]}\n"), "", 0, false},
		{"a VLAN beside", with("kind: FilerGroup\nname: main\nspec: {interfaces: [{name: data0, parent: eth0}, {name: eth0.5}, {name: data1, parent: eth0.5}]}\n"), "", 0, false},
		{"a second mgmt address", with("kind: Filer\nname: f1\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.1/24, 10.9.9.1/24]}]}\n"), "", 0, false},
		{"a filer that has not joined", with("kind: Filer\nname: new\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.77/24]}]}\n"), "", 0, false},
		{"another mgmt network", func(t testing.TB) []netquorum.Document { return moved(t, 3, "10.9.9") }, "mgmt address 10.1.1.1/24 goes", 3, false},
		{"one filer's mgmt address", with("kind: Filer\nname: f2\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.22/24]}]}\n"), "f2: mgmt address", 1, false},
		{"a bond under everything", func(t testing.TB) []netquorum.Document { return bonded(t, 3) }, "is put on bond0", 3, true},
		{"a data alias put elsewhere", with("kind: FilerGroup\nname: main\nspec: {interfaces: [{name: data0, parent: eth1}]}\n"), "data0 under data0 is put on eth1", 3, true},
		{"an MTU below an alias", with("kind: FilerGroup\nname: main\nspec: {interfaces: [{name: eth0, mtu: 9000}, {name: data0, parent: eth0, mtu: 1500}]}\n"), "eth0 under data0 gets another MTU", 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := cluster(t, 3)
			got := Guard(before, change(t, before, c.puts(t)))
			if got.Needed() != (c.want != "") || !strings.Contains(got.Text, c.want) || len(got.Steps) != c.steps {
				t.Fatalf("reason %q with %d steps, want %q with %d", got.Text, len(got.Steps), c.want, c.steps)
			}
			for _, s := range got.Steps {
				if s.Interrupts != c.interrupts {
					t.Errorf("the step of %s interrupts: %v, want %v", s.Filer, s.Interrupts, c.interrupts)
				}
			}
		})
	}
}

// What stands on a link that is changed in place, and what is torn from it.
func TestGuardLooksAtWhatIsBelow(t *testing.T) {
	before := change(t, cluster(t, 1), parse(t, bondGroup+filerYAML(1, "10.1.1", "bond0")))
	bond := func(spec string) string {
		return "kind: FilerGroup\nname: main\nspec:\n  interfaces: [{name: bond0, " + spec + "}, {name: data0, parent: bond0}]\n"
	}
	for spec, want := range map[string]string{
		"members: [eth0, eth1], bond: {mode: active-backup, miimon: 200}": "",
		"members: [eth0, eth1, eth2], bond: {mode: active-backup}":        "",
		"members: [eth0, eth1], mtu: 9000, bond: {mode: active-backup}":   "bond0 under data0 gets another MTU",
		"members: [eth0, eth2], bond: {mode: active-backup}":              "loses its member eth1",
		"members: [eth0, eth1]": "is set up anew",
		"members: [eth0, eth1], bond: {mode: active-backup, primary: eth1}": "",
	} {
		got := Guard(before, change(t, before, parse(t, bond(spec))))
		if (got.Text == "") != (want == "") || !strings.Contains(got.Text, want) {
			t.Errorf("%s: reason %q, want %q", spec, got.Text, want)
		}
	}
}

func TestStrands(t *testing.T) {
	all := func(string) bool { return true }
	without := func(gone string) func(string) bool { return func(f string) bool { return f != gone } }
	bond := func(t testing.TB, n int) []netquorum.Document { return bonded(t, n) }
	torn := func(t testing.TB, n int) []netquorum.Document {
		return parse(t, strings.TrimPrefix(filerYAML(1, "10.7.7", "eth0")+filerYAML(2, "10.8.8", "eth0"), "\n---\n"))
	}
	for _, c := range []struct {
		name   string
		filers int
		puts   func(testing.TB, int) []netquorum.Document
		live   func(string) bool
		want   string
	}{
		{"three filers, one bond each", 3, bond, all, ""},
		{"a cluster of one needs nobody", 1, bond, all, ""},
		{"of two filers, one is no quorum", 2, bond, all, "while links of f1 are down"},
		{"one of three is away", 3, bond, without("f3"), "while links of f1 are down"},
		{"one of five is away", 5, bond, without("f3"), ""},
		{"every filer in a network of its own", 3, torn, all, "no majority"},
		{"a move while one is away", 3, func(t testing.TB, n int) []netquorum.Document { return moved(t, n, "10.9.9") }, without("f3"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := cluster(t, c.filers)
			after := change(t, before, c.puts(t, c.filers))
			got := strings.Join(Strands(before, after, Guard(before, after), c.live), "; ")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("strands: %q, want %q", got, c.want)
			}
		})
	}
}
