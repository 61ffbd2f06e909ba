package netapply_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// guarded has two policies with everything that rules can say.
const guarded = `
kind: Access
name: clients
spec:
  default: deny
  rules:
  - {action: deny, applications: [nfs], from: [10.2.66.0/24, "2001:db8:66::/48"]}
  - {action: allow, applications: [data, tcp/8000-8100], from: [10.2.0.0/16, 192.0.2.0/24, "2001:db8::/32"]}
  - {action: allow, applications: [snmp], to: [10.2.2.1]}
  - {action: allow, applications: [sctp/4000], on: [data0]}
---
kind: Access
name: admins
spec:
  default: allow
  rules:
  - {action: deny, applications: [management], on: [data0]}
  - {action: allow, applications: [ssh], from: [10.1.0.0/16]}
  - {action: deny, applications: [management]}
---
kind: VirtualServer
name: a
spec:
  group: main
  access: clients
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.2.1/24}
  - {alias: data0, instance: 1, prefix: "2001:db8:2::1/64"}
---
kind: VirtualServer
name: b
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.2/24}]}
`

const guardedFiler = `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth0}`

func guardedConfig(t testing.TB, more ...string) netquorum.Config {
	t.Helper()
	text := `
kind: Cluster
name: acme
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec: {access: admins}
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces: [` + guardedFiler + `]
---
` + guarded
	return parse(t, strings.Join(append([]string{text}, more...), "\n---\n"))
}

func wantOf(t testing.TB, c netquorum.Config, hosts ...string) netapply.Desired {
	t.Helper()
	want, err := netapply.Want(c, "filer1", func(k netquorum.Key) bool {
		for _, h := range hosts {
			if k.Name == h {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// settle applies and checks that a second time nothing is left to do.
func settle(t *testing.T, k *netapply.Netlink, want netapply.Desired) netapply.Report {
	t.Helper()
	r := apply(t, k, want)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if again := apply(t, k, want); again.Writes != 0 {
		t.Fatalf("applying again writes %d times:\n%s", again.Writes, lines(again.Steps))
	}
	return r
}

// TestKernelAccess writes rules, reads them back, and writes them again after
// everything that somebody can do to them.
func TestKernelAccess(t *testing.T) {
	if !inNamespace(t, netapply.FeatureNftables) {
		return
	}
	cards(t, "eth0")
	const foreign = "table inet netquorum_accessory { chain input { type filter hook input priority 0; policy accept; tcp dport 1 drop; }; }; table ip filter { chain input { counter drop; }; }"
	run(t, "nft", foreign)
	before := run(t, "nft", "list", "table", "inet", "netquorum_accessory") + run(t, "nft", "list", "table", "ip", "filter")
	k := openKernel(t)
	want := wantOf(t, guardedConfig(t), "a")
	r := settle(t, k, want)
	t.Logf("%s", run(t, "nft", "list", "table", "inet", netapply.AccessTable))
	if first := r.Steps[0].Object(); first != "table inet netquorum_access" {
		t.Errorf("the first step is about %s; addresses must not come before their rules", first)
	}
	for _, harm := range []string{
		"flush table inet netquorum_access",
		"delete table inet netquorum_access",
		"flush chain inet netquorum_access input",
		"insert rule inet netquorum_access input accept",
		"add rule inet netquorum_access input drop",
		"chain inet netquorum_access input { policy drop; }",
		"add element inet netquorum_access absent4 { 10.1.1.2 }",
		"flush set inet netquorum_access peers4",
		"flush map inet netquorum_access addresses4",
		"delete element inet netquorum_access links { data0-a }",
		"add chain inet netquorum_access mine { type filter hook input priority -5; policy drop; }",
		"add chain inet netquorum_access mine; add rule inet netquorum_access mine counter",
		"add set inet netquorum_access mine { type ipv4_addr; }",
		"table inet netquorum_access { flags dormant; }",
	} {
		t.Run(harm, func(t *testing.T) {
			run(t, "nft", harm)
			r := settle(t, k, want)
			if len(r.Steps) != 1 || r.Writes != 1 {
				t.Errorf("the repair has %d writes:\n%s", r.Writes, lines(r.Steps))
			}
		})
	}
	t.Run("a policy changes", func(t *testing.T) {
		changed := wantOf(t, guardedConfig(t, "{kind: Application, name: nfs, spec: {class: data, ports: [tcp/2049]}}"), "a")
		r := settle(t, k, changed)
		if len(r.Steps) != 1 {
			t.Errorf("steps:\n%s", lines(r.Steps))
		}
		t.Logf("%s", lines(r.Steps))
	})
	t.Run("a server leaves and another comes", func(t *testing.T) {
		t.Logf("%s", lines(settle(t, k, wantOf(t, guardedConfig(t), "b")).Steps))
	})
	t.Run("without policies the table goes", func(t *testing.T) {
		r := settle(t, k, wantOf(t, single(t, guardedFiler)))
		if last := r.Steps[len(r.Steps)-1].String(); last != "nft delete table inet netquorum_access" {
			t.Errorf("the last step is %q: the rules must not go before the addresses", last)
		}
	})
	if after := run(t, "nft", "list", "table", "inet", "netquorum_accessory") + run(t, "nft", "list", "table", "ip", "filter"); after != before {
		t.Errorf("somebody else's tables have changed:\n%s", after)
	}
	if left := run(t, "nft", "list", "tables"); strings.Contains(left, "netquorum_access\n") {
		t.Errorf("our table is left:\n%s", left)
	}
}

// TestKernelAccessWatch expects a wake-up for changes of our table, and none
// for those of others.
func TestKernelAccessWatch(t *testing.T) {
	if !inNamespace(t, netapply.FeatureNftables) {
		return
	}
	cards(t, "eth0")
	settle(t, openKernel(t), wantOf(t, guardedConfig(t)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wake := netapply.Watch(ctx, nil)
	for quiet := false; !quiet; {
		select {
		case <-wake:
		case <-time.After(3 * time.Second):
			quiet = true
		}
	}
	run(t, "nft", "add table inet other; add chain inet other x; add rule inet other x accept")
	select {
	case <-wake:
		t.Error("somebody else's table wakes")
	case <-time.After(300 * time.Millisecond):
	}
	for _, change := range []string{"flush chain inet netquorum_access input", "flush set inet netquorum_access peers4", "delete table inet netquorum_access"} {
		run(t, "nft", change)
		awaitWake(t, wake, change)
	}
}

// TestKernelAccessRandom writes rulesets of random policies and reads them back.
func TestKernelAccessRandom(t *testing.T) {
	if !inNamespace(t, netapply.FeatureNftables) {
		return
	}
	k := openKernel(t)
	d := &drawer{rng: rand.New(rand.NewPCG(walkSeed(t), 2))}
	var was *netapply.Ruleset
	for range emulatedOr(10, 150) {
		c := d.policies(t, guardedConfig(t))
		now := wantOf(t, c, pick(d, []string{"a"}, []string{"a", "b"}, nil)...).Access
		if err := k.Do(t.Context(), netapply.SetAccess{Old: was, New: now})[0]; err != nil {
			t.Fatal(err)
		}
		o, err := k.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !o.Access.Equal(now) {
			t.Fatalf("read back:\n%s", strings.Join(netapply.SetAccess{Old: now, New: o.Access}.Lines(), "\n"))
		}
		was = now
	}
}

// TestKernelAccessMany has a ruleset of more elements than fit into a message.
func TestKernelAccessMany(t *testing.T) {
	if !inNamespace(t, netapply.FeatureNftables) {
		return
	}
	k := openKernel(t)
	var docs []string
	for i := range 3 {
		var b strings.Builder
		fmt.Fprintf(&b, "kind: VirtualServer\nname: many%d\nspec:\n  group: main\n  access: clients\n  addresses:\n", i)
		for n := range emulatedOr(500, 1000) {
			fmt.Fprintf(&b, "  - {alias: data0, instance: %d, prefix: 10.%d.%d.%d/8}\n", n, 10+i, n/250, n%250+1)
		}
		docs = append(docs, b.String())
	}
	rules := wantOf(t, guardedConfig(t, docs...), "many0", "many1").Access
	start := time.Now()
	if err := k.Do(t.Context(), netapply.SetAccess{New: rules})[0]; err != nil {
		t.Fatal(err)
	}
	wrote := time.Since(start)
	start = time.Now()
	o, err := k.Observe(t.Context())
	if err != nil || !o.Access.Equal(rules) {
		t.Fatalf("read back otherwise: %v", err)
	}
	read := time.Since(start)
	start = time.Now()
	if _, err := k.Observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d addresses: written in %v, read back in %v, looked at again in %v", len(rules.Absent)+len(rules.Addresses), wrote, read, time.Since(start))
}

// emulatedOr chooses how much is done in the virtual machine, where computing
// takes 10 times longer, and elsewhere.
func emulatedOr(little, much int) int {
	if os.Getenv("NQ_IN_VM") != "" {
		return little
	}
	return much
}

// policies draws other policies in the place of the configuration's.
func (d *drawer) policies(t testing.TB, c netquorum.Config) netquorum.Config {
	t.Helper()
	c, problems := c.Change(d.accessPolicies(), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

// accessPolicies draws two.
func (d *drawer) accessPolicies() []netquorum.Document {
	docs, err := netquorum.ParseDocuments("drawn", []byte(d.policyText("clients")+"\n---\n"+d.policyText("admins")))
	if err != nil {
		panic(err)
	}
	return docs
}

// policyText draws an access policy.
func (d *drawer) policyText(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: Access\nname: %s\nspec:\n  default: %s\n  rules:\n", name, pick(d, "allow", "deny"))
	list := func(field string, chance float64, words ...string) {
		if !d.chance(chance) {
			return
		}
		d.rng.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
		fmt.Fprintf(&b, ", %s: [%s]", field, strings.Join(words[:1+d.rng.IntN(min(3, len(words)))], ", "))
	}
	for range d.rng.IntN(6) {
		fmt.Fprintf(&b, "  - {action: %s", pick(d, "allow", "deny"))
		list("applications", 0.8, "nfs", "smb", "ssh", "web", "snmp", "data", "management", "tcp/7000-8000", "udp/7000", "sctp/7480", "tcp/7480")
		list("from", 0.5, "10.0.0.0/8", "10.1.0.0/16", "10.2.2.0/24", "10.2.2.77/32", `"2001:db8::/32"`, `"2001:db8:7::/48"`, "0.0.0.0/0")
		list("on", 0.3, "mgmt0", "data0")
		if d.chance(0.2) { // both families, as the sources may be of either
			b.WriteString(", to: [" + pick(d, "10.2.2.1", "10.2.2.2", "10.1.1.2") + `, "2001:db8:2::1"]`)
		}
		b.WriteString("}\n")
	}
	return strings.TrimSuffix(b.String(), "  rules:\n")
}
