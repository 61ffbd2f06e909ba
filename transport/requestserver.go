package transport

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/netquorum/netquorum"
)

// Handle serves requests of other filers with the handler; PeerID tells it who
// asks. A later call replaces the handler.
func (e *Endpoint) Handle(h http.Handler) {
	e.mu.Lock()
	s := e.server
	if s == nil && !e.closed {
		s = newRequestServer(e)
		e.server = s
		e.mu.Unlock()
		s.handler.Store(&h)
		l := e.Service(ServiceRequests)
		if !e.start(func() { s.serve(l) }) {
			l.Close()
		}
		return
	}
	e.mu.Unlock()
	if s != nil {
		s.handler.Store(&h)
	}
}

// start runs f in a goroutine that Close waits for, unless the endpoint ended.
func (e *Endpoint) start(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.wg.Go(f)
	return true
}

type requestServer struct {
	endpoint *Endpoint
	handler  atomic.Pointer[http.Handler]
	http     http.Server
	conns    sync.WaitGroup

	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup // handlers
}

type peerKey struct{}

func newRequestServer(e *Endpoint) *requestServer {
	s := &requestServer{endpoint: e}
	s.http = http.Server{
		Handler:        http.HandlerFunc(s.dispatch),
		Protocols:      onlyHTTP2(),
		HTTP2:          e.cfg.http2(),
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
		// The connection says who the peer is; what a request claims about its
		// own scheme or host has no part in it.
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, PeerOf(c))
		},
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.conns.Done()
			}
		},
	}
	return s
}

// PeerID returns the authenticated filer that sent a request to the handler of
// Endpoint.Handle, or an empty id for a request that came by another way.
func PeerID(r *http.Request) netquorum.FilerID {
	id, _ := r.Context().Value(peerKey{}).(netquorum.FilerID)
	return id
}

// serve runs until close, and then until its connections and handlers ended.
func (s *requestServer) serve(l net.Listener) {
	_ = s.http.Serve(l) // always an error, and the only one is that it was closed
	s.conns.Wait()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.running.Wait()
}

// close cuts every connection, which ends the contexts of the handlers. Waiting
// for them to finish by themselves would wait for every watch.
func (s *requestServer) close() { _ = s.http.Close() }

func (s *requestServer) dispatch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	s.endpoint.count.requests.Add(1)
	most := s.endpoint.cfg.MaxBody
	if r.ContentLength > most {
		http.Error(w, "the request's body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	(*s.handler.Load()).ServeHTTP(w, r)
}
