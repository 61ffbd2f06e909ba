package statistics

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// An observed table is what the kernel has of ours.
type observed struct {
	exists bool
	// chains says which chains have all the rules of this layout and no others.
	chains map[string]bool
	// sets has the elements of each set that exists.
	sets map[string]map[netip.Addr]claim
}

// A change to one set.
type setChange struct {
	set    counterSet
	create bool
	remove []netip.Addr
	add    []element
}

// An element is a counter to begin.
type element struct {
	address netip.Addr
	claim   claim
}

// changes are what makes the kernel count what it should.
type changes struct {
	table  bool          // is missing
	sets   []setChange   // those that differ
	chains []chainLayout // those to be filled anew; none, or all
}

func (c changes) none() bool { return !c.table && len(c.sets) == 0 && len(c.chains) == 0 }

// plan compares. A counter stays for as long as its address belongs to the same
// server, in every set; one that has a new owner begins anew.
func plan(want Counted, have observed, now time.Time) changes {
	out := changes{table: !have.exists}
	addresses := make([]netip.Addr, 0, len(want))
	for a := range want {
		addresses = append(addresses, a)
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	for _, s := range counterSets {
		elements, exists := have.sets[s.name()]
		c := setChange{set: s, create: !exists}
		for a, is := range elements {
			if owner, ok := want[a]; !ok || owner.Fold() != is.owner.Fold() {
				c.remove = append(c.remove, a)
			}
		}
		slices.SortFunc(c.remove, netip.Addr.Compare)
		for _, a := range addresses {
			if a.Is4() != (s.family.key.Bytes == 4) {
				continue
			}
			if is, ok := elements[a]; !ok || is.owner.Fold() != want[a].Fold() {
				c.add = append(c.add, element{a, claim{want[a], now}})
			}
		}
		if c.create || len(c.remove) > 0 || len(c.add) > 0 {
			out.sets = append(out.sets, c)
		}
	}
	for _, l := range layout() {
		if !have.chains[l.chain.Name] {
			out.chains = layout() // they refer to each other
			break
		}
	}
	return out
}

// Count is how many packets there were, and how many bytes from their IP headers
// on. What a card has joined or will split (GRO, TSO) is one packet here, with
// the bytes of one header.
type Count struct{ Packets, Bytes uint64 }

// Plus adds.
func (c Count) Plus(o Count) Count { return Count{c.Packets + o.Packets, c.Bytes + o.Bytes} }

// A Flow is what came in and went out.
type Flow struct{ In, Out Count }

// Plus adds.
func (f Flow) Plus(o Flow) Flow { return Flow{f.In.Plus(o.In), f.Out.Plus(o.Out)} }

// An AddressTraffic is what was counted for one address since a time.
type AddressTraffic struct {
	Address netip.Addr
	Owner   Owner
	Since   time.Time
	Flows   map[Meter]Flow
}

// joined makes the traffic of each address of what the sets hold, in order.
func joined(sets map[counterSet][]counted) []AddressTraffic {
	by := map[netip.Addr]*AddressTraffic{}
	for s, list := range sets {
		for _, e := range list {
			t := by[e.address]
			if t == nil {
				t = &AddressTraffic{Address: e.address, Owner: e.claim.owner, Since: e.claim.since, Flows: map[Meter]Flow{}}
				by[e.address] = t
			}
			f := t.Flows[s.meter]
			if s.direction == in {
				f.In = e.count
			} else {
				f.Out = e.count
			}
			t.Flows[s.meter] = f
		}
	}
	out := make([]AddressTraffic, 0, len(by))
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b AddressTraffic) int {
		return cmp.Or(cmp.Compare(a.Owner.String(), b.Owner.String()), a.Address.Compare(b.Address))
	})
	return out
}

// counted is one element with its counter.
type counted struct {
	element
	count Count
}

// ours reports whether the rules of a chain are those of the layout: as many,
// each with the mark.
func ours(marks [][]byte, want int) bool {
	return len(marks) == want && !slices.ContainsFunc(marks, func(m []byte) bool { return !bytes.Equal(m, []byte(layoutMark)) })
}
