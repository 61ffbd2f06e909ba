package fsm

import (
	"encoding/binary"
	"encoding/json"
	"iter"
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
	for _, g := range []results{rs.young, rs.old} {
		if r := g.byID.get(id); r != nil {
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
	// Strings and pointers to strings only: encoding cannot fail.
	text, _ := json.Marshal(r.result.Refusal)
	return appendString(b, text)
}

func (r *reader) request() *request {
	q := &request{id: r.string()}
	q.result.Revision = r.revision()
	q.result.Changed = int(r.uvarint())
	if text := r.bytes(); len(text) > 0 {
		q.result.Refusal = new(Refusal)
		if err := json.Unmarshal(text, q.result.Refusal); err != nil {
			r.fail("%w: result of request %s: %w", ErrCorrupt, q.id, err)
		}
	}
	return q
}
