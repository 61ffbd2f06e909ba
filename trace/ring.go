package trace

import (
	"context"
	"sync"
	"time"
)

// A Record is one thing that happened under an id. It says what was asked and
// what came of it, never what was in it.
type Record struct {
	Trace   ID            `json:"trace,omitzero"`
	Time    time.Time     `json:"time"` // when it began
	Took    time.Duration `json:"took,omitempty"`
	What    string        `json:"what"`
	Outcome string        `json:"outcome,omitempty"` // empty: it went well, or is a line of the log
	Log     bool          `json:"log,omitempty"`     // a line of the log
}

// maxText bounds the words of a record, so that a ring's size is known.
const maxText = 256

// A Ring remembers the latest records. All its methods may be called on nil,
// which remembers nothing.
type Ring struct {
	now  func() time.Time
	size int

	mu      sync.Mutex
	records []Record
	next    int // the oldest, when the ring is full
}

// NewRing returns a ring of so many records, by the clock given.
func NewRing(size int, now func() time.Time) *Ring { return &Ring{size: size, now: now} }

// Add remembers a record that has an id.
func (r *Ring) Add(rec Record) {
	if r == nil || rec.Trace == 0 {
		return
	}
	rec.What, rec.Outcome = shorten(rec.What), shorten(rec.Outcome)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) < r.size {
		r.records = append(r.records, rec)
		return
	}
	r.records[r.next] = rec
	r.next = (r.next + 1) % r.size
}

// shorten cuts a text where no character is split.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText - len("…")
	for n > 0 && s[n]&0xC0 == 0x80 { // in the middle of UTF-8
		n--
	}
	return s[:n] + "…"
}

// Span begins something under the context's id, which ends when done is called.
// Without an id it costs next to nothing.
func (r *Ring) Span(ctx context.Context, what func() string) (done func(error)) {
	id := From(ctx)
	if r == nil || id == 0 {
		return func(error) {}
	}
	start := r.now()
	return func(err error) {
		rec := Record{Trace: id, Time: start, Took: r.now().Sub(start), What: what()}
		if err != nil {
			rec.Outcome = err.Error()
		}
		r.Add(rec)
	}
}

// Note remembers something that takes no time.
func (r *Ring) Note(id ID, what func() string) {
	if r != nil && id != 0 {
		r.Add(Record{Trace: id, Time: r.now(), What: what()})
	}
}

// Of returns what is remembered of an id, in the order in which it was added.
func (r *Ring) Of(id ID) []Record {
	if r == nil || id == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Record
	for i := range r.records {
		if rec := r.records[(r.next+i)%len(r.records)]; rec.Trace == id {
			out = append(out, rec)
		}
	}
	return out
}
