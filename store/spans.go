package store

import (
	"fmt"
	"strconv"

	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/trace"
)

// spans begins what happens to some transactions at once, by their trace ids, and
// returns how it ends: with their results, or an error.
func (s *Store) spans(ids []trace.ID, what string) (done func([]fsm.Result, error)) {
	if s.o.Traces == nil {
		return func([]fsm.Result, error) {}
	}
	start := s.o.Now()
	return func(results []fsm.Result, err error) {
		took := s.o.Now().Sub(start)
		for i, id := range ids {
			r := trace.Record{Trace: id, Time: start, Took: took, What: what}
			switch {
			case err != nil:
				r.Outcome = err.Error()
			case i < len(results) && results[i].Refusal != nil:
				r.Outcome = fmt.Sprintf("refused: %s", results[i].Refusal.Code)
			case i < len(results):
				r.What += ", revision " + strconv.FormatUint(uint64(results[i].Revision), 10)
			}
			s.o.Traces.Add(r)
		}
	}
}
