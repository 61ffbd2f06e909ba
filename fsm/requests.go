package fsm

import (
	"encoding/binary"
	"math"

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

func (rs requests) get(id string) (Result, bool) {
	for _, g := range [...]*results{&rs.young, &rs.old} {
		if r, ok := g.get(id); ok {
			return r, true
		}
	}
	return Result{}, false
}

// add records a result under an id that is not on record.
func (rs requests) add(id string, r Result) requests {
	if rs.young.n == requestGeneration {
		rs.old, rs.young = rs.young, results{}
	}
	rs.young = rs.young.add(id, r)
	return rs
}

func (rs requests) sum() sum { return rs.young.sum.plus(rs.old.sum) }

// appendRequest encodes a result on record.
func appendRequest[S ~string | ~[]byte](b []byte, id S, r *Result) []byte {
	b = appendString(b, id)
	b = binary.AppendUvarint(b, uint64(r.Revision))
	b = binary.AppendUvarint(b, uint64(r.Changed))
	if r.Refusal == nil {
		return append(b, 0)
	}
	return appendRefusal(append(b, 1), r.Refusal)
}

func (r *reader) request() (id string, result Result) {
	id = r.string()
	result.Revision = r.revision()
	changed := r.uvarint()
	if r.err == nil && (len(id) > MaxID || changed > math.MaxUint32) {
		r.fail("%w: the result of request %.128q, which no version made", ErrCorrupt, id)
	}
	result.Changed = int(changed)
	if r.flags(1) != 0 {
		result.Refusal = r.refusal()
	}
	return id, result
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
