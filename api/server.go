package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/netquorum/netquorum/trace"
)

// APIVersion is the version of the API that this package serves.
const APIVersion = "1"

// Limits of a request's body, in bytes. What a transaction may hold is decided
// behind the Backend; these only keep a request from filling the memory.
const (
	maxApply   = 16 << 20
	maxRestore = 128 << 20
)

const (
	defaultTimeout = 30 * time.Second // of a request that names none
	shutdownGrace  = 5 * time.Second  // for requests under way when the server ends
)

// Options make a Server.
type Options struct {
	Backend Backend
	Version string
	Log     *slog.Logger // slog.Default when nil
	// Traces remembers what became of requests; nobody does when nil.
	Traces *trace.Ring
	// Messages carries messages; those are refused when nil.
	Messages MessagesBackend
	// Metrics serves GET /metrics; not found when nil.
	Metrics http.Handler
}

// A Server answers API requests from a Backend.
type Server struct {
	backend  Backend
	messages MessagesBackend
	desk     desk // of messages that consumers hold
	version  Version
	log      *slog.Logger
	traces   *trace.Ring
	mux      *http.ServeMux

	closing context.Context // ends the watches, which would never end by themselves
	close   context.CancelFunc
	// upgraded counts the connections that net/http has given away.
	upgraded sync.WaitGroup
}

// NewServer returns a server that is ready to Serve.
func NewServer(o Options) *Server {
	s := &Server{
		backend: o.Backend, messages: o.Messages,
		version: Version{Version: o.Version, Go: runtime.Version(), API: APIVersion},
		log:     o.Log,
		traces:  o.Traces,
		mux:     http.NewServeMux(),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.closing, s.close = context.WithCancel(context.Background())
	for _, rt := range routes {
		s.mux.HandleFunc(rt.method+" "+rt.path, s.endpoint(rt))
	}
	s.mux.HandleFunc("GET "+pathCalls, s.upgrade)
	if o.Metrics != nil {
		s.mux.Handle("GET /metrics", o.Metrics)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, Refuse(ErrNotFound, fmt.Sprintf("the API has no %s %s; see /v1/openapi.json", r.Method, r.URL.Path), nil))
	})
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Serve answers requests from the listener until ctx ends, then lets those
// under way finish. It closes the listener. A Server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	var stopping sync.WaitGroup
	defer s.desk.close() // after the last consumer could end what it has
	defer stopping.Wait()
	ended, end := context.WithCancel(ctx) // also when Serve fails by itself
	defer end()
	stopping.Go(func() {
		<-ended.Done()
		s.close()
		grace, cancelGrace := context.WithTimeout(base, shutdownGrace)
		defer cancelGrace()
		// When the grace is over the rest is told to end, and is cut off.
		defer context.AfterFunc(grace, cancel)()
		if h.Shutdown(grace) != nil {
			h.Close()
		}
		s.upgraded.Wait()
	})
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// endpoint wraps a route's handler with what all have in common.
func (s *Server) endpoint(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		r, noted, err := traced(w, r)
		if err == nil {
			err = s.serveRoute(rt, w, r)
		}
		s.note(r, noted, start, err)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if s.log.Enabled(r.Context(), slog.LevelDebug) {
			s.log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "actor", actorOf(r), "took", time.Since(start))
		}
	}
}

func (s *Server) serveRoute(rt route, w http.ResponseWriter, r *http.Request) error {
	if err := rt.checkQuery(r); err != nil {
		return err
	}
	// A connection of many requests has its own word for the timeout.
	if _, set := r.Context().Deadline(); !rt.stream && !set {
		timeout, err := timeoutOf(r)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	return rt.handle(s, w, r)
}

// fail answers with a problem document.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := ErrorOf(err)
	level := slog.LevelDebug
	if e.Code == ErrInternal || e.Code == ErrDamaged || e.Code == ErrDiskFull {
		level = slog.LevelError
	} else if r.Method != http.MethodGet {
		level = slog.LevelInfo
	}
	s.log.Log(r.Context(), level, "request failed", "method", r.Method, "path", r.URL.Path, "actor", actorOf(r), "code", string(e.Code), "error", e.Error())
	body, _ := json.Marshal(e)
	w.Header().Set("Content-Type", typeProblem)
	w.WriteHeader(e.Status)
	w.Write(append(body, '\n'))
}

// Content types of bodies.
const (
	typeJSON    = "application/json"
	typeLines   = "application/jsonl" // one JSON value a line
	typeYAML    = "application/yaml"
	typeEvents  = "text/event-stream"
	typeProblem = "application/problem+json"
	typeSchema  = "application/schema+json"
	typeOctets  = "application/octet-stream"
	typeText    = "text/plain"
)

func answer(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	answerJSON(w, body)
	return nil
}

func answerJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", typeJSON)
	w.Write(append(body, '\n')) // a client that went away is not our failure
}

func newRequestID() string { return uuid.NewString() }
