package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netquorum/netquorum/trace"
)

// maxCalls bounds the requests under way on one connection. A peer that sends more
// is not read until one is answered, or turned away where reading cannot wait.
const maxCalls = 1024

// A Server answers the requests that arrive on connections.
type Server struct {
	Programs []Program
	// MaxBody bounds a request's and an answer's body; DefaultMaxBody when 0.
	MaxBody int
	// Done, when set, is called after each request.
	Done func(program string, r *http.Request, status int, took time.Duration)
	Log  *slog.Logger
}

// Serve answers the requests of a connection until it ends, or until the context
// ends and those under way are answered. It closes the connection. The requests'
// contexts descend from base, whose end cuts off what is left. r is read instead
// of the connection when it is not nil, because part of what arrived is in it.
func (s *Server) Serve(ctx, base context.Context, conn net.Conn, r io.Reader) error {
	if len(s.Programs) > maxPrograms {
		return fmt.Errorf("calls: %d programs are more than %d", len(s.Programs), maxPrograms)
	}
	defer context.AfterFunc(base, func() { conn.Close() })()
	base, cancel := context.WithCancel(base)
	defer cancel()
	v := &serving{
		server: s, conn: conn, out: newOutbox(conn), base: base, ended: make(chan struct{}),
		work: make(chan job), freed: make(chan struct{}, 1), calls: map[uint32]*callContext{},
	}
	if _, err := v.out.post(kindHello, 0, s.hello().append(nil), nil); err != nil {
		return errors.Join(err, conn.Close())
	}
	run := receive(conn, r, s.maxBody(), v.take, v.end)
	if run != nil {
		v.patient = true
		// The end of the context interrupts reading; what was read is still answered.
		stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
		run()
		stop()
	} else {
		select {
		case <-v.ended:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		cancel() // the caller went away, or does not speak this
	}
	v.close()
	v.workers.Wait()
	v.out.drain() // somebody else may be about to write their answers
	cancel()
	err := errors.Join(v.failure(), conn.Close())
	v.out.flushes.Wait()
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (s *Server) maxBody() int {
	if s.MaxBody == 0 {
		return DefaultMaxBody
	}
	return s.MaxBody
}

func (s *Server) hello() hello {
	h := hello{maxBody: uint32(s.maxBody())}
	for _, p := range s.Programs {
		h.programs = append(h.programs, offer{p.Name, p.Versions.orFirst()})
	}
	return h
}

// serving is one connection.
type serving struct {
	server  *Server
	conn    net.Conn
	out     *outbox
	base    context.Context
	patient bool // reading may wait
	ended   chan struct{}
	work    chan job // closed when no more comes
	workers sync.WaitGroup
	under   atomic.Int32  // requests that were taken and whose answers are not sent; only reading adds to it
	freed   chan struct{} // there were as many as may be, and are no more

	mu     sync.Mutex
	closed bool
	calls  map[uint32]*callContext
	err    error
}

type job struct {
	call    uint32
	program *Program
	*exchange
}

// end is called when nothing more arrives.
func (v *serving) end(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != io.EOF {
		v.err = err
	}
	close(v.ended)
}

func (v *serving) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// close lets the workers go when they have done what they have.
func (v *serving) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	close(v.work)
}

// take is called with each frame that arrives.
func (v *serving) take(f frame) error {
	switch f.kind {
	case kindCancel:
		v.cancel(f.call)
		return nil
	case kindRequest:
		q, err := parseRequest(f.payload)
		if err != nil {
			return err
		}
		return v.request(f.call, &q)
	}
	return fmt.Errorf("%w: kind %d from a client", ErrFrame, f.kind)
}

// request begins to answer a request.
func (v *serving) request(call uint32, q *sent) error {
	if int(q.program) >= len(v.server.Programs) {
		return fmt.Errorf("%w: program %d of %d", ErrFrame, q.program, len(v.server.Programs))
	}
	p := &v.server.Programs[q.program]
	if have := p.Versions.orFirst(); q.version < have.Low || q.version > have.High {
		return fmt.Errorf("%w: version %d of %q, which has %v", ErrFrame, q.version, p.Name, have)
	}
	x, err := newExchange(q)
	if err != nil {
		return err
	}
	for v.under.Load() >= maxCalls {
		if !v.patient {
			return v.refuse(call, fmt.Sprintf("%d requests are under way on the connection", maxCalls))
		}
		<-v.freed
	}
	x.ctx.begin(v.base, q)
	known, err := v.begin(job{call, p, x})
	if !known {
		x.ctx.end()
	}
	return err
}

// begin notes a call, and gives it to a worker. A goroutine that is idle takes it;
// there are as many as there were requests at once, because a goroutine that has
// grown its stack for a handler need not do it again.
func (v *serving) begin(j job) (ok bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, taken := v.calls[j.call]; taken {
		return false, fmt.Errorf("%w: call %d is under way", ErrFrame, j.call)
	}
	if v.closed {
		return false, v.refuse(j.call, "this filer's daemon is ending")
	}
	v.calls[j.call] = &j.ctx
	v.under.Add(1)
	select {
	case v.work <- j:
	default:
		v.workers.Go(func() { v.run(j) })
	}
	return true, nil
}

// refuse turns a request away unread. A peer that goes on asking and does not take
// the answers is given up.
func (v *serving) refuse(call uint32, why string) error {
	waiting, err := v.out.post(kindRefused, call, appendWord(nil, why), nil)
	if err == nil && waiting > maxPending {
		err = errors.New("the peer asks and does not take the answers")
	}
	return err
}

func (v *serving) cancel(call uint32) {
	v.mu.Lock()
	ctx := v.calls[call]
	v.mu.Unlock()
	if ctx != nil {
		ctx.end()
	}
}

// run answers requests until there are no more.
func (v *serving) run(j job) {
	w := &writer{header: http.Header{}}
	for {
		w.reset()
		v.handle(w, j)
		// An answer that cannot be sent is nobody's loss: the caller is gone.
		_ = v.answer(w, j)
		var more bool
		if j, more = <-v.work; !more {
			return
		}
	}
}

// answer sends what the handler wrote. The call is over before its answer leaves:
// its number may be used again as soon as the peer has it.
func (v *serving) answer(w *writer, j job) error {
	v.mu.Lock()
	delete(v.calls, j.call)
	others := len(v.calls) > 0
	v.mu.Unlock()
	j.ctx.end()
	a := Answer{Status: w.status, Trace: j.ctx.trace, ContentType: w.contentType(), Body: w.body.Bytes()}
	if made := w.header[trace.Header]; a.Trace == 0 && len(made) > 0 { // where requests enter the cluster
		a.Trace, _ = trace.Parse(made[0])
	}
	if len(a.Body) > v.server.maxBody() {
		a.Status, a.ContentType, a.Body = http.StatusInternalServerError, "text/plain", []byte("the answer is too long for this kind of connection")
	}
	var err error
	if v.base.Err() == nil { // else the handler was cut off, and what it wrote is no answer
		var room [headRoom]byte
		err = v.out.add(kindAnswer, j.call, a.append(room[:0]), a.Body, others)
	}
	if v.under.Add(-1) == maxCalls-1 {
		select {
		case v.freed <- struct{}{}:
		default:
		}
	}
	return err
}

// handle runs the handler. As in net/http, a panic costs one answer and not the
// process.
func (v *serving) handle(w *writer, j job) {
	var start time.Time
	if v.server.Done != nil {
		start = time.Now()
	}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				v.server.Log.ErrorContext(&j.ctx, "a handler panicked", "method", j.req.Method, "path", j.req.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
			w.reset()
			w.status = http.StatusInternalServerError
		}
		if v.server.Done != nil {
			v.server.Done(j.program.Name, &j.req, w.status, time.Since(start))
		}
	}()
	j.program.Handler.ServeHTTP(w, &j.req)
}

// A writer collects an answer.
type writer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

var _ http.ResponseWriter = (*writer)(nil)

func (w *writer) reset() {
	clear(w.header)
	w.status, w.wrote = http.StatusOK, false
	if w.body.Cap() > maxSpare {
		w.body = bytes.Buffer{}
	}
	w.body.Reset()
}

func (w *writer) contentType() string {
	if said := w.header["Content-Type"]; len(said) > 0 {
		return said[0]
	}
	return ""
}

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	w.wrote = true
	return w.body.Write(b)
}
