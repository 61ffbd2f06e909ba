package netapply

import (
	"hash/fnv"
	"slices"
	"strings"

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
	type numbered struct {
		key  tableKey
		text string
	}
	var keys []numbered
	add := func(owner netquorum.Key, alias netquorum.InterfaceName) {
		keys = append(keys, numbered{tableKey{owner, alias}, owner.String() + "\x00" + string(alias)})
	}
	for _, i := range interfaces {
		if i.Name.IsAlias() {
			add(filer.Fold(), i.Name)
		}
	}
	for h := range c.Hosted() {
		owner := h.Key.Fold()
		add(owner, "")
		for _, a := range h.Aliases() {
			add(owner, a)
		}
	}
	slices.SortFunc(keys, func(a, b numbered) int { return strings.Compare(a.text, b.text) })
	numbers := make(map[tableKey]uint32, len(keys))
	taken := make(map[uint32]bool, len(keys))
	for _, k := range keys {
		h := fnv.New32a()
		h.Write([]byte(k.text))
		n := h.Sum32() % tableNumber
		for taken[n] {
			n = (n + 1) % tableNumber
		}
		taken[n] = true
		numbers[k.key] = firstTable + n
	}
	return numbers
}
