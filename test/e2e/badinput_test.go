package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// A mistake is something an operator may get wrong.
type mistake struct {
	name  string
	stdin string
	args  []string // apply -f - when empty
	code  int
	words []string // of the error, besides what every refusal says
}

// interfaces is a Filer document with them, one to a line.
func interfaces(filer string, lines ...string) string {
	return "kind: Filer\nname: " + filer + "\nspec:\n  group: main\n  interfaces:\n" + items(lines)
}

func server(name string, lines ...string) string {
	return "kind: VirtualServer\nname: " + name + "\nspec:\n  group: main\n  addresses:\n" + items(lines)
}

func policy(lines ...string) string {
	return "kind: Routes\nname: out\nspec:\n  routes:\n" + items(lines)
}

func items(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("  - {" + l + "}\n")
	}
	return b.String()
}

// What cannot be read, or is no document.
var unreadable = []mistake{
	{"a field that does not exist", "kind: Filer\nname: x\nspec: {adresses: []}\n", nil, 1, []string{"standard input:3", "Filer/x", "adresses", "interfaces"}},
	{"a field that does not exist, deep inside", server("x", "alias: data0, prefx: 10.2.2.9/24"), nil, 1, []string{"VirtualServer/x", "prefx"}},
	{"a kind that does not exist", "kind: Filler\nname: x\n", nil, 1, []string{`"Filler"`, "Filer"}},
	{"a document without a kind", "name: x\n", nil, 1, []string{"kind"}},
	{"a key twice", "kind: Filer\nname: x\nspec:\n  group: main\n  group: main\n", nil, 1, []string{"standard input:5", "group"}},
	{"YAML that is none", "kind: [Filer\n", nil, 1, []string{"standard input:"}},
	{"an empty file", "", nil, 1, []string{"standard input: there is no document"}},
	{"comments only", "# nothing\n---\n", nil, 1, []string{"there is no document"}},
	{"a binary file", "\x7fELF\x02\x01\x01\x00\x00\x00\xff\xfe\x00\x00kind: Filer\x00", nil, 1, []string{"standard input"}},
	{"a document of 10 MB", "kind: Record\nname: huge\nspec: {data: " + strings.Repeat("x", 10<<20) + "}\n", nil, 1, []string{"standard input:1", "10485799 bytes"}},
	{"a record of 300 KB", "kind: Record\nname: huge\nspec: {data: " + strings.Repeat("x", 300<<10) + "}\n", nil, 1, []string{"Record/huge", "256 KiB", "[record-size]"}},
	{"a value of the wrong type", "kind: Filer\nname: x\nspec: {interfaces: 7}\n", nil, 1, []string{"Filer/x", "interfaces"}},
	{"an address that is none", server("x", "alias: data0, prefix: 10.2.2.300/24"), nil, 1, []string{"VirtualServer/x", "10.2.2.300/24"}},
	{"an alias in YAML", "kind: Record\nname: a\nspec: {data: &a [1]}\n---\nkind: Record\nname: b\nspec: {data: *a}\n", nil, 1, []string{"standard input:"}},
	{"a file that is not there", "", []string{"apply", "-f", "/none.yaml"}, 2, []string{"/none.yaml"}},
	{"a flag that does not exist", "", []string{"apply", "--fiel", "x"}, 2, []string{"--fiel"}},
	{"a command that does not exist", "", []string{"aply"}, 2, []string{"aply"}},
}

// What breaks a rule of the nouns, through the real front door. That each rule
// finds all it should is the root package's business.
var broken = []mistake{
	{"N11: an interface with a name against the rules", interfaces("x", "name: wlan0"), nil, 1, []string{"wlan0"}},
	{"N11: a VLAN of 0", interfaces("x", "name: eth0.0"), nil, 1, []string{"eth0.0"}},
	{"N11: a VLAN of 4095", interfaces("x", "name: eth0.4095"), nil, 1, []string{"eth0.4095", "4094"}},
	{"N11: a document with a name against the rules", "kind: FilerGroup\nname: 'a:b'\n", nil, 1, []string{"FilerGroup/a:b", "[name]"}},
	{"N11: an interface twice", interfaces("x", "name: eth0", "name: eth0"), nil, 1, []string{"spec.interfaces[1]", "[interface-once]"}},
	{"N12: a member of two bonds", interfaces("x", "name: bond0, members: [eth1, eth2]", "name: bond1, members: [eth2, eth3]"), nil, 1, []string{"eth2", "bond0", "[member-shared]"}},
	{"N12: an alias on a member", interfaces("filer1", "name: bond0, members: [eth0]", "name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]"), nil, 1, []string{"eth0", "[member-shared]"}},
	{"N12: a member with an address", interfaces("x", "name: eth1, addresses: [10.9.9.1/24]", "name: bond0, members: [eth1]"), nil, 1, []string{"[member-address]"}},
	{"N10: an interface on itself", interfaces("x", "name: fail0, members: [fail0.5]", "name: fail0.5"), nil, 1, []string{"[interface-circle]"}},
	{"N10: an interface on one that is not there", interfaces("x", "name: mgmt0, parent: fail3"), nil, 1, []string{"fail3", "[interface-exists]"}},
	{"N10: a bond of a VLAN", interfaces("x", "name: eth1.5", "name: bond0, members: [eth1.5, eth2]"), nil, 1, []string{"eth1.5", "[interface-layer]"}},
	{"N10: an alias on an alias", interfaces("x", "name: mgmt0, parent: eth0", "name: mgmt1, parent: mgmt0"), nil, 1, []string{"mgmt0", "[interface-layer]"}},
	{"N13: an address of two virtual servers", server("x", "alias: data0, prefix: 10.2.2.1/24"), nil, 1, []string{"10.2.2.1", "VirtualServer/files", "[address-unique]"}},
	{"N13: an IPv6 address of two virtual servers, written in another way", server("x", "alias: data0, prefix: '2001:0db8:0002:0::0001/64'"), nil, 1, []string{"2001:db8:2::1", "VirtualServer/files", "[address-unique]"}},
	{"N13: an IPv4 address in the clothes of IPv6", server("x", "alias: data0, prefix: '::ffff:10.2.2.1/120'"), nil, 1, []string{"10.2.2.1", "VirtualServer/files"}},
	{"N13: an address of two filers", interfaces("x", "name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]"), nil, 1, []string{"10.1.1.3", "Filer/filer2", "[address-unique]"}},
	{"N13: a filer's address on a data alias", interfaces("x", "name: data1, parent: eth0, addresses: [10.9.9.1/24]"), nil, 1, []string{"data aliases", "[address-place]"}},
	{"N13: a virtual server's address on a mgmt alias", server("x", "alias: mgmt0, prefix: 10.9.9.1/24"), nil, 1, []string{"mgmt0", "[address-place]"}},
	{"N13: an address on what is no alias", interfaces("x", "name: eth0, addresses: [10.9.9.1/24]"), nil, 1, []string{"[address-place]"}},
	{"N5: a network for an address", server("x", "alias: data0, prefix: 10.9.9.0/24"), nil, 1, []string{"10.9.9.0/24", "[address-host]"}},
	{"N5: a multicast group for an IPv6 address", server("x", "alias: data0, prefix: 'ff02::1/64'"), nil, 1, []string{"ff02::1", "[address-host]"}},
	{"N4: a virtual server that no filer has the alias for", server("x", "alias: data5, prefix: 10.9.9.1/24"), nil, 1, []string{"data5", "[no-host]"}},
	{"N4: a group that loses an alias in use", "kind: FilerGroup\nname: main\n", nil, 1, []string{"VirtualServer/files", "VirtualServer/media", "data0", "[no-host]"}},
	{"N15: an alias with a larger MTU than what it is on", interfaces("x", "name: eth0, mtu: 1500", "name: mgmt0, parent: eth0, mtu: 9000"), nil, 1, []string{"9000", "1500", "[mtu-parent]"}},
	{"N15: an MTU that no link has", interfaces("x", "name: eth0, mtu: 40"), nil, 1, []string{"[mtu-range]"}},
	{"N15: a speed of a bond", interfaces("x", "name: bond0, members: [eth1], ethernet: {autoneg: false, speed: 1000}"), nil, 1, []string{"spec.interfaces[0].ethernet.speed", "stands on physical interfaces only", "[interface-field]"}},
	{"N15: rings of a VLAN", interfaces("x", "name: eth1.5, ethernet: {rings: {rx: 512}}"), nil, 1, []string{"eth1.5 is a vlan interface", "ethernet.rings", "[interface-field]"}},
	{"N15: offloads of an alias", interfaces("x", "name: mgmt0, parent: eth0, ethernet: {offloads: {tso: false}}"), nil, 1, []string{"physical, bond, vlan and failover interfaces", "[interface-field]"}},
	{"N15: a speed without saying who decides", interfaces("x", "name: eth0, ethernet: {speed: 1000}"), nil, 1, []string{"autoneg: false to force", "[option-combination]"}},
	{"N15: half a gigabit", interfaces("x", "name: eth0, ethernet: {autoneg: false, speed: 1000, duplex: half}"), nil, 1, []string{"no half duplex", "[option-combination]"}},
	{"N15: a word for a switch", interfaces("x", "name: eth0, ethernet: {offloads: {tso: off}}"), nil, 1, []string{"offloads.tso", "true or false"}},
	{"N17: processors of an alias", interfaces("x", "name: mgmt0, parent: eth0, cpu: {rps: 0-3}"), nil, 1, []string{"spec.interfaces[0].cpu", "stands on physical interfaces only", "[interface-field]"}},
	{"N17: a mask instead of a list", interfaces("x", "name: eth0, cpu: {rps: ff}"), nil, 1, []string{"cpu.rps", "0-3,8"}},
	{"N14: an option of another mode", interfaces("x", "name: bond0, members: [eth1], bond: {packetsPerSlave: 3}"), nil, 1, []string{"balance-rr", "[option-combination]"}},
	{"N5: an MTU too small for IPv6", interfaces("x", "name: eth0, mtu: 1000", "name: mgmt0, parent: eth0, addresses: ['2001:db8:1::9/64']"), nil, 1, []string{"1280", "[mtu-ipv6]"}},
	{"N14: a bonding mode that is none", interfaces("x", "name: bond0, members: [eth1], bond: {mode: fast}"), nil, 1, []string{"fast", "802.3ad"}},
	{"N14: LACP options of a bond without LACP", interfaces("x", "name: bond0, members: [eth1], bond: {mode: active-backup, lacpRate: fast}"), nil, 1, []string{"lacpRate", "[option-combination]"}},
	{"N30: a second cluster", "kind: Cluster\nname: other\nspec: {mac: '00:07:34:04:12:10'}\n", nil, 1, []string{"Cluster/home", "[cluster-one]"}},
	{"N30: a cluster MAC that is multicast", "kind: Cluster\nname: home\nspec: {mac: '01:07:34:04:12:10'}\n", nil, 1, []string{"[cluster-mac]"}},
	{"N30: the cluster deleted", "", []string{"delete", "cluster", "home"}, 1, []string{"Cluster/home", "[cluster-one]"}},
	{"N31: an instance twice", server("x", "alias: data0, instance: 3, prefix: 10.2.2.8/24", "alias: data0, instance: 3, prefix: 10.2.2.9/24"), nil, 1, []string{"[address-instance]"}},
	{"N31: a service with a filer's name", "kind: Service\nname: filer1\nspec: {group: main, addresses: [{alias: mgmt0, prefix: 10.1.1.9/24}]}\n", nil, 1, []string{"Filer/filer1", "[name-shared]"}},
	{"N24: a reserved name", server("vs_mgmt2", "alias: data0, prefix: 10.2.2.9/24"), nil, 1, []string{"[name-reserved]"}},
	{"N20: a gateway that its user does not reach", "kind: Routes\nname: files-out\nspec: {routes: [{to: default, via: 10.99.0.1}]}\n", nil, 1, []string{"VirtualServer/files", "10.99.0.1", "[gateway-on-link]"}},
	{"N20: a gateway that is our own", policy("to: default, via: 10.2.2.2"), nil, 1, []string{"VirtualServer/media", "[gateway-owned]"}},
	{"N20: a destination with bits to spare", policy("to: 10.9.9.1/8, via: 10.2.2.254"), nil, 1, []string{"[route-destination]"}},
	{"N5: a gateway of the other family", policy("to: '2001:db8::/32', via: 10.2.2.254"), nil, 1, []string{"[route-family]"}},
	{"a group that does not exist", "kind: Filer\nname: filer1\nspec: {group: none}\n", nil, 1, []string{"none", "[reference]"}},
	{"a policy deleted that is in use", "", []string{"delete", "routes", "files-out"}, 1, []string{"VirtualServer/files", "[in-use]"}},
	{"a document deleted that does not exist", "", []string{"delete", "record", "none"}, 1, []string{"Record/none"}},
	{"a kind that the cluster writes itself", "kind: Placement\nname: files\nspec: {filer: filer1, epoch: 99}\n", nil, 1, []string{"Placement"}},
	{"one bad document among good ones", "kind: Record\nname: good\n---\n" + server("x", "alias: data0, prefix: 10.2.2.1/24") + "---\nkind: Record\nname: good2\n", nil, 1, []string{"10.2.2.1"}},
	{"several broken rules, all told", interfaces("x", "name: mgmt0, addresses: [10.1.1.3/24]") + "---\n" + policy("to: 10.9.9.1/8, via: 10.2.2.2") + "---\nkind: FilerGroup\nname: _g\n", nil, 1,
		[]string{"5 problems", "[required]", "[address-unique]", "[route-destination]", "[gateway-owned]", "[name]"}},
	{"a restore that breaks a rule", "kind: Record\nname: lonely\n", []string{"restore", "-"}, 1, []string{"[cluster-one]"}},
}

// Bad input is refused with a clear error and changes nothing.
func TestLabBadInput(t *testing.T) {
	c := formed(t, "single-nic")
	for _, group := range [][]mistake{unreadable, broken, {
		{"a revision that is no longer the document's", "kind: Routes\nname: files-out\nspec: {routes: [{to: default, via: 10.2.2.253}]}\n",
			[]string{"apply", "-f", "-", "--if-revision", "0"}, 1, []string{"Routes/files-out", "revision 1"}},
		{"the revision of a document that does not exist", "kind: Record\nname: none\n", []string{"apply", "-f", "-", "--if-revision", "3"}, 1, []string{"Record/none"}},
		{"the revision of several documents", "kind: Record\nname: a\n---\nkind: Record\nname: b\n", []string{"apply", "-f", "-", "--if-revision", "3"}, 2, []string{"2 documents"}},
		{"a token that is none", "nonsense", []string{"join", "--filer", "filer1", "--peer", "10.1.1.3", "--token-file", "-"}, 2, []string{"token"}},
		{"a cluster formed by a filer that is in one", "", []string{"init", "--cluster", "x", "--mac", "02:00:00:00:00:01", "--filer", "filer1"}, 1, []string{"in a cluster already"}},
	}} {
		for _, m := range group {
			t.Run(m.name, func(t *testing.T) {
				c := c.in(t)
				c.changesNothing("filer2", func() { c.refuses(m) })
			})
		}
	}
	t.Run("a bond where the kernel has none is refused before it is committed", func(t *testing.T) {
		c := c.in(t)
		missing, err := lab.Missing(lab.Bonding)
		if err != nil {
			t.Fatal(err)
		}
		if len(missing) == 0 {
			t.Skip("this kernel has bonding")
		}
		bond := mistake{stdin: interfaces("filer1", "name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]", "name: bond0, members: [eth1]"), code: 1,
			words: []string{"bond", "filer1", "kernel"}}
		c.changesNothing("filer2", func() { c.refuses(bond) })
	})
	missing, err := lab.Missing(lab.VRF)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a VRF where a kernel has none is refused before it is committed", func(t *testing.T) {
		if len(missing) == 0 {
			return // it has them: TestVMTwoFilers uses them there
		}
		c := c.in(t)
		vrf := mistake{stdin: "kind: Routes\nname: files-out\nspec: {vrf: true, routes: [{to: default, via: 10.2.2.254}]}\n", code: 1,
			words: []string{"vrf", "Filer/filer1", "kernel"}}
		c.changesNothing("filer2", func() { c.refuses(vrf) })
	})
	t.Run("without a quorum nothing is written", func(t *testing.T) {
		c := c.in(t)
		before := c.dump("filer3", api.Linearizable)
		if err := c.Kill("filer1", "filer2"); err != nil {
			t.Fatal(err)
		}
		// A write that reaches a leader just before it notices is of unknown outcome.
		c.await("filer3 notices that it is alone", patience(), func() error {
			if st := c.mustStatus("filer3"); st.Quorum || st.Leader != "" {
				return fmt.Errorf("it says quorum %v, leader %q", st.Quorum, st.Leader)
			}
			return nil
		})
		c.expect(c.cli("filer3", "kind: Record\nname: late\n", "apply", "-f", "-", "--timeout", "3s"), 3, "no quorum")
		c.expect(c.cli("filer3", "", "delete", "vserver", "media", "--timeout", "3s"), 3, "no quorum")
		c.expect(c.cli("filer3", before, "restore", "-", "--timeout", "3s"), 3, "no quorum")
		c.expect(c.cli("filer3", "", "token", "create", "--timeout", "3s"), 3, "no quorum")
		c.expect(c.cli("filer3", "", "status"), 0, "NO QUORUM")
		if now := c.dump("filer3", api.Stale); now != before {
			t.Errorf("without a quorum something was written:\n%s", now)
		}
		if err := c.Power("filer1", "filer2"); err != nil {
			t.Fatal(err)
		}
		c.settled("filer3")
		if now := c.dump("filer1", api.Linearizable); now != before {
			t.Errorf("what was refused without a quorum has been written:\n%s", now)
		}
		c.agree("filer3")
	})
}

// refuses makes a mistake on the first filer.
func (c *cluster) refuses(m mistake) {
	c.t.Helper()
	args := m.args
	if len(args) == 0 {
		args = []string{"apply", "-f", "-"}
	}
	a := c.cli("filer1", m.stdin, args...)
	words := m.words
	if m.code == 1 && !strings.Contains(a.errors, "does not exist [not-found]") {
		words = append([]string{"refused, nothing was changed"}, words...)
	}
	if len(a.errors) > 8<<10 {
		c.t.Errorf("the error is %d bytes long", len(a.errors))
	}
	if bytes.ContainsRune([]byte(a.errors), 0) {
		c.t.Errorf("the error has the input's binary in it: %q", a.errors)
	}
	if a.out != "" {
		c.t.Errorf("a refusal is not told on standard output: %s", a.out)
	}
	c.expect(answer{a.code, "", fmt.Sprintf("%.8192s", a.errors)}, m.code, words...)
}
