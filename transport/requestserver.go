package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/trace"
)

// Handle serves requests of other filers with the programs; PeerID tells them who
// asks. A later call replaces the programs and ends what is under way in the
// earlier ones; without programs nobody is served.
func (e *Endpoint) Handle(programs ...calls.Program) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	before := e.server
	e.server = nil
	if len(programs) > 0 {
		e.server = newRequestServer(e, programs)
	}
	now := e.server
	e.mu.Unlock()
	if before != nil {
		before.close()
	}
	if now == nil {
		return
	}
	l := e.Service(ServiceRequests)
	context.AfterFunc(now.ctx, func() { l.Close() })
	if !e.start(func() { now.serve(l) }) {
		now.cancel()
		close(now.ended)
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

// A requestServer answers the requests of other filers.
type requestServer struct {
	endpoint *Endpoint
	calls    calls.Server
	ctx      context.Context // of every request
	cancel   context.CancelFunc
	conns    sync.WaitGroup
	ended    chan struct{}
}

type peerKey struct{}

func newRequestServer(e *Endpoint, programs []calls.Program) *requestServer {
	s := &requestServer{endpoint: e, ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(e.ctx)
	s.calls = calls.Server{Programs: programs, MaxBody: e.cfg.MaxBody, Log: e.log, Done: s.done}
	return s
}

// PeerID returns the authenticated filer that sent a request to a program of
// Endpoint.Handle, or an empty id for a request that came by another way.
func PeerID(r *http.Request) netquorum.FilerID {
	id, _ := r.Context().Value(peerKey{}).(netquorum.FilerID)
	return id
}

// serve runs until close, and then until its streams and handlers ended.
func (s *requestServer) serve(l net.Listener) {
	defer close(s.ended)
	defer s.conns.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return // it is only closed
		}
		id := PeerOf(conn)
		s.conns.Go(func() {
			ctx := context.WithValue(s.ctx, peerKey{}, id)
			if err := s.calls.Serve(ctx, ctx, conn, nil); err != nil && s.ctx.Err() == nil {
				s.endpoint.log.Debug("a stream of requests broke", "peer", id, "err", err)
			}
		})
	}
}

// close cuts every stream, which ends the contexts of the handlers, and waits for
// them.
func (s *requestServer) close() {
	s.cancel()
	<-s.ended
}

// done counts a request, and notes one that has a trace.
func (s *requestServer) done(program string, r *http.Request, status int, took time.Duration) {
	e := s.endpoint
	e.count.requests.Add(1)
	id := trace.From(r.Context())
	if id == 0 || e.cfg.Traces == nil {
		return
	}
	rec := trace.Record{Trace: id, Time: e.cfg.Now().Add(-took), Took: took, What: fmt.Sprintf("answered %s: %s %s", PeerID(r), program, r.URL.Path)}
	if err := failed(status, nil); err != nil {
		rec.Outcome = err.Error()
	}
	e.cfg.Traces.Add(rec)
}
