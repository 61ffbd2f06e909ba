package trace

import (
	"context"
	"log/slog"
	"strings"
)

// Handler returns a slog.Handler that adds the attribute trace to every record
// whose context carries an id, and keeps those in the ring, which may be nil.
func Handler(next slog.Handler, ring *Ring) slog.Handler { return handler{next, ring} }

type handler struct {
	slog.Handler
	ring *Ring
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	id := From(ctx)
	if id == 0 {
		return h.Handler.Handle(ctx, r)
	}
	if h.ring != nil {
		h.ring.Add(Record{Trace: id, Time: r.Time, What: line(r), Log: true})
	}
	r = r.Clone()
	r.AddAttrs(slog.String("trace", id.String()))
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.ring}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.ring}
}

// line is a record of the log in words.
func line(r slog.Record) string {
	var b strings.Builder
	if r.Level != slog.LevelInfo {
		b.WriteString(r.Level.String() + " ")
	}
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.Key + "=" + a.Value.Resolve().String())
		return b.Len() <= maxText
	})
	return b.String()
}
