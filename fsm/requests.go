package fsm

import (
	"encoding/binary"
	"iter"

	"github.com/netquorum/netquorum"
)

// requestGeneration is how many results make a generation. Two generations are
// kept, so a result stays on record until at least that many later ones are.
const requestGeneration = 1 << 16

// requests are the results on record by request id, so that a proposer whose
// transaction may or may not have been committed can propose it again. Whole
// generations are forgotten at once: that needs no order among the results and
// no work for each, and depends on nothing but the log.
type requests struct {
	young, old results
}

// results are the results of one generation.
type results struct {
	byID trie
	n    int
	sum  sum
}

// A request is one id and its result.
type request struct {
	id     string
	result Result
}

func (rs requests) get(id string) (Result, bool) {
	h := trieHash(id)
	for _, g := range [...]*results{&rs.young, &rs.old} {
		if r := g.byID.get(id, h); r != nil {
			return r.result, true
		}
	}
	return Result{}, false
}

// add records a result under an id that is not on record.
func (rs requests) add(r *request) requests {
	if rs.young.n == requestGeneration {
		rs.old, rs.young = rs.young, results{}
	}
	rs.young = rs.young.add(r)
	return rs
}

func (g results) add(r *request) results {
	var scratch [256]byte
	return results{g.byID.put(r), g.n + 1, g.sum.plus(sumOf(appendRequest(append(scratch[:0], itemRequest), r)))}
}

func (rs requests) sum() sum { return rs.young.sum.plus(rs.old.sum) }

func (g results) all() iter.Seq[*request] { return g.byID.all() }

// appendRequest encodes a result on record.
func appendRequest(b []byte, r *request) []byte {
	b = appendString(b, r.id)
	b = binary.AppendUvarint(b, uint64(r.result.Revision))
	b = binary.AppendUvarint(b, uint64(r.result.Changed))
	if r.result.Refusal == nil {
		return append(b, 0)
	}
	return appendRefusal(append(b, 1), r.result.Refusal)
}

func (r *reader) request() *request {
	q := &request{id: r.string()}
	q.result.Revision = r.revision()
	q.result.Changed = int(r.uvarint())
	if r.flags(1) != 0 {
		q.result.Refusal = r.refusal()
	}
	return q
}

// appendRefusal encodes a refusal string by string: what a client sent is
// quoted in it and need not be valid text, which JSON would change.
func appendRefusal(b []byte, f *Refusal) []byte {
	b = appendString(appendString(b, f.Code), f.Message)
	b = binary.AppendUvarint(b, uint64(len(f.Problems)))
	for _, p := range f.Problems {
		b = append(b, flags(p.Owner != nil))
		b = appendString(appendString(b, p.Document.Kind), p.Document.Name)
		b = appendString(appendString(appendString(b, p.Field), p.Rule), p.Message)
		if p.Owner != nil {
			b = appendString(appendString(b, p.Owner.Kind), p.Owner.Name)
		}
	}
	return b
}

func (r *reader) refusal() *Refusal {
	f := &Refusal{Code: RefusalCode(r.string()), Message: r.string()}
	key := func() netquorum.Key { return netquorum.Key{Kind: netquorum.Kind(r.string()), Name: r.string()} }
	for range r.count() {
		owned := r.flags(1) != 0
		p := netquorum.Problem{Document: key(), Field: r.string(), Rule: netquorum.Rule(r.string()), Message: r.string()}
		if owned {
			owner := key()
			p.Owner = &owner
		}
		if r.err != nil {
			break
		}
		f.Problems = append(f.Problems, p)
	}
	return f
}
