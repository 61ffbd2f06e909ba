package api

import (
	"context"
	"net/http"
	"strings"
)

func (s *Server) getTarget(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	t, err := targetParam(r)
	if err != nil {
		return err
	}
	for st, err := range b.Target(r.Context(), t) {
		if err != nil {
			return err
		}
		return answer(w, st)
	}
	return context.Cause(r.Context())
}

func (s *Server) watchTarget(w http.ResponseWriter, r *http.Request) error {
	b, err := s.messagesOf()
	if err != nil {
		return err
	}
	t, err := targetParam(r)
	if err != nil {
		return err
	}
	ctx, out, end := s.events(w, r)
	defer end()
	for st, err := range b.Target(ctx, t) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !out.begun:
			return err // while the answer can still have a status of its own
		case err != nil:
			out.write(TargetEvent{Error: ErrorOf(err)})
			return nil
		}
		if out.begin() != nil || out.write(TargetEvent{Target: &st}) != nil {
			return nil
		}
	}
	return nil
}

// An eventStream writes events without an end, one a line.
type eventStream struct {
	w     http.ResponseWriter
	out   *http.ResponseController
	sse   bool
	begun bool
}

// events prepares a stream of events. Its context ends with the client's
// connection and with the server.
func (s *Server) events(w http.ResponseWriter, r *http.Request) (context.Context, *eventStream, func()) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, &eventStream{w: w, out: http.NewResponseController(w), sse: strings.Contains(r.Header.Get("Accept"), typeEvents)},
		func() { stop(); cancel() }
}

// begin sends the head of the answer, once: it tells the client that the stream
// stands.
func (e *eventStream) begin() error {
	if e.begun {
		return nil
	}
	e.begun = true
	e.w.Header().Set("Content-Type", typeLines)
	if e.sse {
		e.w.Header().Set("Content-Type", typeEvents)
	}
	e.w.Header().Set("Cache-Control", "no-store")
	return e.out.Flush()
}

func (e *eventStream) write(v any) error {
	if err := writeEvent(e.w, v, e.sse); err != nil {
		return err
	}
	return e.out.Flush()
}
