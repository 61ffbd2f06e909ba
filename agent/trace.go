package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/trace"
)

const pathTrace = "/trace"

// remembered is how many records of traces a filer keeps: about a megabyte, and
// some minutes of a cluster that operators work on.
const remembered = 4096

// traced gives the configuration a ring, and its log the trace ids.
func (c Config) traced() Config {
	c.traces = trace.NewRing(remembered, c.Now)
	c.Log = slog.New(trace.Handler(c.Log.Handler(), c.traces))
	return c
}

// changesSince yields what was committed after a revision under trace ids. The
// first look after a start is no news.
func changesSince(s *fsm.State, before netquorum.Revision, each func(trace.ID, fsm.Change)) {
	if before == 0 {
		return
	}
	for c := range s.History(before+1, 0) {
		if c.Trace != 0 {
			each(trace.ID(c.Trace), c)
		}
	}
}

// traceApplied notes that this filer has new revisions.
func (m *member) traceApplied(s *fsm.State, before netquorum.Revision) {
	changesSince(s, before, func(id trace.ID, c fsm.Change) {
		m.cfg.traces.Note(id, func() string { return "raft: revision " + strconv.FormatUint(uint64(c.Revision), 10) + " applied" })
	})
}

// traceSettled notes that they do not concern the kernel.
func (m *member) traceSettled(s *fsm.State, before netquorum.Revision) {
	changesSince(s, before, func(id trace.ID, c fsm.Change) {
		m.cfg.traces.Note(id, func() string {
			return "kernel: nothing to do for revision " + strconv.FormatUint(uint64(c.Revision), 10)
		})
	})
}

// underTrace gives a pass over the kernel the trace of the newest change that it is
// the first to follow: its log lines are that one's.
func (a *Agent) underTrace(ctx context.Context, g goal, before netquorum.Revision) context.Context {
	m, no := a.running()
	if no != nil {
		return ctx
	}
	var newest trace.ID
	changesSince(m.store.State(), before, func(id trace.ID, c fsm.Change) {
		if c.Revision <= g.revision {
			newest = id
		}
	})
	return trace.With(ctx, newest)
}

// tracePass notes what a pass came to, for each revision that it was the first to
// follow.
func (a *Agent) tracePass(g goal, before netquorum.Revision, began time.Time, r netapply.Report, err error) {
	m, no := a.running()
	if no != nil {
		return
	}
	what := fmt.Sprintf("kernel: follows revision %d, %d steps", g.revision, len(r.Steps))
	var outcome string
	switch {
	case err != nil:
		outcome = err.Error()
	case len(r.Failures) > 0:
		outcome = fmt.Sprintf("%d parts failed, the first: %v", len(r.Failures), r.Failures[0])
	}
	took := a.cfg.Now().Sub(began)
	changesSince(m.store.State(), before, func(id trace.ID, c fsm.Change) {
		if c.Revision <= g.revision {
			a.cfg.traces.Add(trace.Record{Trace: id, Time: began, Took: took, What: what, Outcome: outcome})
		}
	})
}

type (
	traceQuestion struct {
		ID trace.ID `json:"id"`
	}
	traceAnswer struct {
		Now     time.Time      `json:"now"`
		Records []trace.Record `json:"records"`
	}
)

// localTrace is what this filer remembers.
func (m *member) localTrace(_ context.Context, q traceQuestion) (traceAnswer, error) {
	return traceAnswer{m.cfg.Now(), m.cfg.traces.Of(q.ID)}, nil
}

// Trace implements api.Backend.
func (b backend) Trace(ctx context.Context, id trace.ID) (api.Trace, error) {
	m, err := b.running()
	if err != nil { // what it did alone it remembers too
		t := api.Trace{ID: id, Entries: []api.TraceEntry{}}
		for _, r := range b.cfg.traces.Of(id) {
			t.Entries = append(t.Entries, traceEntry("", r, 0))
		}
		return t, nil
	}
	return m.trace(ctx, id), nil
}

// trace collects what all members remember.
func (m *member) trace(ctx context.Context, id trace.ID) api.Trace {
	ctx, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	config, _ := m.newest()
	peers := members(config)
	peers[m.name] = m.id
	t := api.Trace{ID: id, Entries: []api.TraceEntry{}}
	answers, failed := ask(ctx, peers, func(ctx context.Context, to netquorum.FilerID) ([]api.TraceEntry, error) {
		name := memberName(config, to)
		if to == m.id {
			name = m.name
		}
		asked := m.cfg.Now()
		a, err := traceAnswer{}, error(nil)
		if to == m.id {
			a, err = m.localTrace(ctx, traceQuestion{id})
		} else {
			err = call(ctx, m.client, to, pathTrace, traceQuestion{id}, &a)
		}
		ahead := aheadBy(a.Now, asked, m.cfg.Now())
		var out []api.TraceEntry
		for _, r := range a.Records {
			out = append(out, traceEntry(name, r, ahead))
		}
		return out, err
	})
	names := namesOf(peers)
	for _, entries := range answers {
		for _, e := range entries {
			e.What, e.Outcome = names.Replace(e.What), names.Replace(e.Outcome)
			t.Entries = append(t.Entries, e)
		}
	}
	slices.SortStableFunc(t.Entries, func(a, b api.TraceEntry) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(b.Took, a.Took), cmp.Compare(a.Filer, b.Filer))
	})
	for name, err := range failed {
		t.Missing = append(t.Missing, api.TraceMissing{Filer: name, Error: names.Replace(err.Error())})
	}
	slices.SortFunc(t.Missing, func(a, b api.TraceMissing) int { return cmp.Compare(a.Filer, b.Filer) })
	for c := range m.store.State().History(0, 0) {
		if trace.ID(c.Trace) == id {
			t.Changes = append(t.Changes, api.TraceChange{Revision: c.Revision, Time: time.UnixMilli(c.Time).UTC(), Actor: c.Actor})
		}
	}
	return t
}

// aheadBy estimates by how much a filer's clock is ahead of this one's, from what
// it showed while its answer was under way. A difference that the time of that
// explains is none.
func aheadBy(theirs, asked, answered time.Time) time.Duration {
	half := answered.Sub(asked) / 2
	if d := theirs.Sub(asked.Add(half)); d.Abs() > half {
		return d
	}
	return 0
}

func traceEntry(filer string, r trace.Record, ahead time.Duration) api.TraceEntry {
	e := api.TraceEntry{Time: r.Time.Add(-ahead).UTC(), Filer: filer, Kind: api.TraceSpan, What: r.What, Took: r.Took.Microseconds(), Outcome: r.Outcome}
	switch {
	case r.Log:
		e.Kind = api.TraceLog
	case r.Took == 0:
		e.Kind = api.TraceEvent
	}
	return e
}

// namesOf says filers' names where filers themselves say ids.
func namesOf(filers map[string]netquorum.FilerID) *strings.Replacer {
	var pairs []string
	for name, id := range filers {
		pairs = append(pairs, string(id), name)
	}
	return strings.NewReplacer(pairs...)
}
