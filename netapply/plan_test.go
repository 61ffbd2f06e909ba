package netapply_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// single is a configuration of one filer: interfaces of the group, then of the
// filer, as YAML lists.
func single(t testing.TB, interfaces string, more ...string) netquorum.Config {
	t.Helper()
	return parse(t, strings.Join(append([]string{`
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces: [` + interfaces + `]
`}, more...), "\n---\n"))
}

const onData0 = `{kind: VirtualServer, name: a, spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}}`

// TestPlans holds whole plans, as an operator would read them. Each begins from
// what the one before it left.
func TestPlans(t *testing.T) {
	for _, story := range []struct {
		name  string
		cards []string
		steps []struct{ what, interfaces, more string }
	}{
		{"bond under management", []string{"eth0", "eth1"}, []struct{ what, interfaces, more string }{
			{"one card carries everything", `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth0}`, onData0},
			{"a bond is put under both aliases", `{name: bond0, members: [eth0, eth1]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: bond0}`, onData0},
			{"LACP goes faster, in place", `{name: bond0, members: [eth0, eth1], bond: {lacpRate: fast}}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: bond0}`, onData0},
			{"another mode, in place", `{name: bond0, members: [eth0, eth1], bond: {mode: active-backup, primary: eth1}}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: bond0}`, onData0},
			{"one member leaves and carries the data itself", `{name: bond0, members: [eth0], bond: {mode: active-backup}}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth1}`, onData0},
			{"everything goes", ``, ``},
		}},
		{"addresses", []string{"eth0"}, []struct{ what, interfaces, more string }{
			{"two addresses in one subnet", `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24, 10.1.1.3/24]}`, ``},
			{"the first goes, another comes: never bare", `{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24, 10.1.1.4/24]}`, ``},
			{"a wider subnet for the same address", `{name: mgmt0, parent: eth0, addresses: [10.1.1.3/16, 10.1.1.4/24]}`, ``},
			{"IPv6 instead", `{name: mgmt0, parent: eth0, addresses: ["2001:db8::2/64"]}`, ``},
			{"a wider IPv6 subnet: the kernel cannot hold both", `{name: mgmt0, parent: eth0, addresses: ["2001:db8::2/48"]}`, ``},
		}},
		{"policies", []string{"eth0"}, []struct{ what, interfaces, more string }{
			{"no policy: what the addresses imply", `{name: data0, parent: eth0}`, onData0},
			{"a gateway", `{name: data0, parent: eth0}`, `{kind: Routes, name: out, spec: {routes: [{to: default, via: 10.2.2.254}]}}
---
{kind: VirtualServer, name: a, spec: {group: main, routes: out, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}}`},
			{"another gateway: beside the old one first", `{name: data0, parent: eth0}`, `{kind: Routes, name: out, spec: {routes: [{to: default, via: 10.2.2.253}]}}
---
{kind: VirtualServer, name: a, spec: {group: main, routes: out, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}}`},
			{"a routing domain of its own", `{name: data0, parent: eth0}`, `{kind: Routes, name: out, spec: {vrf: true, routes: [{to: default, via: 10.2.2.253}]}}
---
{kind: VirtualServer, name: a, spec: {group: main, routes: out, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}}`},
			{"and no longer", `{name: data0, parent: eth0}`, onData0},
		}},
		{"layers", []string{"eth0", "eth1", "eth2"}, []struct{ what, interfaces, more string }{
			{"VLANs on every layer, a server on a VLAN of an alias", `{name: eth0, mtu: 9000}, {name: eth0.5}, {name: bond0, members: [eth1]}, {name: bond0.10}, {name: fail0, members: [bond0.10, eth2]}, {name: fail0.20}, {name: data0, parent: fail0.20}, {name: data0.7}, {name: mgmt0, parent: eth0.5, mtu: 1500, addresses: [10.1.1.2/24]}`,
				`{kind: VirtualServer, name: a, spec: {group: main, addresses: [{alias: data0.7, instance: 0, prefix: 10.2.2.1/24}]}}`},
			{"jumbo frames throughout", `{name: eth0, mtu: 9000}, {name: eth1, mtu: 9000}, {name: eth2, mtu: 9000}, {name: eth0.5}, {name: bond0, members: [eth1]}, {name: bond0.10}, {name: fail0, members: [bond0.10, eth2]}, {name: fail0.20}, {name: data0, parent: fail0.20}, {name: data0.7}, {name: mgmt0, parent: eth0.5, mtu: 1500, addresses: [10.1.1.2/24]}`,
				`{kind: VirtualServer, name: a, spec: {group: main, addresses: [{alias: data0.7, instance: 0, prefix: 10.2.2.1/24}]}}`},
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			k := fakekernel.New(story.cards...)
			var text strings.Builder
			for _, step := range story.steps {
				var more []string
				if step.more != "" {
					more = []string{step.more}
				}
				d, err := netapply.Want(single(t, step.interfaces, more...), "filer1", func(netquorum.Key) bool { return true })
				if err != nil {
					t.Fatal(err)
				}
				r := mustApply(t, k, d)
				text.WriteString("# " + step.what + "\n" + lines(r.Steps) + "\n")
				mustBeSettled(t, k, d)
			}
			golden(t, strings.ReplaceAll(story.name, " ", "-")+".plan", text.String())
		})
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(expected), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-golden +got); go test -update writes it anew:\n%s", path, diff)
	}
}

// TestExamplePlan is the plan of each filer of the acceptance example, hosting
// everything it could.
func TestExamplePlan(t *testing.T) {
	c := example(t, "two-filers.yaml")
	for _, filer := range []string{"filer1", "filer2"} {
		k := fakekernel.New("eth0", "eth1", "eth2", "eth3", "eth4", "eth5")
		may := func(key netquorum.Key) bool {
			for h := range c.Hosted() {
				if h.Key == key {
					return slices.ContainsFunc(c.Candidates(h), func(x netquorum.Candidate) bool { return x.Filer == filer && len(x.Missing) == 0 })
				}
			}
			return false
		}
		d, err := netapply.Want(c, filer, may)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "two-filers-"+filer+".plan", lines(mustApply(t, k, d).Steps))
		if got, expected := netapply.Requires(d), []string{"bond", "macvlan", "vlan", "vrf"}; !slices.Equal(got, expected) {
			t.Errorf("%s requires %q, want %q", filer, got, expected)
		}
	}
}

// objects are what failed, without why.
func objects(list []netapply.ObjectError) []string {
	names := []string{}
	for _, f := range list {
		names = append(names, f.Object)
	}
	return names
}

func TestWhatCannotBeHad(t *testing.T) {
	const layers = `{name: bond0, members: [eth0, eth1]}, {name: fail0, members: [bond0, eth2]}, {name: mgmt0, parent: fail0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth3}`
	c := single(t, layers, onData0)
	for _, tt := range []struct {
		name   string
		kernel func(*fakekernel.Kernel)
		fails  []string
		words  string   // in the first failure
		has    []string // lines that the state must contain nevertheless
	}{
		{
			name:   "a card that is missing takes down what stands on it alone, a bond lives on with the rest",
			kernel: func(k *fakekernel.Kernel) { k.Unplug("eth1"); k.Unplug("eth3") },
			fails:  []string{"link eth1", "link eth3", "link data0", "link data0-a", "address 10.2.2.1/24 dev data0-a"},
			words:  "no such interface",
			has:    []string{"link eth0 kind= parent= master=bond0 up=true", "address 10.1.1.2/24 dev mgmt0"},
		},
		{
			name: "a link of somebody else with our name is not touched",
			kernel: func(k *fakekernel.Kernel) {
				must(k.Foreign(netapply.Link{Name: "data0", Kind: netapply.Macvlan, Parent: "eth3", Options: netapply.Options{"mode": "private"}}, true))
			},
			fails: []string{"link data0"},
			words: "not netquorum's",
			has:   []string{"link data0 kind=macvlan parent=eth3 master= up=true", "mode:private", "address 10.2.2.1/24 dev data0-a"},
		},
		{
			name: "a card in somebody else's bond stays there",
			kernel: func(k *fakekernel.Kernel) {
				must(k.Foreign(netapply.Link{Name: "theirs", Kind: netapply.Bond}, true))
				must(k.Set(netapply.SetLink{Name: "eth1", Master: new("theirs")}))
			},
			fails: []string{"link eth1"},
			words: "belongs to theirs",
			has:   []string{"link eth1 kind= parent= master=theirs", "link eth0 kind= parent= master=bond0 up=true"},
		},
		{
			name: "a member that carries somebody else's macvlan is refused by the kernel, in its words",
			kernel: func(k *fakekernel.Kernel) {
				must(k.Foreign(netapply.Link{Name: "theirs", Kind: netapply.Macvlan, Parent: "eth1"}, true))
			},
			fails: []string{"link eth1"},
			words: "eth1 carries theirs",
			has:   []string{"link theirs kind=macvlan parent=eth1", "address 10.1.1.2/24 dev mgmt0"},
		},
		{
			name: "a failing step stops what needs it and nothing else",
			kernel: func(k *fakekernel.Kernel) {
				k.Fault = func(s netapply.Step) error {
					if add, ok := s.(netapply.AddLink); ok && add.Link.Name == "data0-a" {
						return errors.New("no space")
					}
					return nil
				}
			},
			fails: []string{"link data0-a", "link data0-a", "link data0-a", "address 10.2.2.1/24 dev data0-a", "route 10.2.2.0/24 dev data0-a table 4293925 metric 190"},
			words: "no space",
			has:   []string{"link data0 kind=macvlan", "address 10.1.1.2/24 dev mgmt0"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := fakekernel.New("eth0", "eth1", "eth2", "eth3")
			tt.kernel(k)
			r := apply(t, k, want(t, c, "filer1", "a"))
			got := objects(r.Failures)
			if strings.Contains(tt.name, "failing step") { // table numbers are not the point
				got, tt.fails = got[:4], tt.fails[:4]
			}
			if diff := cmp.Diff(tt.fails, got); diff != "" {
				t.Fatalf("failures (-want +got):\n%s\n%v", diff, r.Failures)
			}
			if !strings.Contains(r.Err().Error(), tt.words) {
				t.Errorf("%q does not say %q", r.Err(), tt.words)
			}
			for _, line := range tt.has {
				if !strings.Contains(k.String(), line) {
					t.Errorf("the state does not contain %q:\n%s", line, k)
				}
			}
		})
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// What stands on a link of ours and is somebody else's would go with it.
func TestForeignLinkOnOurs(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	c := single(t, `{name: bond0, members: [eth0]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}`)
	mustApply(t, k, want(t, c, "filer1"))
	must(k.Foreign(netapply.Link{Name: "theirs", Kind: netapply.VLAN, Parent: "bond0", Options: netapply.Options{"id": "9"}}, true))
	r := apply(t, k, want(t, single(t, `{name: mgmt0, parent: eth1, addresses: [10.1.1.2/24]}`), "filer1"))
	if diff := cmp.Diff([]string{"link bond0"}, objects(r.Failures)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	for _, line := range []string{"link theirs kind=vlan parent=bond0", "link mgmt0 kind=macvlan parent=eth1", "address 10.1.1.2/24 dev mgmt0"} {
		if !strings.Contains(k.String(), line) {
			t.Errorf("the state does not contain %q:\n%s", line, k)
		}
	}
}

// Without IFA_PROTO ownership of addresses goes by their link; the kernel's own
// link-local ones are left alone.
func TestAddressesWithoutProtocol(t *testing.T) {
	k := fakekernel.New("eth0")
	k.NoAddressProtocol = true
	mustApply(t, k, want(t, single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24, 10.1.1.3/24]}`), "filer1"))
	k.ForeignAddress("mgmt0", netip.MustParsePrefix("fe80::1/64"))
	k.ForeignAddress("eth0", netip.MustParsePrefix("192.0.2.1/24"))
	d := want(t, single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]}`), "filer1")
	if got, expected := lines(mustApply(t, k, d).Steps), "ip addr del 10.1.1.2/24 dev mgmt0\n"; !strings.Contains(got, expected) {
		t.Errorf("steps\n%swant among them\n%s", got, expected)
	}
	mustBeSettled(t, k, d)
	for _, line := range []string{"address fe80::1/64 dev mgmt0", "address 192.0.2.1/24 dev eth0"} {
		if !strings.Contains(k.String(), line) {
			t.Errorf("the state does not contain %q:\n%s", line, k)
		}
	}
}

func TestNoIPv6(t *testing.T) {
	k := fakekernel.New("eth0")
	k.NoIPv6 = true
	d := want(t, single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24, "2001:db8::2/64"]}`), "filer1")
	r := apply(t, k, d)
	if diff := cmp.Diff([]string{"address 2001:db8::2/64 dev mgmt0"}, objects(r.Failures)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if again := apply(t, k, d); again.Writes != 0 {
		t.Errorf("not settled: %v", again.Steps)
	}
}

// A member that is named as primary and comes later becomes primary then.
func TestPrimaryThatComesLater(t *testing.T) {
	k := fakekernel.New("eth0")
	d := want(t, single(t, `{name: fail0, members: [eth0, eth1], failover: {primary: eth1}}, {name: mgmt0, parent: fail0}`), "filer1")
	if diff := cmp.Diff([]string{"link eth1"}, objects(apply(t, k, d).Failures)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if r := apply(t, k, d); r.Writes != 0 {
		t.Errorf("not settled without eth1: %v", r.Steps)
	}
	k.AddPhysical("eth1", 1500, true)
	mustApply(t, k, d)
	mustBeSettled(t, k, d)
	if !strings.Contains(k.String(), "primary:eth1") {
		t.Errorf("eth1 is not primary:\n%s", k)
	}
}

func TestHostedWhereAnAliasIsMissing(t *testing.T) {
	c := single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}`, onData0, `
kind: Filer
name: filer2
spec: {group: main, interfaces: [{name: data0, parent: eth0}]}
`)
	r := apply(t, fakekernel.New("eth0"), want(t, c, "filer1", "a"))
	if len(r.Failures) != 1 || !strings.Contains(r.Failures[0].Error(), "VirtualServer/a is hosted here but Filer/filer1 has no data0") {
		t.Errorf("failures: %v", r.Failures)
	}
}

// A link that cannot be made takes what needs it with it; the pass does not try
// again what just failed, the next pass does.
func TestLinkThatCannotBeMade(t *testing.T) {
	k := fakekernel.New("eth0")
	once := true
	k.Fault = func(s netapply.Step) error {
		add, ok := s.(netapply.AddLink)
		if !ok || add.Link.Name != "mgmt0" || !once {
			return nil
		}
		once = false
		return errors.New("no memory")
	}
	d := want(t, single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}`), "filer1")
	r := apply(t, k, d)
	if err := r.Err(); err == nil {
		t.Fatalf("a link that could not be made is not reported: %v", r.Steps)
	}
	if diff := cmp.Diff([]string{
		"link mgmt0", "link mgmt0", "link mgmt0", "address 10.1.1.2/24 dev mgmt0",
	}, objects(r.Failures)[:4]); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if r.Rounds != 2 {
		t.Errorf("%d rounds, want 2: nothing changed that gives hope", r.Rounds)
	}
	mustApply(t, k, d)
	mustBeSettled(t, k, d)
}

func TestUnknownFiler(t *testing.T) {
	if _, err := netapply.Want(netquorum.Config{}, "nobody", nil); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("error %v, want one that names the filer", err)
	}
}
