package statistics

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// TableName is the name of the table of counters. It is apart from the access
// policy's so that neither replaces the other's.
const TableName = "netquorum_count"

// layoutMark is kept with every rule of ours. It changes when the rules of this
// file do, so that a newer daemon replaces them; the counters are elsewhere, in
// the sets, and stay.
const layoutMark = "netquorum layout 1"

var table = &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}

// A place is where packets of a direction are looked at.
type place struct {
	direction direction
	chain     nftables.Chain
}

// places are behind every filter, so that what a filter drops does not count as
// received or sent, and before any translation of the source.
var places = []place{
	{in, nftables.Chain{
		Name: "in", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(100),
	}},
	{out, nftables.Chain{
		Name: "out", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityRef(90),
	}},
}

// A counterSet is one set of counters: a meter, a direction, a family.
type counterSet struct {
	meter     Meter
	direction direction
	family    family
}

func (s counterSet) name() string {
	return string(s.meter) + s.family.suffix + "_" + string(s.direction)
}

func (s counterSet) set() *nftables.Set {
	return &nftables.Set{Table: table, Name: s.name(), KeyType: s.family.key, KeyByteOrder: binaryutil.BigEndian, Counter: true}
}

// lookup counts a packet whose address is in the set, and ends the rule for any
// other.
func (s counterSet) lookup() []expr.Any {
	return []expr.Any{s.family.address(s.direction), &expr.Lookup{SourceRegister: 1, SetName: s.name()}}
}

// counterSets are all sets.
var counterSets = func() (list []counterSet) {
	for _, p := range places {
		for _, f := range families {
			for _, m := range append([]Meter{IP}, within...) {
				list = append(list, counterSet{m, p.direction, f})
			}
		}
	}
	return list
}()

// A chainLayout is a chain with its rules.
type chainLayout struct {
	chain nftables.Chain
	rules [][]expr.Any
}

// layout are all chains, those first that others jump to. A packet of nobody's
// costs one look into one set; what belongs to a virtual server goes on to the
// meters of its family.
func layout() []chainLayout {
	var inner, hooks []chainLayout
	for _, p := range places {
		hook := chainLayout{chain: p.chain}
		if p.direction == out {
			hook.rules = append(hook.rules, skipVRF())
		}
		for _, f := range families {
			meters := chainLayout{chain: nftables.Chain{Name: p.chain.Name + f.suffix, Table: table}}
			for _, m := range within {
				meters.rules = append(meters.rules, slices.Concat(m.match(), counterSet{m, p.direction, f}.lookup()))
			}
			inner = append(inner, meters)
			hook.rules = append(hook.rules, slices.Concat(
				[]expr.Any{
					&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.number}},
				},
				counterSet{IP, p.direction, f}.lookup(),
				[]expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: meters.chain.Name}},
			))
		}
		hooks = append(hooks, hook)
	}
	return append(inner, hooks...)
}

// metaOIFKind is NFT_META_OIFKIND, which the library does not name.
const metaOIFKind expr.MetaKey = 27

// skipVRF passes over the first of the two times that a packet which leaves by
// a VRF comes by: once with the VRF as its device, once with the real one.
func skipVRF() []expr.Any {
	name := make([]byte, 16)
	copy(name, "vrf")
	return []expr.Any{
		&expr.Meta{Key: metaOIFKind, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Verdict{Kind: expr.VerdictReturn},
	}
}
