package apitest

import (
	"context"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

// Trace implements api.Backend. This filer remembers what was committed, and the
// others do not answer.
func (b *Backend) Trace(_ context.Context, id trace.ID) (api.Trace, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := api.Trace{ID: id, Entries: []api.TraceEntry{}, Missing: []api.TraceMissing{{Filer: "n2", Error: "unreachable"}}}
	if b.state == nil {
		return t, nil
	}
	for c := range b.state.History(0, 0) {
		if trace.ID(c.Trace) != id {
			continue
		}
		at := b.now().UTC()
		t.Changes = append(t.Changes, api.TraceChange{Revision: c.Revision, Time: at, Actor: c.Actor})
		t.Entries = append(t.Entries,
			api.TraceEntry{Time: at, Filer: "n1", Kind: api.TraceSpan, What: "raft: commit", Took: 1500},
			api.TraceEntry{Time: at, Filer: "n1", Kind: api.TraceLog, What: "kernel changed", Outcome: ""})
	}
	return t, nil
}
