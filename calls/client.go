package calls

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// A Client sends requests over one connection, which it opens when it needs it.
// It is an http.RoundTripper, for any number of callers at once. A request's body
// is read whole before it is sent.
type Client struct {
	// Dial opens a connection at whose other end is Serve.
	Dial func(ctx context.Context) (net.Conn, error)

	dialing sync.Mutex // held while a connection is opened
	mu      sync.Mutex
	link    *link
}

var _ http.RoundTripper = (*Client)(nil)

// ErrNotSent is wrapped by the error of a request that certainly did not reach
// the other side.
var ErrNotSent = errors.New("not sent")

// RoundTrip implements http.RoundTripper.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	q := Request{Method: r.Method, Target: r.URL.RequestURI(), ContentType: r.Header.Get("Content-Type"), Accept: r.Header.Get("Accept")}
	if r.Body != nil {
		var err error
		q.Body, err = readBody(r)
		r.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
		}
	}
	a, err := c.Call(r.Context(), q)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if a.ContentType != "" {
		header["Content-Type"] = []string{a.ContentType}
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)), StatusCode: a.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)), Request: r,
	}, nil
}

func readBody(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	if r.ContentLength > 0 && r.ContentLength <= MaxBody {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(r.Body, MaxBody+1))
	return b.Bytes(), err
}

// An Answer is what came back for a request.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
}

// Call sends one request and waits for its answer. The body is not used after it
// returns.
func (c *Client) Call(ctx context.Context, q Request) (Answer, error) {
	if err := q.check(); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	l, err := c.connect(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	call, done, err := l.begin()
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if err := l.out.add(func(b []byte) []byte { return appendFrame(b, kindRequest, call, q.append) }); err != nil {
		l.forget(call)
		l.end(err)
		return Answer{}, err
	}
	select {
	case got := <-done:
		return got.Answer, got.err
	case <-ctx.Done():
	}
	l.forget(call)
	// Best effort: the caller leaves whether or not the other side hears of it.
	if err := l.out.add(func(b []byte) []byte { return appendFrame(b, kindCancel, call, nil) }); err != nil {
		l.end(err)
	}
	return Answer{}, ctx.Err()
}

// connect returns the connection in use, or opens one.
func (c *Client) connect(ctx context.Context) (*link, error) {
	if l := c.current(); l != nil {
		return l, nil
	}
	c.dialing.Lock()
	defer c.dialing.Unlock()
	if l := c.current(); l != nil {
		return l, nil
	}
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, out: newOutbox(conn), waiting: map[uint32]chan result{}}
	go l.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	return l, nil
}

func (c *Client) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil && c.link.ended() {
		c.link = nil
	}
	return c.link
}

// CloseIdleConnections closes the connection if no call waits on it. Its name is
// what http.Client asks its transport for.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil && l.idle() {
		l.end(net.ErrClosed)
	}
}

// A link is one connection. Its reader goroutine ends with the connection, which
// whoever finds it broken closes.
type link struct {
	conn net.Conn
	out  *outbox

	mu      sync.Mutex
	next    uint32
	waiting map[uint32]chan result
	err     error
}

type result struct {
	Answer
	err error
}

// begin makes a call's number and where its answer will be.
func (l *link) begin() (uint32, chan result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, nil, l.err
	}
	for l.next++; l.waiting[l.next] != nil; l.next++ {
	}
	done := make(chan result, 1)
	l.waiting[l.next] = done
	return l.next, done, nil
}

func (l *link) forget(call uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, call)
}

func (l *link) take(call uint32) chan result {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.waiting[call]
	delete(l.waiting, call)
	return done
}

func (l *link) ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) == 0
}

func (l *link) read() {
	r := bufio.NewReaderSize(l.conn, 64<<10)
	for {
		f, err := readFrame(r)
		if err == nil && f.kind != kindAnswer {
			err = fmt.Errorf("%w: kind %d from a server", ErrFrame, f.kind)
		}
		var a answer
		if err == nil {
			a, err = parseAnswer(f.payload)
		}
		if err != nil {
			l.end(err)
			return
		}
		if done := l.take(f.call); done != nil {
			done <- result{Answer: Answer{a.status, a.contentType, a.body}}
		}
	}
}

// end closes the connection and tells everybody who waits.
func (l *link) end(err error) {
	l.mu.Lock()
	first := l.err == nil
	var waiting map[uint32]chan result
	if first {
		l.err = err
		waiting, l.waiting = l.waiting, map[uint32]chan result{}
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
