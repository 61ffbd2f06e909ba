package netapply

import (
	"hash/fnv"
	"slices"

	netquorum "github.com/netquorum/netquorum"
)

// Our routing tables have numbers from firstTable on. The range is wide so that
// a number almost never depends on what else exists.
const (
	firstTable  = 1_000_000
	tableNumber = 1 << 24 // how many
)

// A tableKey is what a routing table is for.
type tableKey struct {
	owner netquorum.Key           // the filer, or what it hosts
	alias netquorum.InterfaceName // empty: the owner's whole VRF
}

// tables numbers a routing table for everything that could need one on the
// filer, whether it is hosted now or not, so that numbers stay when servers
// move.
func tables(c netquorum.Config, filer netquorum.Key, interfaces []netquorum.Interface) map[tableKey]uint32 {
	var keys []tableKey
	for _, i := range interfaces {
		if i.Name.IsAlias() {
			keys = append(keys, tableKey{filer.Fold(), i.Name})
		}
	}
	for h := range c.Hosted() {
		owner := h.Key.Fold()
		keys = append(keys, tableKey{owner, ""})
		for _, a := range h.Aliases() {
			keys = append(keys, tableKey{owner, a})
		}
	}
	slices.SortFunc(keys, func(a, b tableKey) int {
		return cmpText(a.owner.String(), b.owner.String(), string(a.alias), string(b.alias))
	})
	numbers := make(map[tableKey]uint32, len(keys))
	taken := make(map[uint32]bool, len(keys))
	for _, k := range keys {
		h := fnv.New32a()
		h.Write([]byte(k.owner.String() + "\x00" + string(k.alias)))
		n := h.Sum32() % tableNumber
		for taken[n] {
			n = (n + 1) % tableNumber
		}
		taken[n] = true
		numbers[k] = firstTable + n
	}
	return numbers
}

// cmpText compares pairs of texts, the first pair that differs deciding.
func cmpText(pairs ...string) int {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] < pairs[i+1] {
			return -1
		}
		if pairs[i] > pairs[i+1] {
			return 1
		}
	}
	return 0
}
