package calls

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// maxCalls bounds the requests under way on one connection; a peer that sends more
// is not read until one is answered.
const maxCalls = 1024

// Serve answers the requests that arrive on a connection until it ends, or until
// the context ends and those under way are answered. It closes the connection. The
// requests' contexts descend from base, whose end cuts off what is left. buffered is what was
// read from the connection already; nil for nothing.
func Serve(ctx, base context.Context, conn net.Conn, buffered *bufio.Reader, h http.Handler, log *slog.Logger) error {
	if buffered == nil {
		buffered = bufio.NewReaderSize(conn, 64<<10)
	}
	defer context.AfterFunc(base, func() { conn.Close() })()
	base, cancel := context.WithCancel(base)
	s := &serving{conn: conn, out: newOutbox(conn), handler: h, log: log, base: base,
		work: make(chan job), slots: make(chan struct{}, maxCalls), calls: map[uint32]context.CancelFunc{}}
	// The end of the context interrupts reading; what was read is still answered.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	err := s.read(buffered)
	if ctx.Err() == nil {
		cancel() // the caller went away, or does not speak this
	}
	stop()
	close(s.work)
	s.workers.Wait()
	cancel()
	err = errors.Join(err, conn.Close())
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

type serving struct {
	conn    net.Conn
	out     *outbox
	handler http.Handler
	log     *slog.Logger
	base    context.Context
	work    chan job
	workers sync.WaitGroup
	slots   chan struct{}

	mu    sync.Mutex
	calls map[uint32]context.CancelFunc
}

type job struct {
	call uint32
	req  *http.Request
}

// read takes requests until the connection ends. A goroutine that is idle takes
// the next one; there are as many as there were requests at once, because a
// goroutine that has grown its stack for a handler need not do it again.
func (s *serving) read(r *bufio.Reader) error {
	for {
		f, err := readFrame(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch f.kind {
		case kindCancel:
			s.cancel(f.call)
		case kindRequest:
			q, err := parseRequest(f.payload)
			if err != nil {
				return err
			}
			target, err := url.ParseRequestURI(q.Target)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrFrame, err)
			}
			ctx, cancel := withTimeout(s.base, q.Timeout)
			if !s.note(f.call, cancel) {
				cancel()
				return fmt.Errorf("%w: call %d is under way", ErrFrame, f.call)
			}
			j := job{f.call, newRequest(ctx, q, target)}
			s.slots <- struct{}{}
			select {
			case s.work <- j:
			default:
				s.workers.Go(func() { s.run(j) })
			}
		default:
			return fmt.Errorf("%w: kind %d from a client", ErrFrame, f.kind)
		}
	}
}

func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func (s *serving) note(call uint32, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.calls[call]; taken {
		return false
	}
	s.calls[call] = cancel
	return true
}

func (s *serving) cancel(call uint32) {
	s.mu.Lock()
	cancel := s.calls[call]
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func newRequest(ctx context.Context, q Request, target *url.URL) *http.Request {
	header := http.Header{}
	if q.ContentType != "" {
		header["Content-Type"] = []string{q.ContentType}
	}
	if q.Accept != "" {
		header["Accept"] = []string{q.Accept}
	}
	r := &http.Request{
		Method: q.Method, URL: target, RequestURI: q.Target, Header: header, Host: "netquorum",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody, ContentLength: int64(len(q.Body)),
	}
	if len(q.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(q.Body))
	}
	return r.WithContext(ctx)
}

// run answers requests until there are no more.
func (s *serving) run(j job) {
	w := &writer{header: http.Header{}}
	for ok := true; ok; j, ok = <-s.work {
		s.answer(w, j)
		s.mu.Lock()
		cancel := s.calls[j.call]
		delete(s.calls, j.call)
		s.mu.Unlock()
		cancel()
		<-s.slots
	}
}

func (s *serving) answer(w *writer, j job) {
	w.reset()
	s.handle(w, j.req)
	a := answer{w.status, w.header.Get("Content-Type"), w.body.Bytes()}
	if len(a.body) > MaxBody {
		a = answer{http.StatusInternalServerError, "text/plain", []byte("the answer is too long for this kind of connection")}
	}
	// An answer that cannot be sent is nobody's loss: the caller is gone.
	_ = s.out.add(func(b []byte) []byte { return appendFrame(b, kindAnswer, j.call, a.append) })
}

// handle runs the handler. As in net/http, a panic costs one answer and not the
// process.
func (s *serving) handle(w *writer, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				s.log.Error("a handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
			w.reset()
			w.status = http.StatusInternalServerError
		}
	}()
	s.handler.ServeHTTP(w, r)
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
