package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/trace"
)

// A TraceBackend knows what requests led to.
type TraceBackend interface {
	// Trace collects what all filers remember of a trace id. It answers without
	// a quorum too.
	Trace(ctx context.Context, id trace.ID) (Trace, error)
}

// A Trace is what a request led to, as far as filers remember: they keep what was
// lately done, in memory.
type Trace struct {
	ID trace.ID `json:"id"`
	// Entries are in the order in which they began, by the clock of the filer that
	// answers: those of other filers are converted to it.
	Entries []TraceEntry `json:"entries"`
	// Changes are the revisions that were committed under the id.
	Changes []TraceChange `json:"changes,omitempty"`
	// Missing are the filers that did not answer.
	Missing []TraceMissing `json:"missing,omitempty"`
}

// A TraceEntry is one thing that happened on a filer.
type TraceEntry struct {
	Time  time.Time `json:"time"`
	Filer string    `json:"filer"`
	// Kind is span, which took a time, event, or log for a line of the log.
	Kind string `json:"kind"`
	What string `json:"what"`
	// Took is in microseconds.
	Took int64 `json:"tookMicroseconds,omitempty"`
	// Outcome says what went wrong; empty when nothing did.
	Outcome string `json:"outcome,omitempty"`
}

// Kinds of entries.
const (
	TraceSpan  = "span"
	TraceEvent = "event"
	TraceLog   = "log"
)

// A TraceChange is a revision of the configuration.
type TraceChange struct {
	Revision netquorum.Revision `json:"revision"`
	Time     time.Time          `json:"time"`
	Actor    string             `json:"actor,omitempty"`
}

// A TraceMissing is a filer that did not answer, and why.
type TraceMissing struct {
	Filer string `json:"filer"`
	Error string `json:"error"`
}

var traceRoutes = []route{
	{method: "GET", path: "/v1/traces/{id}", summary: "What a request led to, on all filers", reply: Trace{},
		detail: "Each answer has the id of its request's trace in the header " + trace.Header + ", which may be sent along too. " +
			"Filers remember in memory what they lately did. Answers without a quorum too, and says which filers are missing.",
		handle: (*Server).getTrace},
}

func (s *Server) getTrace(w http.ResponseWriter, r *http.Request) error {
	id, err := trace.Parse(r.PathValue("id"))
	if err != nil {
		return usage("%v", err)
	}
	t, err := s.backend.Trace(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, t)
}

// Trace asks what a request led to.
func (c *Client) Trace(ctx context.Context, id trace.ID) (t Trace, err error) {
	return t, c.get(ctx, "/v1/traces/"+url.PathEscape(id.String()), nil, &t)
}

// traced gives a request its trace: the one that it came with, or a new one. The
// answer carries it. noted says that what becomes of the request is worth
// remembering even if that is nothing special: somebody chose the trace to ask for
// it later, or the request changes something. What programs only read, thousands
// of times a second, would soon be all that is remembered.
func traced(w http.ResponseWriter, r *http.Request) (_ *http.Request, noted bool, err error) {
	id := trace.From(r.Context())
	if id == 0 {
		if text := r.Header.Get(trace.Header); text != "" {
			if id, err = trace.Parse(text); err != nil {
				return r, false, usage("%s: %v", trace.Header, err)
			}
		}
	}
	noted = id != 0 || r.Method != http.MethodGet
	if id == 0 {
		id = trace.New()
	}
	w.Header().Set(trace.Header, id.String())
	if trace.From(r.Context()) == 0 {
		r = r.WithContext(trace.With(r.Context(), id))
	}
	return r, noted, nil
}

// note remembers what became of a request.
func (s *Server) note(r *http.Request, noted bool, start time.Time, err error) {
	if s.traces == nil || !noted && err == nil || strings.HasPrefix(r.URL.Path, "/v1/traces/") {
		return
	}
	rec := trace.Record{Trace: trace.From(r.Context()), Time: start, Took: time.Since(start), What: "API: " + r.Method + " " + r.URL.Path + " for " + actorOf(r)}
	if err != nil {
		e := ErrorOf(err)
		rec.Outcome = string(e.Code) + ": " + e.Error()
	}
	s.traces.Add(rec)
}
