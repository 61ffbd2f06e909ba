package netapply_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// filtered says what a ruleset does with the first packet of a connection, the
// way nftables would.
func filtered(r *netapply.Ruleset, p netquorum.Packet) netquorum.Verdict {
	if slices.Contains(r.Absent, p.To) {
		return netquorum.Deny
	}
	if p.Protocol == "icmp" {
		return netquorum.Allow
	}
	if (p.Protocol == "tcp" || p.Protocol == "sctp") && p.Port == netquorum.ClusterPort && slices.Contains(r.Peers, p.To) {
		return netquorum.Allow
	}
	for _, g := range r.Addresses {
		if g.Address == p.To {
			if v := walkChain(r, g.Chain, p); v != "" {
				return v
			}
		}
	}
	return netquorum.Allow
}

// walkChain returns nothing when the chain ends without a verdict.
func walkChain(r *netapply.Ruleset, name string, p netquorum.Packet) netquorum.Verdict {
	i := slices.IndexFunc(r.Chains, func(c netapply.Chain) bool { return c.Name == name })
	if i < 0 {
		return "no such chain"
	}
	number := netquorum.Ports{Protocol: p.Protocol}.Number()
	for _, l := range r.Chains[i].Lines {
		if l.From.IsValid() && !l.From.Contains(p.From) ||
			l.Protocol != 0 && (l.Protocol != number || p.Port < l.Low || p.Port > l.High) {
			continue
		}
		switch l.Verdict.Word {
		case "accept":
			return netquorum.Allow
		case "drop":
			return netquorum.Deny
		case "goto":
			return walkChain(r, l.Verdict.Chain, p)
		case "jump":
			if v := walkChain(r, l.Verdict.Chain, p); v != "" {
				return v
			}
		}
	}
	return ""
}

// TestRulesetsDecideAsPoliciesDo compares, for random policies and packets, the
// lines that go to the kernel with the policy's own word.
func TestRulesetsDecideAsPoliciesDo(t *testing.T) {
	d := &drawer{rng: rand.New(rand.NewPCG(walkSeed(t), 3))}
	base := guardedConfig(t)
	count := map[netquorum.Verdict]int{}
	for range 400 {
		c := d.policies(t, base)
		hosts := pick(d, []string{"a"}, []string{"a", "b"}, nil)
		hosted := func(k netquorum.Key) bool { return slices.Contains(hosts, k.Name) }
		rules := wantOf(t, c, hosts...).Access
		for range 100 {
			p := netquorum.Packet{
				To:       netip.MustParseAddr(pick(d, "10.1.1.2", "10.2.2.1", "10.2.2.2", "10.77.0.1")),
				From:     netip.MustParseAddr(pick(d, "10.1.1.9", "10.2.2.77", "10.2.3.1", "192.0.2.1")),
				Protocol: pick(d, "tcp", "tcp", "udp", "sctp", "icmp", "gre"),
			}
			if d.chance(0.3) {
				p.To = netip.MustParseAddr("2001:db8:2::1")
				p.From = netip.MustParseAddr(pick(d, "2001:db8::9", "2001:db8:7::1", "2001:dead::1"))
			}
			if p.Protocol != "icmp" && p.Protocol != "gre" {
				p.Port = pick(d, uint16(22), 80, 111, 138, 161, 2049, 7000, 7480, 8000, 8001, 10000)
			}
			want := c.Decide("filer1", hosted, p)
			count[want.Verdict]++
			if got := filtered(rules, p); got != want.Verdict {
				t.Fatalf("%+v\nis %s in the kernel, but: %+v\n%s", p, got, want, strings.Join(netapply.SetAccess{New: rules}.Lines(), "\n"))
			}
		}
	}
	if count[netquorum.Allow] < 1000 || count[netquorum.Deny] < 1000 {
		t.Errorf("the draw is lopsided: %v", count)
	}
}

// objects are the steps of a plan in short: what they are about.
func plannedOn(t *testing.T, k *fakekernel.Kernel, want netapply.Desired) []string {
	t.Helper()
	o, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	steps, _ := netapply.Plan(want, o)
	var list []string
	for _, s := range steps {
		list = append(list, s.String())
	}
	return list
}

// TestRulesComeBeforeAddressesAndGoAfterThem looks at every state between the
// steps: an address of a policy is never without its rules, nor one that should
// not be here without being denied.
func TestRulesComeBeforeAddressesAndGoAfterThem(t *testing.T) {
	with, without := guardedConfig(t), single(t, guardedFiler)
	moved := single(t, strings.Replace(guardedFiler, "10.1.1.2/24", "10.1.1.3/24", 1), guarded)
	withoutServer, problems := with.Change(nil, []netquorum.Key{{Kind: netquorum.KindVirtualServer, Name: "a"}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	k := fakekernel.New("eth0")
	for _, stage := range []struct {
		name string
		want netapply.Desired
	}{
		{"boot", wantOf(t, with)},
		{"a server comes", wantOf(t, with, "a")},
		{"another comes in its place", wantOf(t, with, "b")},
		{"and goes back", wantOf(t, with, "a")},
		{"the server is deleted", wantOf(t, withoutServer, "b")},
		{"all come", wantOf(t, with, "a", "b")},
		{"the filer's address changes", wantOf(t, moved, "a", "b")},
		{"the policies go with all that have them", wantOf(t, without)},
	} {
		t.Run(stage.name, func(t *testing.T) {
			o, err := k.Observe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			steps, _ := netapply.Plan(stage.want, o)
			if len(steps) == 0 {
				t.Fatal("there is nothing to do")
			}
			for _, s := range steps {
				if err := k.Do(t.Context(), s)[0]; err != nil {
					t.Fatalf("%s: %v", s, err)
				}
				if err := unguarded(t, k); err != nil {
					t.Errorf("after %s: %v\n%s", s, err, lines(steps))
				}
			}
			if left := plannedOn(t, k, stage.want); len(left) > 0 {
				t.Errorf("a second plan has:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// unguarded names an address of server a that everybody reaches.
func unguarded(t *testing.T, k *fakekernel.Kernel) error {
	o, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range o.Addresses {
		p := netquorum.Packet{From: netip.MustParseAddr("192.0.2.200"), To: a.Prefix.Addr(), Protocol: "tcp", Port: 9}
		if !strings.HasPrefix(a.Link, "data0-a") || p.To.Is6() {
			continue
		}
		if o.Access == nil || filtered(o.Access, p) == netquorum.Allow {
			return fmt.Errorf("%s is open", a.Prefix)
		}
	}
	return nil
}

// TestNoAddressWithoutItsRules has a kernel that refuses the rules: a server's
// addresses stay away, the filer's own come, so that it can be reached.
func TestNoAddressWithoutItsRules(t *testing.T) {
	k := fakekernel.New("eth0")
	refuse := func(s netapply.Step) error {
		if _, ok := s.(netapply.SetAccess); ok {
			return errors.New("no")
		}
		return nil
	}
	k.Fault = refuse
	r := apply(t, k, wantOf(t, guardedConfig(t), "a"))
	state := k.String()
	if strings.Contains(state, "address 10.2.2.1/24") {
		t.Errorf("the server is open to everybody:\n%s", state)
	}
	if !strings.Contains(state, "address 10.1.1.2/24") {
		t.Errorf("the filer is not there:\n%s", state)
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "table inet netquorum_access") {
		t.Errorf("the report says: %v", err)
	}
	k.Fault = nil
	if err := apply(t, k, wantOf(t, guardedConfig(t), "a")).Err(); err != nil || !strings.Contains(k.String(), "address 10.2.2.1/24") {
		t.Errorf("once the kernel takes the rules: %v\n%s", err, k)
	}
	// One more address for a link that is there: nothing but the rules comes first.
	k.Fault = refuse
	more := mustParse(t, strings.Replace(guarded, "instance: 0, prefix: 10.2.2.1/24}", "instance: 0, prefix: 10.2.2.1/24}\n  - {alias: data0, instance: 2, prefix: 10.2.2.9/24}", 1))
	c, problems := guardedConfig(t).Change(more, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	apply(t, k, wantOf(t, c, "a"))
	if strings.Contains(k.String(), "address 10.2.2.9/24") {
		t.Error("a further address of the server is open to everybody")
	}
}

func TestRequiresNftablesOnlyForPolicies(t *testing.T) {
	if got := netapply.Requires(wantOf(t, guardedConfig(t))); !slices.Contains(got, netapply.FeatureNftables) {
		t.Errorf("with policies: %v", got)
	}
	if got := netapply.Requires(wantOf(t, single(t, guardedFiler))); slices.Contains(got, netapply.FeatureNftables) {
		t.Errorf("without policies: %v", got)
	}
}

// What must never happen, 4: filers reach each other under any policy.
func TestPeersAreInEveryRuleset(t *testing.T) {
	rules := wantOf(t, guardedConfig(t)).Access
	for _, protocol := range []string{"tcp", "sctp"} {
		p := netquorum.Packet{From: netip.MustParseAddr("10.1.1.3"), To: netip.MustParseAddr("10.1.1.2"), Protocol: protocol, Port: netquorum.ClusterPort}
		if !slices.Contains(rules.Peers, p.To) || filtered(rules, p) != netquorum.Allow {
			t.Errorf("the cluster's port of %s is closed:\n%s", protocol, strings.Join(netapply.SetAccess{New: rules}.Lines(), "\n"))
		}
	}
}

func TestAccessStepText(t *testing.T) {
	c, problems := guardedConfig(t).Change(mustParse(t, "kind: Access\nname: clients\nspec: {default: deny, rules: [{action: allow, applications: [ssh]}]}\n---\nkind: Access\nname: admins\nspec: {default: allow}"), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a, b := wantOf(t, c).Access, wantOf(t, c, "a").Access
	for _, tc := range []struct {
		step netapply.SetAccess
		want string
	}{
		{netapply.SetAccess{New: a}, "nft add table inet netquorum_access; " +
			"add element inet netquorum_access absent4 { 10.2.2.1, 10.2.2.2 }; add element inet netquorum_access absent6 { 2001:db8:2::1 }; " +
			"add element inet netquorum_access peers4 { 10.1.1.2 }"},
		{netapply.SetAccess{Old: a, New: b}, `nft add chain inet netquorum_access policy-clients-CHAIN { tcp dport 22 accept comment "Access/clients rules[0]"; drop comment "Access/clients default" }; ` +
			"add element inet netquorum_access addresses4 { 10.2.2.1 : goto policy-clients-CHAIN }; " +
			"add element inet netquorum_access addresses6 { 2001:db8:2::1 : goto policy-clients-CHAIN }; " +
			"add element inet netquorum_access links { data0-a : goto policy-clients-CHAIN }; " +
			"delete element inet netquorum_access absent6 { 2001:db8:2::1 }; delete element inet netquorum_access absent4 { 10.2.2.1 }"},
		{netapply.SetAccess{Old: b}, "nft delete table inet netquorum_access"},
	} {
		want := tc.want
		if len(b.Chains) == 1 {
			want = strings.ReplaceAll(want, "policy-clients-CHAIN", b.Chains[0].Name)
		}
		if got := tc.step.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func mustParse(t *testing.T, text string) []netquorum.Document {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// BenchmarkAccessWant computes what a filer wants that hosts half of a thousand
// servers, all of them guarded.
func BenchmarkAccessWant(b *testing.B) {
	var docs strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&docs, "---\nkind: VirtualServer\nname: many%d\nspec: {group: main, access: clients, addresses: [{alias: data0, instance: 0, prefix: 10.9.%d.%d/8}]}\n", i, i/250, i%250+1)
	}
	c := guardedConfig(b, strings.TrimPrefix(docs.String(), "---\n"))
	hosts := func(k netquorum.Key) bool { return strings.HasSuffix(k.Name, "1") || strings.HasSuffix(k.Name, "2") }
	for b.Loop() {
		if _, err := netapply.Want(c, "filer1", hosts); err != nil {
			b.Fatal(err)
		}
	}
}
