package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/store/raftwire"
)

// A caller makes calls to one filer on one stream of a class, any number at once.
// The stream is opened for the first call, and again when it has broken.
type caller struct {
	transport *transport
	to        netquorum.FilerID
	class     Class
	opening   chan struct{} // holds one item while a stream is being opened

	mu       sync.Mutex
	stream   *callStream     // the newest, which may have broken; nil before the first
	attempts context.Context // ends with what breakOff breaks off
	cut      context.CancelFunc
}

func newCaller(t *transport, to netquorum.FilerID, class Class) *caller {
	c := &caller{transport: t, to: to, class: class, opening: make(chan struct{}, 1)}
	c.attempts, c.cut = context.WithCancel(t.ctx)
	return c
}

// call sends a request and waits for its answer, no longer than the bound.
func (c *caller) call(kind raftwire.Kind, request, answer any, bound time.Duration) error {
	deadline := time.Now().Add(bound)
	s, err := c.connect(deadline)
	if err != nil {
		return err
	}
	id, call, err := s.begin(answer, nil)
	if err != nil {
		return err
	}
	timer := time.AfterFunc(time.Until(deadline), func() { s.expire(id, bound) })
	defer timer.Stop()
	if err := s.send(kind, id, request); err != nil {
		s.forget(id)
		return err
	}
	return <-call.done
}

// connect returns a stream that works, as far as is known.
func (c *caller) connect(deadline time.Time) (*callStream, error) {
	if s, _ := c.current(); s != nil {
		return s, nil
	}
	ctx, cancel := context.WithDeadline(c.transport.ctx, deadline)
	defer cancel()
	select {
	case c.opening <- struct{}{}:
		defer func() { <-c.opening }()
	case <-ctx.Done():
		return nil, fmt.Errorf("filer %s: %w", c.to, ctx.Err())
	}
	s, attempts := c.current()
	if s != nil {
		return s, nil
	}
	defer context.AfterFunc(attempts, cancel)()
	conn, err := c.transport.network.OpenRaft(ctx, c.to, c.class)
	if err != nil {
		return nil, err
	}
	s = newCallStream(c.to, conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempts.Err() != nil || !c.transport.spawn(s.read) {
		conn.Close()
		return nil, fmt.Errorf("filer %s: %w", c.to, net.ErrClosed)
	}
	c.stream = s
	return s, nil
}

func (c *caller) current() (*callStream, context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream != nil && c.stream.over() {
		c.stream = nil
	}
	return c.stream, c.attempts
}

// breakOff ends the stream, and the attempt to open one.
func (c *caller) breakOff(err error) {
	c.mu.Lock()
	s := c.stream
	c.stream = nil
	c.cut()
	c.attempts, c.cut = context.WithCancel(c.transport.ctx)
	c.mu.Unlock()
	if s != nil {
		s.end(err)
	}
}

// A callStream is a stream that this filer opened.
type callStream struct {
	to   netquorum.FilerID
	conn net.Conn

	writing sync.Mutex
	buf     []byte // what is being written

	mu      sync.Mutex
	last    uint32
	waiting map[uint32]*call
	heard   uint64 // frames that came back
	err     error  // why it ended
}

// A call waits for its answer.
type call struct {
	answer any
	done   chan error // holds one item when the call is over
	sent   bool
	heard  uint64 // what the stream had heard when the call began

	taken func(total int64) // told how much of a snapshot was taken; nil for other calls
}

func newCallStream(to netquorum.FilerID, conn net.Conn) *callStream {
	return &callStream{to: to, conn: conn, buf: []byte(raftwire.Preamble), waiting: map[uint32]*call{}}
}

// begin makes a call's number and where its answer will be.
func (s *callStream) begin(answer any, taken func(int64)) (uint32, *call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, nil, s.err
	}
	for s.last++; s.last == 0 || s.waiting[s.last] != nil; s.last++ {
	}
	c := &call{answer: answer, done: make(chan error, 1), heard: s.heard, taken: taken}
	s.waiting[s.last] = c
	return s.last, c, nil
}

// keptBuffer is how much room is kept for the next frame.
const keptBuffer = 2 * maxAppend

// send writes a request. An error is the request's: when it is the stream's, the
// stream is ended, which answers the call.
func (s *callStream) send(kind raftwire.Kind, id uint32, request any) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	start := len(s.buf)
	b, err := raftwire.Encode(raftwire.Begin(s.buf, kind, id), request)
	if err == nil {
		err = raftwire.Finish(b, start)
	}
	if err != nil {
		return fmt.Errorf("filer %s: %w", s.to, err)
	}
	if _, err = s.conn.Write(b); err != nil {
		s.end(err)
		return nil
	}
	if s.buf = b[:0]; cap(b) > keptBuffer {
		s.buf = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.waiting[id]; c != nil {
		c.sent = true
	}
	return nil
}

func (s *callStream) forget(id uint32) { s.take(id) }

// take ends the waiting for an answer. Whoever gets the call answers it.
func (s *callStream) take(id uint32) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.waiting[id]
	delete(s.waiting, id)
	return c
}

// expire ends a call whose time is up. When nothing at all came back meanwhile the
// whole stream is given up: a path that comes back may be found by a new one
// sooner than by what waits to be sent again.
func (s *callStream) expire(id uint32, bound time.Duration) {
	err := fmt.Errorf("filer %s has not answered for %v: %w", s.to, bound, os.ErrDeadlineExceeded)
	s.mu.Lock()
	c := s.waiting[id]
	if c != nil && c.sent && s.heard != c.heard {
		delete(s.waiting, id)
		c.done <- err
		c = nil
	}
	s.mu.Unlock()
	if c != nil {
		s.end(err)
	}
}

// maxAnswer bounds what may come back on a stream at once.
const maxAnswer = 64 << 10

// read takes what comes back until the stream ends.
func (s *callStream) read() { s.end(s.receive(raftwire.NewReader(s.conn))) }

func (s *callStream) receive(r *raftwire.Reader) error {
	for {
		h, err := r.Next()
		if err == nil && h.Size > maxAnswer {
			err = fmt.Errorf("%w: an answer of %d bytes", raftwire.ErrMalformed, h.Size)
		}
		var b []byte
		if err == nil {
			b, err = r.Payload(h)
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.heard++
		s.mu.Unlock()
		switch h.Kind {
		case raftwire.Answer:
			if c := s.take(h.Call); c != nil {
				err = raftwire.Decode(b, c.answer)
				c.done <- err
			}
		case raftwire.Failure:
			if h.Call == 0 {
				return fmt.Errorf("it refuses the stream: %s", b)
			}
			if c := s.take(h.Call); c != nil {
				c.done <- fmt.Errorf("filer %s: %s", s.to, b)
			}
		case raftwire.Taken:
			var total int64
			if total, err = raftwire.ParseTaken(b); err == nil {
				s.progress(h.Call, total)
			}
		default:
			err = fmt.Errorf("%w: kind %d as an answer", raftwire.ErrMalformed, h.Kind)
		}
		if err != nil {
			return err
		}
	}
}

func (s *callStream) progress(id uint32, total int64) {
	s.mu.Lock()
	c := s.waiting[id]
	s.mu.Unlock()
	if c != nil && c.taken != nil {
		c.taken(total)
	}
}

func (s *callStream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// end closes the stream and answers every call with the error.
func (s *callStream) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("stream to filer %s: %w", s.to, err)
	}
	s.err = err
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	giveUp(s.conn, err)
	for _, c := range waiting {
		c.done <- err
	}
}

// giveUp closes a stream without sending what still waits to be sent, where the
// network can do that.
func giveUp(conn net.Conn, why error) {
	if s, ok := conn.(interface{ Abort(cause error) }); ok {
		s.Abort(why)
	}
	conn.Close()
}
