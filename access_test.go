package netquorum

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// accessPolicy is a policy with rules, one to a line.
func accessPolicy(rules string) string {
	return "kind: Access\nname: X\nspec:\n  default: deny\n  rules:\n" + list(rules)
}

func init() {
	ruleCases = append(ruleCases, []ruleCase{
		{"a policy says what becomes of the rest", "kind: Access\nname: X", "", "Access/X spec.default access-action"},
		{"a default is allow or deny", "kind: Access\nname: X\nspec: {default: reject}", "", "Access/X spec.default access-action"},
		{"an action is allow or deny", accessPolicy("applications: [ssh]"), "", "Access/X spec.rules[0].action access-action"},
		{"an application exists", accessPolicy("action: allow, applications: [ssh, backup]"), "", "Access/X spec.rules[0].applications[1] reference"},
		{"a port has a protocol that has ports", accessPolicy("action: allow, applications: [icmp/8, tcp, tcp/0, tcp/70000, tcp/9-8, '']"), "",
			`Access/X spec.rules[0].applications[0] access-traffic
Access/X spec.rules[0].applications[1] access-traffic
Access/X spec.rules[0].applications[2] access-traffic
Access/X spec.rules[0].applications[3] access-traffic
Access/X spec.rules[0].applications[4] access-traffic
Access/X spec.rules[0].applications[5] access-traffic`},
		{"a source is a network", accessPolicy("action: deny, from: [10.0.0.1/8]"), "", "Access/X spec.rules[0].from[0] access-source"},
		{"a rule is limited to aliases", accessPolicy("action: deny, on: [eth0, data0]"), "", "Access/X spec.rules[0].on[0] access-place"},
		{"a rule is limited to addresses that a host can have", accessPolicy("action: deny, to: [224.0.0.1, 10.2.2.1]"), "", "Access/X spec.rules[0].to[0] access-place"},
		{"a rule can match something", accessPolicy("action: deny, from: [10.0.0.0/8], to: ['2001:db8::1']"), "", "Access/X spec.rules[0].from access-family"},
		{"an application is not named like a class", "kind: Application\nname: Data\nspec: {ports: [tcp/1]}", "", "Application/Data name application-name"},
		{"an application is not named like a protocol", "kind: Application\nname: tcp\nspec: {ports: [tcp/1]}", "", "Application/tcp name application-name"},
		{"an application's class exists", "kind: Application\nname: x\nspec: {class: home, ports: [tcp/1]}", "", "Application/x spec.class application-class"},
		{"an application has ports", "kind: Application\nname: x", "", "Application/x spec.ports required"},
		{"an application in use is not deleted",
			"kind: Access\nname: X\nspec: {default: deny, rules: [{action: allow, applications: [x]}]}", "Application/x", "Access/X spec.rules[0].applications[0] reference"},
		{"policies of all levels exist",
			"kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0e', routes: a, access: b, servers: {routes: c, access: d}}\n---\n" +
				"kind: FilerGroup\nname: g\nspec: {access: b, servers: {routes: c, access: d}}\n---\nkind: Filer\nname: X\nspec: {access: b}\n---\n" +
				"kind: VirtualServer\nname: X\nspec: {group: g, access: b}", "",
			`Cluster/acme spec.access reference
Cluster/acme spec.routes reference
Cluster/acme spec.servers.access reference
Cluster/acme spec.servers.routes reference
FilerGroup/g spec.access reference
FilerGroup/g spec.servers.access reference
FilerGroup/g spec.servers.routes reference
Filer/X spec.access reference
VirtualServer/X spec.access reference`},
		{"routes that a filer inherits from the cluster are reached by it, though only the cluster changes",
			"kind: Cluster\nname: acme\nspec: {mac: '00:07:34:04:12:0e', routes: a-out}", "",
			"Filer/Filer1 spec.routes gateway-on-link\nFiler/Filer2 spec.routes gateway-on-link\nFiler/Filer3 spec.routes gateway-on-link"},
	}...)
}

// layered has a policy on each level, for servers and filers.
const layered = `
kind: Cluster
name: acme
spec:
  mac: "00:07:34:04:12:0e"
  access: filers
  servers: {routes: shared, access: everywhere}
---
kind: Routes
name: shared
spec: {routes: [{to: default, via: 10.2.2.254, alias: data0}, {to: default, via: 10.3.5.254, metric: 2}]}
---
kind: Access
name: filers
spec:
  default: allow
  rules:
  - {action: deny, applications: [management], on: [data0, data1]}
  - {action: allow, applications: [ssh], from: [10.1.0.0/16]}
  - {action: deny, applications: [ssh]}
---
kind: Access
name: everywhere
spec:
  default: deny
  rules:
  - {action: allow, applications: [data, ssh]}
---
kind: Access
name: group
spec: {default: deny}
---
kind: FilerGroup
name: other
spec: {access: group, servers: {access: group}}
---
kind: Filer
name: Filer4
spec:
  group: other
  interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.8/24]}, {name: data0, parent: eth0}]
---
kind: VirtualServer
name: inOther
spec: {group: other, addresses: [{alias: data0, prefix: 10.3.9.1/24}]}
---
kind: Access
name: own
spec:
  default: deny
  rules:
  - {action: deny, applications: [nfs], from: [10.9.0.0/16, 10.8.0.0/16]}
  - {action: allow, applications: [nfs, tcp/8000-8009, ssh], to: [10.2.2.1]}
  - {action: allow, applications: [smb], on: [data1]}
---
kind: VirtualServer
name: VsvrA
spec:
  group: main
  access: own
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.2.1/24}
  - {alias: data0, instance: 1, prefix: 10.3.3.1/24}
  - {alias: data1, instance: 0, prefix: 10.2.2.3/24}
  - {alias: data1, instance: 1, prefix: "2001:db8::3/64"}
---
kind: VirtualServer
name: VsvrB
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.3.4.1/24}]}
---
kind: VirtualServer
name: VsvrC
spec: {group: main, addresses: [{alias: data2, instance: 0, prefix: 10.3.5.1/24}]}
`

func TestEffectiveTellsTheNearestLevel(t *testing.T) {
	c := change(t, acceptance(t), parse(t, layered))
	for _, tc := range []struct{ key, field, want string }{
		{"VirtualServer/VsvrA", "access", "own from VirtualServer/VsvrA"},
		{"VirtualServer/VsvrA", "routes", "shared from Cluster/acme"},
		{"VirtualServer/VsvrA", "group", "main from VirtualServer/VsvrA"},
		{"virtualserver/vsvrb", "access", "<nil> from /"}, // kinds are exact
		{"VirtualServer/vsvrb", "access", "everywhere from Cluster/acme"},
		{"VirtualServer/inOther", "access", "group from FilerGroup/other"},
		{"Service/MySQLMgmtNode", "access", "everywhere from Cluster/acme"},
		{"Filer/Filer1", "access", "filers from Cluster/acme"},
		{"Filer/Filer4", "access", "group from FilerGroup/other"},
		{"Filer/Filer1", "routes", "<nil> from /"},
		{"FilerGroup/main", "servers.access", "everywhere from Cluster/acme"},
		{"FilerGroup/other", "servers.access", "group from FilerGroup/other"},
		{"FilerGroup/other", "access", "group from FilerGroup/other"},
		{"Cluster/acme", "servers.routes", "shared from Cluster/acme"},
		{"Cluster/acme", "history", "1000 from /"},
	} {
		got := "<nil> from /"
		for _, s := range c.Effective(key(tc.key)) {
			if s.Field == tc.field {
				got = fmt.Sprintf("%v from %s", s.Value, s.From)
			}
		}
		if got != tc.want {
			t.Errorf("%s of %s is %s, want %s", tc.field, tc.key, got, tc.want)
		}
	}
	for _, s := range c.Effective(key("Filer/Filer4")) {
		if s.Field == "interfaces[eth0]" && (s.From != Key{}) || s.Field == "interfaces[mgmt0]" && s.From != key("Filer/Filer4") {
			t.Errorf("%s is from %s", s.Field, s.From)
		}
	}
}

func TestAServerTakesTheInheritedRoutesThatItReaches(t *testing.T) {
	c := change(t, acceptance(t), parse(t, layered))
	for server, want := range map[string]string{"VsvrA": "10.2.2.254", "VsvrB": "", "VsvrC": "10.3.5.254"} {
		_, policy, from := c.RoutesOf(Key{KindVirtualServer, server})
		if server == "VsvrA" && from != key("Cluster/acme") {
			t.Errorf("VsvrA's routes are from %s", from)
		}
		var got []string
		for _, r := range policy.Routes {
			got = append(got, r.Via.String())
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s has routes by %q, want %q", server, s, want)
		}
	}
	var found []string
	for _, f := range c.Findings() {
		if f.Code == FindingRoutesUnreached {
			found = append(found, f.Document.Name)
		}
	}
	if !slices.Contains(found, "VsvrB") || slices.Contains(found, "VsvrA") {
		t.Errorf("routes out of reach are found for %v", found)
	}
	// Named by the server itself, every gateway has to be reached.
	_, problems := c.Change(parse(t, "kind: VirtualServer\nname: VsvrB\nspec: {group: main, routes: shared, addresses: [{alias: data0, instance: 0, prefix: 10.3.4.1/24}]}"), nil)
	if len(problems) != 2 || problems[0].Rule != RuleGatewayOnLink {
		t.Errorf("a policy that VsvrB names and does not reach is answered with %v", problems)
	}
}

func TestDecide(t *testing.T) {
	c := change(t, acceptance(t), parse(t, layered))
	here := func(k Key) bool {
		return k.Fold() == key("VirtualServer/vsvra") || k.Fold() == key("VirtualServer/vsvrb")
	}
	for _, tc := range []struct{ from, to, traffic, want string }{
		{"10.5.0.1", "10.2.2.1", "tcp/2049", "allow own 1"},
		{"10.9.0.1", "10.2.2.1", "tcp/2049", "deny own 0"},
		{"10.9.0.1", "10.2.2.1", "tcp/8009", "allow own 1"},
		{"10.5.0.1", "10.2.2.1", "tcp/8010", "deny own -1"},
		{"10.5.0.1", "10.3.3.1", "tcp/2049", "deny own -1"}, // limited to another address
		{"10.5.0.1", "10.2.2.1", "tcp/22", "deny filers 0"}, // the filer's rule for data0 comes first
		{"10.5.0.1", "10.2.2.3", "tcp/445", "allow own 2"},
		{"10.5.0.1", "10.2.2.1", "tcp/445", "deny own -1"}, // on another alias
		{"2001:db8::9", "2001:db8::3", "tcp/445", "allow own 2"},
		{"10.5.0.1", "10.3.4.1", "tcp/2049", "allow everywhere 0"},
		{"10.5.0.1", "10.3.4.1", "udp/9999", "deny everywhere -1"},
		{"10.5.0.1", "10.3.4.1", "icmp", "allow  -1"},
		{"10.5.0.1", "10.3.5.1", "tcp/2049", "deny  -1"}, // hosted elsewhere
		{"10.5.0.1", "10.3.5.1", "icmp", "deny  -1"},
		{"10.1.2.3", "10.1.1.2", "tcp/22", "allow filers 1"},
		{"10.5.0.1", "10.1.1.2", "tcp/22", "deny filers 2"},
		{"10.5.0.1", "10.1.1.2", "tcp/80", "allow filers -1"},
		{"10.5.0.1", "192.0.2.1", "tcp/22", "allow  -1"}, // nobody's
		{"10.5.0.1", "10.1.1.4", "tcp/22", "allow  -1"},  // another filer's
	} {
		p := Packet{From: netip.MustParseAddr(tc.from), To: netip.MustParseAddr(tc.to), Protocol: tc.traffic}
		if ports, err := ParsePorts(tc.traffic); err == nil {
			p.Protocol, p.Port = ports.Protocol, ports.Low
		}
		d := c.Decide("Filer1", here, p)
		if got := fmt.Sprintf("%s %s %d", d.Verdict, d.Policy, d.Rule); got != tc.want {
			t.Errorf("%s from %s to %s: %s (%s), want %s", tc.traffic, tc.from, tc.to, got, d.Reason, tc.want)
		}
	}
}

// What must never happen, 4: whatever a policy says, filers reach each other.
func TestNoPolicyClosesTheClusterPort(t *testing.T) {
	c := change(t, acceptance(t), parse(t, layered))
	nobody := func(Key) bool { return false }
	p := Packet{From: netip.MustParseAddr("10.1.1.2"), To: netip.MustParseAddr("10.1.1.8"), Protocol: "tcp", Port: ClusterPort}
	for _, p.Protocol = range []string{"sctp", "tcp"} {
		if d := c.Decide("Filer4", nobody, p); d.Verdict != Allow {
			t.Errorf("the cluster's port of %s is closed: %+v", p.Protocol, d)
		}
	}
	p.Port = 22
	if d := c.Decide("Filer4", nobody, p); d.Verdict != Deny {
		t.Errorf("ssh is open: %+v", d)
	}
}

func TestAnApplicationDocumentReplacesABuiltIn(t *testing.T) {
	policy := accessPolicy("action: allow, applications: [nfs]")
	c := change(t, acceptance(t), parse(t, policy+"---\nkind: Application\nname: NFS\nspec: {ports: [tcp/2049]}"))
	ports := func() string { return fmt.Sprint(c.traffic([]string{"nfs"})) }
	if got := ports(); got != "[tcp/2049]" {
		t.Errorf("nfs is %s", got)
	}
	if got := c.traffic([]string{"data"}); slices.Contains(got, Ports{"udp", 2049, 2049}) {
		t.Errorf("data has what nfs no longer has: %v", got)
	}
	c = change(t, c, nil, Key{KindApplication, "nfs"})
	if got := ports(); !strings.Contains(got, "udp/20048") {
		t.Errorf("after the document is deleted, nfs is %s", got)
	}
}

func TestPorts(t *testing.T) {
	for text, want := range map[string]string{"TCP/80": "tcp/80", "udp/1-65535": "udp/1-65535", "sctp/7": "sctp/7", "tcp/80-80": "tcp/80"} {
		if p, err := ParsePorts(text); err != nil || p.String() != want {
			t.Errorf("%s is %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "tcp", "tcp/", "tcp/080", "tcp/0", "tcp/65536", "tcp/2-1", "tcp/1-", "icmp/1", "tcp/1-2-3", "tcp/-1"} {
		if p, err := ParsePorts(text); err == nil {
			t.Errorf("%q is read as %v", text, p)
		}
	}
	got := mergePorts([]Ports{{"udp", 5, 9}, {"tcp", 10, 20}, {"tcp", 21, 30}, {"tcp", 12, 13}, {"tcp", 65535, 65535}, {"tcp", 1, 1}})
	want := []Ports{{"tcp", 1, 1}, {"tcp", 10, 30}, {"tcp", 65535, 65535}, {"udp", 5, 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
}

func FuzzPorts(f *testing.F) {
	for _, s := range []string{"tcp/80", "udp/137-138", "sctp/7480", "tcp/0-0", "tcp/99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePorts(s)
		if err != nil {
			return
		}
		if again, err := ParsePorts(p.String()); err != nil || again != p {
			t.Errorf("%q is read as %v, which is read as %v, %v", s, p, again, err)
		}
		if p.Low == 0 || p.Low > p.High || p.Number() == 0 {
			t.Errorf("%q is read as %+v", s, p)
		}
	})
}

func TestAccessFindings(t *testing.T) {
	used := strings.Replace(server("alias: data0, prefix: 10.9.9.1/24"), "group: main", "group: main\n  access: X", 1)
	for _, tc := range []struct{ name, puts, want string }{
		{"nobody has the policy", accessPolicy("action: allow, applications: [ssh]"),
			"Access/X unused: no filer, group, virtual server or service has this policy"},
		{"nobody names the application", "kind: Application\nname: x\nspec: {ports: [tcp/1]}",
			"Application/x unused: no access policy names this application, and it is in no class"},
		{"rules that another makes pointless", used + "---\n" + accessPolicy(`action: allow, applications: [data], from: [10.0.0.0/8]
action: deny, applications: [nfs, smb], from: [10.1.0.0/16, 10.2.0.0/16]
action: deny, applications: [nfs]
action: deny, on: [data0]
action: allow, applications: [ssh], on: [data0], to: [10.9.9.1]`),
			"Access/X never-matches: spec.rules[1] never matches: spec.rules[0] matches all of it before\n" +
				"Access/X never-matches: spec.rules[4] never matches: spec.rules[3] matches all of it before"},
		{"rules about places that nobody is in", used + "---\n" + accessPolicy("action: deny, applications: [ssh], on: [data1, data0]\naction: deny, to: [10.9.9.2, 10.9.9.1]"),
			"Access/X never-matches: spec.rules[0] is about data1, on which nobody who has this policy has an address\n" +
				"Access/X never-matches: spec.rules[1] is about 10.9.9.2, which nobody who has this policy has"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := acceptance(t)
			had := base.Findings()
			var got []string
			for _, f := range change(t, base, parse(t, tc.puts)).Findings() {
				if !slices.Contains(had, f) {
					got = append(got, f.String())
				}
			}
			for i, g := range got {
				code := g[strings.LastIndex(g, " [")+2 : len(g)-1]
				doc, said, _ := strings.Cut(g[:strings.LastIndex(g, " [")], ": ")
				got[i] = doc + " " + code + ": " + said
			}
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), got); diff != "" {
				t.Errorf("new findings (-want +got):\n%s", diff)
			}
		})
	}
}

// The table of what is built in, for people.
func TestApplicationTableIsCurrent(t *testing.T) {
	const file, begin, end = "docs/policies.md", "<!-- applications -->\n", "<!-- end -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", file)
	}
	var b strings.Builder
	b.WriteString("| application | class | ports |\n|---|---|---|\n")
	for d := range (Config{}).Applications() {
		a := d.Spec.(*Application)
		var ports []string
		for _, p := range a.Ports {
			ports = append(ports, p.String())
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, a.Class, strings.Join(ports, ", "))
	}
	want := head + begin + b.String() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is stale; run: go generate .", file)
	}
}

// What the manual shows is what a cluster takes.
func TestThePoliciesOfTheManualAreValid(t *testing.T) {
	text, err := os.ReadFile("docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	if len(blocks) < 3 {
		t.Fatalf("the manual shows %d documents", len(blocks))
	}
	for _, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		change(t, acceptance(t), parse(t, b))
	}
}
