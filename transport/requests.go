package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/transport/link"
)

// Call sends a request to a program of another filer and waits for its answer.
// Requests to one filer share one stream, which is opened when needed, and large
// ones another. Bound each by its context; the end of the filer's process ends it
// too, and so does a *SilentError when the filer has not answered on any path for
// as long as a connection may be silent.
//
// An error that wraps calls.ErrNotSent says that the request had no effect. A GET
// or HEAD whose stream breaks is sent again, once, on a new one. Any other request
// is not: it may have been carried out.
func (e *Endpoint) Call(ctx context.Context, to netquorum.FilerID, q calls.Request) (calls.Answer, error) {
	client, err := e.requests.lane(to, len(q.Body))
	if err != nil {
		return calls.Answer{}, err
	}
	done := e.cfg.Traces.Span(ctx, func() string { return fmt.Sprintf("asked %s: %s %s", to, q.Program, q.Target) })
	a, err := client.Call(ctx, q)
	if err != nil && ctx.Err() == nil && !errors.Is(err, calls.ErrNotSent) && (q.Method == http.MethodGet || q.Method == http.MethodHead) {
		a, err = client.Call(ctx, q)
	}
	done(failed(a.Status, err))
	return a, err
}

// failed is what a trace says of an answer.
func failed(status int, err error) error {
	if err == nil && status >= 300 {
		err = fmt.Errorf("%d %s", status, http.StatusText(status))
	}
	return err
}

// Requests above bulky bytes go where what is small does not wait for them.
const bulky = 256 << 10

// A laneID names a stream for requests.
type laneID struct {
	filer netquorum.FilerID
	class link.Class
}

// requestClient keeps the streams for requests to other filers.
type requestClient struct {
	endpoint *Endpoint

	mu     sync.Mutex
	closed bool
	lanes  map[laneID]*calls.Client
}

func newRequestClient(e *Endpoint) *requestClient {
	return &requestClient{endpoint: e, lanes: map[laneID]*calls.Client{}}
}

// lane is the way of a request with a body of so many bytes.
func (c *requestClient) lane(to netquorum.FilerID, size int) (*calls.Client, error) {
	at := laneID{to, link.Control}
	if size > bulky {
		at.class = link.Bulk
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.lanes[at]; l != nil {
		return l, nil
	}
	if err := checkFilerID(to); err != nil {
		return nil, fmt.Errorf("%w: request to %q: %w", calls.ErrNotSent, to, err)
	}
	if c.closed {
		return nil, fmt.Errorf("%w: %w", calls.ErrNotSent, net.ErrClosed)
	}
	l := &calls.Client{
		MaxBody: c.endpoint.cfg.MaxBody,
		Dial:    func(ctx context.Context) (net.Conn, error) { return c.endpoint.openRequests(ctx, at) },
		PeerOf:  func(conn net.Conn) string { return "filer " + string(PeerOf(conn)) },
	}
	c.lanes[at] = l
	return l, nil
}

// openRequests opens the stream of a lane. It does not wait for a filer to come
// back: callers know better for how long to try.
func (e *Endpoint) openRequests(ctx context.Context, at laneID) (net.Conn, error) {
	if err := e.silence(at.filer); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.AttemptTimeout)
	defer cancel()
	return e.Open(ctx, at.filer, ServiceRequests, at.class)
}

// drop ends the streams to the filers that which picks, and the requests on them.
func (c *requestClient) drop(which func(netquorum.FilerID) bool) {
	c.mu.Lock()
	all := make(map[laneID]*calls.Client, len(c.lanes))
	for at, l := range c.lanes {
		all[at] = l
	}
	c.mu.Unlock()
	for at, l := range all { // which is the caller's code: not under our lock
		if !which(at.filer) {
			continue
		}
		c.mu.Lock()
		if c.lanes[at] == l {
			delete(c.lanes, at)
		}
		c.mu.Unlock()
		l.Close()
	}
}

// interrupt ends the requests to a filer that are under way.
func (c *requestClient) interrupt(to netquorum.FilerID, reason error) {
	for _, class := range []link.Class{link.Control, link.Bulk} {
		c.mu.Lock()
		l := c.lanes[laneID{to, class}]
		c.mu.Unlock()
		if l != nil {
			l.Interrupt(reason)
		}
	}
}

// close ends all streams, for good.
func (c *requestClient) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.drop(func(netquorum.FilerID) bool { return true })
}

// len counts the filers to which a stream for requests is open.
func (c *requestClient) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	filers := map[netquorum.FilerID]bool{}
	for at, l := range c.lanes {
		if l.Connected() {
			filers[at.filer] = true
		}
	}
	return len(filers)
}
