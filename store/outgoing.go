package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
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
	if attempts.Err() != nil || !c.transport.listen(s) {
		conn.Close()
		return nil, fmt.Errorf("filer %s: %w", c.to, net.ErrClosed)
	}
	c.stream = s
	return s, nil
}

// listen has what comes back on a stream taken, unless the transport is closed.
func (t *transport) listen(s *callStream) bool {
	if h, ok := s.conn.(handled); ok {
		h.Handle(s.take, s.end)
		return true
	}
	return t.spawn(s.read)
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

	splitter raftwire.Splitter // of whoever reads

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

func (s *callStream) forget(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
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

// A handled stream gives what arrives to a function, where it is read. That saves
// waking a goroutine for each answer, which is a good part of what a call takes.
type handled interface {
	Handle(data func(p []byte) error, end func(error))
}

// read takes what comes back until the stream ends.
func (s *callStream) read() {
	buf := make([]byte, 16<<10)
	for {
		n, err := s.conn.Read(buf)
		if n > 0 {
			err = errors.Join(s.take(buf[:n]), err)
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// take takes a piece of what comes back.
func (s *callStream) take(piece []byte) error { return s.splitter.Feed(piece, s.answered) }

func (s *callStream) answered(h raftwire.Header, payload []byte) error {
	s.mu.Lock()
	s.heard++
	c := s.waiting[h.Call]
	if h.Kind != raftwire.Taken {
		delete(s.waiting, h.Call)
	}
	s.mu.Unlock()
	switch h.Kind {
	case raftwire.Answer:
		if c == nil {
			return nil // nobody waits any more
		}
		err := raftwire.Decode(slices.Clone(payload), c.answer)
		c.done <- err
		return err
	case raftwire.Failure:
		if h.Call == 0 {
			return fmt.Errorf("it refuses the stream: %s", payload)
		}
		if c != nil {
			c.done <- fmt.Errorf("filer %s: %s", s.to, payload)
		}
		return nil
	case raftwire.Taken:
		total, err := raftwire.ParseTaken(payload)
		if err == nil && c != nil && c.taken != nil {
			c.taken(total)
		}
		return err
	default:
		return fmt.Errorf("%w: kind %d as an answer", raftwire.ErrMalformed, h.Kind)
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
