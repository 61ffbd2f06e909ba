package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

// http2 returns the settings of both ends. A peer that lost its power or its
// cable is noticed after PingAfter + PingTimeout, about a second.
func (c Config) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          1000, // watches hold one each
		MaxReadFrameSize:              64 << 10,
		MaxReceiveBufferPerConnection: 4<<20 - 1,
		MaxReceiveBufferPerStream:     1 << 20,
		SendPingTimeout:               c.PingAfter,
		PingTimeout:                   c.PingTimeout,
		WriteByteTimeout:              c.PingAfter + c.PingTimeout,
	}
}

// onlyHTTP2 is HTTP/2 by prior knowledge (RFC 9113, 3.3): TLS is below the link.
func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Client returns the client whose URLs have filer ids for hosts, like
// http://<filer id>/path. Requests to one filer share one connection, which is
// made when needed. Bound each request by its context.
//
// An error that holds a *net.OpError with the Op "dial" came before anything was
// sent. A GET or HEAD whose connection turns out to be dead is sent again, once, on a
// new connection. Any other request is not: it may have been carried out.
func (e *Endpoint) Client() *http.Client { return e.client }

// A requestClient is the http.RoundTripper of Client.
type requestClient struct {
	endpoint  *Endpoint
	transport *http.Transport

	mu    sync.Mutex
	lanes map[netquorum.FilerID]*lane
}

// A lane is the connection for requests to one filer. While it is being made,
// ready is open and the rest is not yet set.
type lane struct {
	ready chan struct{}
	conn  *http.ClientConn
	err   error
}

func newRequestClient(e *Endpoint) *requestClient {
	c := &requestClient{endpoint: e, lanes: map[netquorum.FilerID]*lane{}}
	c.transport = &http.Transport{
		Protocols:          onlyHTTP2(),
		HTTP2:              e.cfg.http2(),
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, e.cfg.AttemptTimeout)
			defer cancel()
			return e.Open(ctx, netquorum.FilerID(id), ServiceRequests, link.Control)
		},
	}
	return c
}

func (c *requestClient) httpClient() *http.Client {
	return &http.Client{
		Transport: c,
		// Filers do not send each other elsewhere behind the caller's back.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RoundTrip implements http.RoundTripper.
func (c *requestClient) RoundTrip(req *http.Request) (*http.Response, error) {
	id := netquorum.FilerID(req.URL.Hostname())
	if err := checkFilerID(id); err != nil {
		closeBody(req)
		return nil, fmt.Errorf("request to %q: the host must be a filer id: %w", req.URL.Host, err)
	}
	again := (req.Method == http.MethodGet || req.Method == http.MethodHead) && (req.Body == nil || req.Body == http.NoBody)
	for {
		conn, kept, err := c.get(req.Context(), id)
		if err != nil {
			closeBody(req)
			return nil, err
		}
		resp, err := conn.RoundTrip(req)
		if err == nil {
			return resp, nil
		}
		if !again || !kept || conn.Err() == nil || req.Context().Err() != nil {
			return nil, err
		}
		again = false
	}
}

// get returns the filer's connection and whether it was there already. Callers
// that come while it is being made share the one dial and its outcome.
func (c *requestClient) get(ctx context.Context, id netquorum.FilerID) (conn *http.ClientConn, kept bool, err error) {
	c.mu.Lock()
	l := c.lanes[id]
	kept = l != nil && l.usable()
	if l == nil || l.ended() {
		l = &lane{ready: make(chan struct{})}
		if !c.endpoint.start(func() { c.dial(l, id) }) {
			c.mu.Unlock()
			return nil, false, notSent(id, []Service{ServiceRequests}, net.ErrClosed)
		}
		c.lanes[id] = l
	}
	c.mu.Unlock()
	select {
	case <-l.ready:
		return l.conn, kept, l.err
	case <-ctx.Done():
		return nil, false, notSent(id, []Service{ServiceRequests}, ctx.Err())
	}
}

// dial makes the lane's connection. It is bounded by the endpoint's life and
// the attempts' time-outs, not by the first caller's context: others wait too.
func (c *requestClient) dial(l *lane, id netquorum.FilerID) {
	l.conn, l.err = c.transport.NewClientConn(c.endpoint.ctx, "http", net.JoinHostPort(string(id), "80"))
	close(l.ready)
	if l.err != nil {
		c.mu.Lock()
		if c.lanes[id] == l {
			delete(c.lanes, id)
		}
		c.mu.Unlock()
	}
}

// usable reports whether the connection is made and alive.
func (l *lane) usable() bool {
	select {
	case <-l.ready:
		return l.err == nil && l.conn.Err() == nil
	default:
		return false
	}
}

// ended reports whether the lane is of no use any more.
func (l *lane) ended() bool {
	select {
	case <-l.ready:
		return l.err != nil || l.conn.Err() != nil
	default:
		return false
	}
}

// drop closes the connections to the filers that which picks.
func (c *requestClient) drop(which func(netquorum.FilerID) bool) {
	c.mu.Lock()
	lanes := make(map[netquorum.FilerID]*lane, len(c.lanes))
	for id, l := range c.lanes {
		lanes[id] = l
	}
	c.mu.Unlock()
	for id, l := range lanes {
		if !which(id) {
			continue
		}
		if l.usable() {
			l.conn.Close()
		}
		c.mu.Lock()
		if c.lanes[id] == l && l.ended() {
			delete(c.lanes, id)
		}
		c.mu.Unlock()
	}
}

func (c *requestClient) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lanes)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
