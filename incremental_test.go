package netquorum

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A change looks only at what may be affected by it. Whatever has happened
// before, it must find exactly what looking at everything finds.
func TestAChangeFindsWhatARebuildFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{}
		accepted := 0
		for range 30 {
			puts, deletes := drawEdit(t, c)
			next, problems := c.Change(puts, deletes)
			all := candidate(c, puts, deletes)
			rebuilt, want := Config{}.Change(all, nil)
			if diff := cmp.Diff(normal(want), normal(problems)); diff != "" {
				t.Fatalf("problems (-rebuilt +incremental):\n%s\nin all:\n%s", diff, text(t, all))
			}
			if len(problems) > 0 {
				continue
			}
			if next.Hash() != rebuilt.Hash() {
				t.Fatalf("the hashes differ")
			}
			if diff := cmp.Diff(indexes(rebuilt), indexes(next)); diff != "" {
				t.Fatalf("indexes (-rebuilt +incremental):\n%s", diff)
			}
			c = next
			accepted++
		}
		t.Logf("%d of 30 changes accepted", accepted)
	})
}

func text(t *rapid.T, docs []Document) string {
	b, err := FormatYAML(slices.Values(docs))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// candidate is what a change would make of a configuration.
func candidate(c Config, puts []Document, deletes []Key) []Document {
	docs := map[Key]Document{}
	for d := range c.Documents() {
		docs[d.Key().Fold()] = d
	}
	for _, k := range deletes {
		delete(docs, k.Fold())
	}
	for _, d := range puts {
		docs[d.Key().Fold()] = d
	}
	return slices.Collect(maps.Values(docs))
}

// indexes prints both trees.
func indexes(c Config) []string {
	var out []string
	c = c.orEmpty()
	it := c.claims.Root().Iterator()
	for k, cl, ok := it.Next(); ok; k, cl, ok = it.Next() {
		out = append(out, fmt.Sprintf("%q %v %v", k, cl.owner, cl.field))
	}
	ut := c.uses.Root().Iterator()
	for k, u, ok := ut.Next(); ok; k, u, ok = ut.Next() {
		out = append(out, fmt.Sprintf("%q %v", k, u))
	}
	return out
}

// normal takes out of problems what rightly depends on what was there before:
// which of two sharers is told, and whether the user or the used is.
func normal(problems Problems) []string {
	out := map[string]bool{}
	sharers := map[string]map[string]bool{}
	for _, p := range problems {
		switch {
		case p.Rule == RuleInUse:
			out[p.Owner.String()+" reference"] = true
		case p.Rule == RuleReference:
			out[p.Document.String()+" reference"] = true
		case p.Rule == RuleClusterOne:
			out["cluster-one"] = true
		case p.Rule == RuleAddressUnique || p.Rule == RuleNameShared || p.Rule == RuleMemberID && p.Owner != nil:
			what, _, _ := strings.Cut(p.Message, " belongs")
			what, _, _ = strings.Cut(what, " stands")
			what = string(p.Rule) + " " + strings.ToLower(what)
			if sharers[what] == nil {
				sharers[what] = map[string]bool{}
			}
			sharers[what][p.Document.String()] = true
			sharers[what][p.Owner.String()] = true
		case p.Rule == RuleGatewayOwned:
			out[p.Document.String()+" "+p.Field+" gateway-owned"] = true
		default:
			out[p.Error()] = true
		}
	}
	for what, who := range sharers {
		out[what+" "+strings.Join(slices.Sorted(maps.Keys(who)), " ")] = true
	}
	return slices.Sorted(maps.Keys(out))
}

// drawEdit draws a change of a few documents out of a small world, so that they
// meet each other often.
func drawEdit(t *rapid.T, c Config) (puts []Document, deletes []Key) {
	if _, _, ok := c.Cluster(); !ok || rapid.IntRange(0, 30).Draw(t, "new cluster") == 0 {
		puts = append(puts, Document{Kind: KindCluster, Name: rapid.SampledFrom([]string{"acme", "Acme", "other"}).Draw(t, "cluster"), Spec: &Cluster{MAC: MAC{0, 7}}})
	}
	seen := map[Key]bool{}
	for range rapid.IntRange(1, 4).Draw(t, "documents") {
		d := drawDocument(t)
		if seen[d.Key().Fold()] {
			continue
		}
		seen[d.Key().Fold()] = true
		if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
			deletes = append(deletes, d.Key())
		} else {
			puts = append(puts, d)
		}
	}
	return puts, deletes
}

func drawDocument(t *rapid.T) Document {
	name := rapid.SampledFrom([]string{"a", "A", "b", "c"}).Draw(t, "name")
	group := rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(t, "group")
	policy := rapid.SampledFrom([]string{"", "", "", "a", "b"}).Draw(t, "policy")
	switch kind := rapid.SampledFrom([]Kind{
		KindRoutes, KindFilerGroup, KindFilerGroup, KindFiler, KindFiler, KindVirtualServer, KindVirtualServer, KindService, KindRecord, KindMember,
	}).Draw(t, "kind"); kind {
	case KindRoutes:
		s := &Routes{}
		for range rapid.IntRange(0, 2).Draw(t, "routes") {
			s.Routes = append(s.Routes, Route{Via: drawPrefix(t).Addr(), Metric: rapid.IntRange(0, 1).Draw(t, "metric"),
				Alias: rapid.SampledFrom([]InterfaceName{"", "", "data0", "mgmt0"}).Draw(t, "exit")})
		}
		return Document{Kind: kind, Name: name, Spec: s}
	case KindFilerGroup:
		return Document{Kind: kind, Name: name, Spec: &FilerGroup{Routes: policy, Interfaces: drawInterfaces(t, false)}}
	case KindFiler:
		return Document{Kind: kind, Name: name, Spec: &Filer{Group: group, Routes: policy, Interfaces: drawInterfaces(t, true)}}
	case KindVirtualServer:
		s := &VirtualServer{Group: group, Routes: policy}
		for i := range rapid.IntRange(0, 2).Draw(t, "addresses") {
			s.Addresses = append(s.Addresses, Address{Alias: rapid.SampledFrom([]InterfaceName{"data0", "data1"}).Draw(t, "alias"), Instance: i, Prefix: drawPrefix(t)})
		}
		return Document{Kind: kind, Name: name, Spec: s}
	case KindService:
		return Document{Kind: kind, Name: name, Spec: &Service{Group: group, Routes: policy, Addresses: []ServiceAddress{{Alias: "mgmt0", Prefix: drawPrefix(t)}}}}
	case KindMember:
		return Document{Kind: kind, Name: name, Spec: &Member{ID: FilerID(rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "id"))}}
	default:
		return Document{Kind: KindRecord, Name: name, Revision: Revision(rapid.IntRange(0, 3).Draw(t, "revision")), Spec: &Record{Type: group}}
	}
}

func drawPrefix(t *rapid.T) netip.Prefix {
	if rapid.IntRange(0, 3).Draw(t, "IPv6") == 0 {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(rapid.IntRange(1, 12).Draw(t, "host"))}), 64)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 1).Draw(t, "subnet")), byte(rapid.IntRange(1, 12).Draw(t, "host"))}), 24)
}

func drawInterfaces(t *rapid.T, addresses bool) []Interface {
	pool := []Interface{
		{Name: "eth0", MTU: 1200}, {Name: "eth0", MTU: 9000}, {Name: "bond0", Members: []InterfaceName{"eth0"}}, {Name: "bond0", Members: []InterfaceName{"eth1"}, MTU: 1500},
		{Name: "data0", Parent: "eth0"}, {Name: "data0", Parent: "bond0"}, {Name: "data0", Parent: "eth2", MTU: 1200}, {Name: "data1", Parent: "eth2"}, {Name: "data1", Parent: "eth2", MTU: 9000},
		{Name: "mgmt0", Parent: "eth2"}, {Name: "mgmt0", Parent: "bond0"}, {Name: "bond0.5"}, {Name: "fail0", Members: []InterfaceName{"bond0.5", "eth3"}},
		{Name: "eth0", Ethernet: &Ethernet{Autoneg: new(false), Speed: 100, Duplex: "half", Rings: &Rings{RX: 512}}, CPU: &CPU{RPS: "0-3,8"}},
		{Name: "eth0", Ethernet: &Ethernet{Coalesce: &Coalesce{AdaptiveRX: new(false), RXUsecs: new(0)}, Pause: &Pause{TX: new(true)}}},
		{Name: "bond0", Members: []InterfaceName{"eth1"}, Ethernet: &Ethernet{Offloads: map[string]bool{"tso": false, "rx-gro-hw": true}}},
		{Name: "data1", Parent: "eth2", Ethernet: &Ethernet{Speed: 100}},
	}
	var out []Interface
	seen := map[InterfaceName]bool{}
	for range rapid.IntRange(0, 4).Draw(t, "interfaces") {
		i := rapid.SampledFrom(pool).Draw(t, "interface")
		if seen[i.Name] {
			continue
		}
		seen[i.Name] = true
		if addresses && i.Name == "mgmt0" && rapid.Bool().Draw(t, "address") {
			i.Addresses = []netip.Prefix{drawPrefix(t)}
		}
		out = append(out, i)
	}
	return out
}
