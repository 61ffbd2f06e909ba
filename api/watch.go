package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/netquorum/netquorum"
)

// A WatchEvent is one line of a watch: a change, or the reason why the watch
// ends.
type WatchEvent struct {
	Change *Change `json:"change,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

func (s *Server) getWatch(w http.ResponseWriter, r *http.Request) error {
	diff, err := boolParam(r, "diff")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	from, err := s.watchFrom(ctx, r)
	if err != nil {
		return err
	}
	events := strings.Contains(r.Header.Get("Accept"), typeEvents)
	w.Header().Set("Content-Type", typeLines)
	if events {
		w.Header().Set("Content-Type", typeEvents)
	}
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil { // tells the client that the watch stands
		return nil
	}
	for change, err := range s.backend.Watch(ctx, from) {
		var e WatchEvent
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			e.Error = ErrorOf(err)
		default:
			change = publishChange(change, diff)
			e.Change = &change
		}
		if writeEvent(w, e, events) != nil || out.Flush() != nil || e.Error != nil {
			return nil
		}
	}
	return nil
}

// watchFrom returns the revision after which to watch. A revision that is too
// old is found out here, while the answer can still have a status of its own.
func (s *Server) watchFrom(ctx context.Context, r *http.Request) (netquorum.Revision, error) {
	if param(r, "from") == "" {
		snap, err := s.backend.Read(ctx, Stale)
		return snap.Revision, err
	}
	from, err := revisionParam(r, "from")
	if err != nil {
		return 0, err
	}
	_, err = s.backend.History(ctx, HistoryRequest{From: from + 1, Limit: 1})
	return from, err
}

func writeEvent(w http.ResponseWriter, e any, sse bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if sse {
		line = append([]byte("data: "), line...)
		line = append(line, '\n')
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
