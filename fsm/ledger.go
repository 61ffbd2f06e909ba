package fsm

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"sync"

	"github.com/netquorum/netquorum"
)

// A ledger is the results of one generation in the order in which they came, found
// by their request ids. A busy cluster has a hundred thousand, of which each
// transaction looks for one that mostly is not there: so they lie in a few large
// pieces of memory without pointers, which neither the processor's caches nor the
// garbage collector need to follow.
//
// A ledger only grows, and is shared by all states that its results led through: a
// state counts the first so many of them as its own (see results).
type ledger struct {
	mu       sync.RWMutex
	rows     []ledgerRow
	ids      []byte          // one after another
	refusals []ledgerRefusal // in the order of their rows; few results have one
	// index has for each row its number plus one below the tag of its id, at the
	// place that the tag names or the next that was free. Its length is a power of
	// two, and at least half of it is free.
	index []uint64
}

type ledgerRow struct {
	revision uint64
	changed  uint32 // no transaction holds more documents, or more than MaxTransaction bytes
	end      uint32 // of its id in ids
}

type ledgerRefusal struct {
	row     int
	refusal *Refusal
}

const (
	firstIndex = 64
	tagShift   = 32
)

// fnvOf is FNV-1a.
func fnvOf[S ~string | ~[]byte](id S) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return h
}

// tagOf is the half of the hash that is mixed best.
func tagOf[S ~string | ~[]byte](id S) uint64 { return fnvOf(id) >> tagShift }

// orderOf is by what snapshots list results: the digits of the hash in base 32, the
// lowest first. That was the order of the hash array mapped trie of the releases
// whose snapshots are golden files.
func orderOf(id []byte) (order uint64) {
	h := fnvOf(id)
	for range 12 {
		order = order<<5 | h&31
		h >>= 5
	}
	return order<<4 | h
}

// find returns the row of an id among the first n, or -1. l.mu is held.
func (l *ledger) find(id string, n int) int {
	if len(l.index) == 0 {
		return -1
	}
	tag, mask := tagOf(id), uint64(len(l.index)-1)
	for at := tag & mask; l.index[at] != 0; at = (at + 1) & mask {
		if e := l.index[at]; e>>tagShift == tag {
			if row := int(uint32(e)) - 1; row < n && string(l.id(row)) == id {
				return row
			}
		}
	}
	return -1
}

func (l *ledger) id(row int) []byte {
	start := uint32(0)
	if row > 0 {
		start = l.rows[row-1].end
	}
	return l.ids[start:l.rows[row].end]
}

// result is that of a row. Its refusal is shared.
func (l *ledger) result(row int) Result {
	r := Result{Revision: netquorum.Revision(l.rows[row].revision), Changed: int(l.rows[row].changed)}
	at, refused := slices.BinarySearchFunc(l.refusals, row, func(f ledgerRefusal, row int) int { return f.row - row })
	if refused {
		r.Refusal = l.refusals[at].refusal
	}
	return r
}

// append adds a result. l.mu is held, or nobody else has the ledger.
func (l *ledger) append(id []byte, r Result) {
	if 2*(len(l.rows)+1) > len(l.index) {
		l.grow()
	}
	l.ids = append(l.ids, id...)
	if r.Refusal != nil {
		l.refusals = append(l.refusals, ledgerRefusal{len(l.rows), r.Refusal})
	}
	l.rows = append(l.rows, ledgerRow{uint64(r.Revision), uint32(r.Changed), uint32(len(l.ids))})
	l.place(tagOf(id)<<tagShift | uint64(len(l.rows)))
}

func (l *ledger) grow() {
	old := l.index
	l.index = make([]uint64, max(firstIndex, 2*len(old)))
	for _, e := range old {
		if e != 0 {
			l.place(e)
		}
	}
}

func (l *ledger) place(e uint64) {
	mask := uint64(len(l.index) - 1)
	at := e >> tagShift & mask
	for l.index[at] != 0 {
		at = (at + 1) & mask
	}
	l.index[at] = e
}

// results are the results of one generation that a state has. Like the state they
// are never changed.
type results struct {
	ledger *ledger // nil without any
	n      int     // its first ones
	sum    sum
}

func (g results) get(id string) (Result, bool) {
	if g.n == 0 {
		return Result{}, false
	}
	g.ledger.mu.RLock()
	defer g.ledger.mu.RUnlock()
	row := g.ledger.find(id, g.n)
	if row < 0 {
		return Result{}, false
	}
	return g.ledger.result(row), true
}

// add returns the results with one more, whose id is not among them. What follows
// the newest state costs the same however many there are; another state that goes on
// from an older one needs a ledger of its own.
func (g results) add(id string, r Result) results {
	var scratch [256]byte
	sum := g.sum.plus(sumOf(appendRequest(append(scratch[:0], itemRequest), id, &r)))
	if !g.ledger.extend(g.n, id, r) {
		g.ledger = g.branch()
		g.ledger.append([]byte(id), r)
	}
	return results{g.ledger, g.n + 1, sum}
}

// extend appends a result unless somebody else has gone on from the first n.
func (l *ledger) extend(n int, id string, r Result) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rows) != n {
		return false
	}
	var scratch [MaxID]byte
	l.append(append(scratch[:0], id...), r)
	return true
}

// branch is a ledger of its own for the same results.
func (g results) branch() *ledger {
	l := &ledger{}
	if g.n == 0 {
		return l
	}
	g.ledger.mu.RLock()
	defer g.ledger.mu.RUnlock()
	for row := range g.n {
		l.append(g.ledger.id(row), g.ledger.result(row))
	}
	return l
}

// all yields every result with its id, in an order that depends on the ids alone:
// states that are equal give them in the same order, whatever way they came. Nobody
// keeps the id.
func (g results) all() iter.Seq2[[]byte, Result] {
	return func(yield func([]byte, Result) bool) {
		if g.n == 0 {
			return
		}
		l := g.frozen()
		type place struct {
			order uint64
			row   int
		}
		places := make([]place, g.n)
		for row := range places {
			places[row] = place{orderOf(l.id(row)), row}
		}
		slices.SortFunc(places, func(a, b place) int {
			if a.order != b.order {
				return cmp.Compare(a.order, b.order)
			}
			return bytes.Compare(l.id(a.row), l.id(b.row))
		})
		for _, p := range places {
			if !yield(l.id(p.row), l.result(p.row)) {
				return
			}
		}
	}
}

// frozen is the ledger as it is now, without its index and its lock: what is
// appended to it later lies behind, or in other memory.
func (g results) frozen() *ledger {
	g.ledger.mu.RLock()
	defer g.ledger.mu.RUnlock()
	return &ledger{rows: g.ledger.rows[:g.n], ids: g.ledger.ids, refusals: slices.Clip(g.ledger.refusals)}
}
