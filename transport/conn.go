package transport

import (
	"container/list"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"

	"github.com/netquorum/netquorum"
)

// A trackedConn is a connection below TLS that the endpoint can close when it
// ends or when the peer is no longer allowed. It leaves the endpoint's books
// when it is closed, whoever closes it.
type trackedConn struct {
	net.Conn
	endpoint *Endpoint
	closed   atomic.Bool
	shown    *x509.Certificate // by the peer; set before remember
	from     string            // of an association that the peer made: as in a path
}

func (c *trackedConn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.endpoint.forget(c)
	return c.Conn.Close()
}

// remember enters an established connection, unless the endpoint has ended or
// the peer is not allowed or its authority not trusted (any more: either may have
// changed while its handshake ran, after Recheck looked).
func (e *Endpoint) remember(c *trackedConn, peer netquorum.FilerID) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return net.ErrClosed
	}
	e.conns[c] = peer
	e.mu.Unlock()
	if c.closed.Load() { // closed before it was entered: nobody would remove it
		e.forget(c)
		return net.ErrClosed
	}
	if !e.allowed(peer) {
		c.Close()
		return &PeerError{Reason: NotAllowed, Filer: peer}
	}
	if !e.trusts(c) {
		c.Close()
		return &PeerError{Reason: OtherCluster, Filer: peer}
	}
	return nil
}

// trusts reports whether what the peer has shown is trusted now.
func (e *Endpoint) trusts(c *trackedConn) bool {
	identity := e.cfg.Identity()
	return identity == nil || identity.issuedByTrusted(c.shown)
}

func (e *Endpoint) forget(c *trackedConn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// Recheck ends the links, and closes the connections in both directions, of peers
// that Allow no longer accepts. Call it after every change of who belongs to the
// cluster, and when an authority is not trusted any more: a connection that rests
// on a certificate of such a one is closed, and its link goes on by others.
func (e *Endpoint) Recheck() {
	for _, k := range e.allKeepers() { // Allow is the caller's code: not under our lock
		if !e.allowed(k.id) {
			e.log.Info("link closed: the filer is no longer allowed", "peer", k.id)
			k.dismiss()
		}
	}
	e.requests.drop(func(id netquorum.FilerID) bool { return !e.allowed(id) })
	e.mu.Lock()
	open := make(map[*trackedConn]netquorum.FilerID, len(e.conns))
	for c, peer := range e.conns {
		open[c] = peer
	}
	e.mu.Unlock()
	for c, peer := range open { // also those that are on their way into a link
		if !e.allowed(peer) || !e.trusts(c) {
			c.Close()
		}
	}
}

func (e *Endpoint) allowed(id netquorum.FilerID) bool { return e.cfg.Allow == nil || e.cfg.Allow(id) }

// halfOpen holds the connections whose peer has proved nothing yet. When there
// are too many the oldest goes, not the newest: an honest handshake takes
// milliseconds, so a flood of silent connections pushes out only itself.
type halfOpen struct {
	max int
	mu  sync.Mutex
	all list.List // of *applicant, oldest first
}

// An applicant is one half-open connection.
type applicant struct {
	conn    net.Conn
	evicted atomic.Bool
	element *list.Element
}

func (h *halfOpen) enter(c net.Conn) *applicant {
	a := &applicant{conn: c}
	h.mu.Lock()
	var out *applicant
	if h.all.Len() >= h.max {
		out = h.all.Remove(h.all.Front()).(*applicant)
		out.evicted.Store(true)
	}
	a.element = h.all.PushBack(a)
	h.mu.Unlock()
	if out != nil {
		out.conn.Close()
	}
	return a
}

// leave takes the applicant out, and reports whether it had not been pushed out
// before. It may be called more than once.
func (h *halfOpen) leave(a *applicant) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all.Remove(a.element) // does nothing for an element that is not in the list
	return !a.evicted.Load()
}

func (h *halfOpen) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all.Len()
}
