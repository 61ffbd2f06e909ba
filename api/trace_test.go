package api_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
	"github.com/netquorum/netquorum/trace"
)

func TestEveryAnswerCarriesATrace(t *testing.T) {
	ring := trace.NewRing(100, time.Now)
	s := api.NewServer(api.Options{Backend: new(apitest.Backend), Log: slog.New(slog.DiscardHandler), Traces: ring})
	ask := func(method, path, given string) (*http.Response, trace.ID) {
		r := httptest.NewRequest(method, path, strings.NewReader("{}"))
		if given != "" {
			r.Header.Set(trace.Header, given)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		id, err := trace.Parse(w.Result().Header.Get(trace.Header))
		if err != nil && given == "" {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return w.Result(), id
	}
	// What is asked without a trace and only read is not worth remembering.
	if _, id := ask("GET", "/v1/version", ""); len(ring.Of(id)) != 0 {
		t.Errorf("remembers %+v", ring.Of(id))
	}
	if _, id := ask("GET", "/v1/version", "1f"); id != 0x1f || len(ring.Of(id)) != 1 || ring.Of(id)[0].Outcome != "" {
		t.Errorf("%v remembers %+v", id, ring.Of(id))
	}
	if resp, id := ask("POST", "/v1/transactions", ""); resp.StatusCode != 400 || len(ring.Of(id)) != 1 || !strings.HasPrefix(ring.Of(id)[0].Outcome, "usage: ") {
		t.Errorf("%d remembers %+v", resp.StatusCode, ring.Of(id))
	}
	if resp, _ := ask("GET", "/v1/version", "no trace"); resp.StatusCode != 400 {
		t.Errorf("a trace that is none was answered with %d", resp.StatusCode)
	}
	if resp, _ := ask("GET", "/v1/traces/nonsense", ""); resp.StatusCode != 400 {
		t.Errorf("a trace that is none was answered with %d", resp.StatusCode)
	}
}

// Over both kinds of connections, the trace of the caller's context is the
// request's.
func TestAClientSendsItsContextsTrace(t *testing.T) {
	ring := trace.NewRing(10, time.Now)
	path := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- api.NewServer(api.Options{Backend: new(apitest.Backend), Log: slog.New(slog.DiscardHandler), Traces: ring}).Serve(ctx, l)
	}()
	c := api.NewClient(path)
	defer func() {
		c.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for name, call := range map[string]func(ctx context.Context) error{
		"many requests over one connection": func(ctx context.Context) error {
			_, err := c.Version(ctx)
			return err
		},
		"HTTP": func(ctx context.Context) error {
			_, err := c.Restore(ctx, parse(t, clusterYAML))
			if errors.Is(err, api.ErrUnconfigured) {
				return nil
			}
			return err
		},
	} {
		id := trace.New()
		if err := call(trace.With(ctx, id)); err != nil || len(ring.Of(id)) != 1 {
			t.Errorf("%s: %v, remembers %+v", name, err, ring.Of(id))
		}
	}
}
