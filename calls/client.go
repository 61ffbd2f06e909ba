package calls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/netquorum/netquorum/trace"
)

// A Client sends requests over one connection, which it opens when it needs it.
// It is for any number of callers at once.
type Client struct {
	// Dial opens a connection at whose other end is a Server.
	Dial func(ctx context.Context) (net.Conn, error)
	// PeerOf says in errors who is at the other end of a connection.
	PeerOf func(net.Conn) string
	// MaxBody bounds an answer's body; DefaultMaxBody when 0.
	MaxBody int

	mu      sync.Mutex
	link    *link
	opening *opening // the one attempt that all who wait share
	running sync.WaitGroup
}

// ErrNotSent is wrapped by the error of a request that certainly had no effect:
// it did not reach the other side, or was turned away unread.
var ErrNotSent = errors.New("not sent")

// Call sends one request and waits for its answer. The body is not used after it
// returns. The end of the connection ends the wait.
func (c *Client) Call(ctx context.Context, q Request) (Answer, error) {
	if err := q.check(); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	l, err := c.connect(ctx)
	if err != nil {
		return Answer{}, err
	}
	if q.Trace == 0 {
		q.Trace = trace.From(ctx)
	}
	s := sent{Request: q}
	if err := l.hello.pick(l.peer, &s); err != nil {
		return Answer{}, err
	}
	call, done, others, err := l.begin()
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	var room [headRoom]byte
	if err := l.out.add(kindRequest, call, s.append(room[:0]), q.Body, others); err != nil && l.claim(call) != nil {
		l.end(err)
		return Answer{}, err
	}
	// After an error of which somebody else has told the call, what it was told counts:
	// an answer may have come, and the connection's end after it, before add returned.
	select {
	case got := <-done:
		answers.Put(done)
		got.Version = s.version
		return got.Answer, got.err
	case <-ctx.Done():
	}
	l.forget(call)
	// Best effort: the caller leaves whether or not the other side hears of it.
	if _, err := l.out.post(kindCancel, call, nil, nil); err != nil {
		l.end(err)
	}
	return Answer{}, context.Cause(ctx)
}

// Version returns the version of a program that calls to it will have, as long as
// the connection lasts. It is for callers whose bodies depend on it: they put it
// into Request.Versions, so that no other is used.
func (c *Client) Version(ctx context.Context, program string, speak Versions) (uint16, error) {
	l, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	s := sent{Request: Request{Program: program, Versions: speak}}
	err = l.hello.pick(l.peer, &s)
	return s.version, err
}

func (c *Client) peer(conn net.Conn) string {
	if c.PeerOf == nil {
		return "the other side"
	}
	return c.PeerOf(conn)
}

func (c *Client) maxBody() int {
	if c.MaxBody == 0 {
		return DefaultMaxBody
	}
	return c.MaxBody
}

// An opening is an attempt to make a connection.
type opening struct {
	ctx     context.Context
	cancel  context.CancelFunc
	callers int
	done    chan struct{}
	link    *link
	err     error
}

// connect returns the connection in use, or opens one. All who come while it is
// being opened share the attempt and its outcome; it ends when all of them have
// left.
func (c *Client) connect(ctx context.Context) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, context.Cause(ctx))
	}
	c.mu.Lock()
	if c.link != nil && !c.link.ended() {
		defer c.mu.Unlock()
		return c.link, nil
	}
	o := c.opening
	if o == nil {
		o = &opening{done: make(chan struct{})}
		o.ctx, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
		c.opening = o
		c.running.Go(func() { c.open(o) })
	}
	o.callers++
	c.mu.Unlock()
	var err error
	select {
	case <-o.done:
		err = o.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.callers--; o.callers == 0 {
		o.cancel()
		if c.opening == o {
			c.opening = nil // nobody waits: whoever comes next begins anew
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return o.link, nil
}

func (c *Client) open(o *opening) {
	l, err := c.dial(o.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
	case c.opening != o: // all have left
		l.end(net.ErrClosed)
		err = net.ErrClosed
	default:
		c.link = l
	}
	if c.opening == o {
		c.opening = nil
	}
	o.link, o.err = l, err
	close(o.done)
}

// dial opens a connection and waits for the server's hello.
func (c *Client) dial(ctx context.Context) (*link, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, peer: c.peer(conn), out: newOutbox(conn), waiting: map[uint32]chan result{}, greeted: make(chan struct{})}
	if run := receive(conn, nil, c.maxBody(), l.take, l.end); run != nil {
		c.running.Go(run)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, helloTimeout, fmt.Errorf("%s said nothing for %v", l.peer, helloTimeout))
	defer cancel()
	select {
	case <-l.greeted:
	case <-ctx.Done():
		l.end(context.Cause(ctx))
	}
	return l, l.failure()
}

// helloTimeout bounds the wait for the first frame of a server, which answers as
// soon as it has accepted.
const helloTimeout = 5 * time.Second

// CloseIdleConnections closes the connection if no call waits on it.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil && l.idle() {
		l.end(net.ErrClosed)
	}
}

// Interrupt ends the connection, if there is one, and every call that waits on it,
// for a reason. The next call opens another. It waits for nothing.
func (c *Client) Interrupt(reason error) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.end(reason)
	}
}

// Close ends the connection and every call that waits on it, and waits for what
// the client runs. The client may be used again.
func (c *Client) Close() {
	c.mu.Lock()
	l, o := c.link, c.opening
	c.opening = nil
	c.mu.Unlock()
	if o != nil {
		o.cancel()
	}
	if l != nil {
		l.end(net.ErrClosed)
		l.out.flushes.Wait()
	}
	c.running.Wait()
}

// Connected reports whether there is a connection that works, as far as is known.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil && !c.link.ended()
}

// A link is one connection. What reads it ends with the connection, which
// whoever finds it broken closes.
type link struct {
	conn    net.Conn
	peer    string
	out     *outbox
	hello   hello         // may be read when greeted is closed
	greeted chan struct{} // the hello came, or the connection ended

	mu      sync.Mutex
	met     bool // greeted is closed
	next    uint32
	waiting map[uint32]chan result
	err     error
}

type result struct {
	Answer
	err error
}

// answers are channels that nobody waits at: a caller puts back the one that it
// has received from, to which nothing more is sent then.
var answers = sync.Pool{New: func() any { return make(chan result, 1) }}

// begin makes a call's number and where its answer will be. It reports whether
// others wait as well.
func (l *link) begin() (call uint32, done chan result, others bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, nil, false, l.err
	}
	for l.next++; l.waiting[l.next] != nil; l.next++ {
	}
	others = len(l.waiting) > 0
	done = answers.Get().(chan result)
	l.waiting[l.next] = done
	return l.next, done, others, nil
}

func (l *link) forget(call uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, call)
}

func (l *link) claim(call uint32) chan result {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.waiting[call]
	delete(l.waiting, call)
	return done
}

func (l *link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *link) ended() bool { return l.failure() != nil }

func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) == 0
}

// take is called with each frame that arrives. It waits for nobody.
func (l *link) take(f frame) error {
	var r result
	switch f.kind {
	case kindHello:
		return l.greet(f)
	case kindAnswer:
		var err error
		if r.Answer, err = parseAnswer(f.payload); err != nil {
			return err
		}
	case kindRefused:
		s := scanner{b: f.payload}
		r.err = fmt.Errorf("%w: turned away: %s", ErrNotSent, s.word("why a request is refused"))
		if s.err != nil {
			return s.err
		}
	default:
		return fmt.Errorf("%w: kind %d from a server", ErrFrame, f.kind)
	}
	if done := l.claim(f.call); done != nil {
		done <- r
	}
	return nil
}

func (l *link) greet(f frame) error {
	h, err := parseHello(f.payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.met {
		return fmt.Errorf("%w: a second hello", ErrFrame)
	}
	l.hello, l.met = h, true
	close(l.greeted)
	return nil
}

var errClosed = fmt.Errorf("the other side has closed the connection: %w", io.EOF)

// end closes the connection and tells everybody who waits.
func (l *link) end(err error) {
	if err == io.EOF {
		err = errClosed
	}
	l.mu.Lock()
	first := l.err == nil
	var waiting map[uint32]chan result
	if first {
		l.err = err
		waiting, l.waiting = l.waiting, map[uint32]chan result{}
		if !l.met {
			l.met = true
			close(l.greeted)
		}
	}
	l.mu.Unlock()
	if !first {
		return
	}
	l.out.fail(err)
	l.conn.Close()
	for _, done := range waiting {
		done <- result{err: err}
	}
}
