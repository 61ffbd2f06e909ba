package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/trace"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/sctpio"
)

// DefaultPort is where filers listen for each other.
const DefaultPort = "7480"

// A Resolver says where a filer may be reached: host:port, the best first. Each is
// a path, on which the link to the filer has a carrier. It is asked again and
// again, so addresses may come and go; Endpoint.Readdress tells that they did.
type Resolver interface {
	Endpoints(id netquorum.FilerID) []string
}

// Config says how an endpoint behaves. Listen, Identity and Resolver are
// needed; the rest has defaults that suit a local network.
type Config struct {
	// Listen is the TCP address of the port. ":7480" serves every address of
	// both families that the filer has or will have.
	Listen string
	// Identity returns what this filer shows to others; nil until the filer is
	// in a cluster. It is asked at every handshake, so a renewed identity is
	// used from then on.
	Identity func() *Identity
	Resolver Resolver
	// Spare returns further addresses of a filer, which are tried while it is
	// not reached by any path.
	Spare func(netquorum.FilerID) []string
	// Addresses returns this filer's own addresses for talking to others, with
	// their networks: a filer in the same network is dialled from there. What it
	// does not settle the kernel does.
	Addresses func() []netip.Prefix
	// SCTP lets filers whose kernels have it talk by SCTP rather than TCP.
	SCTP bool
	// Link holds how links behave; the endpoint fills in who they are between.
	Link link.Config
	// Allow reports whether a filer with a good certificate (still) belongs to
	// the cluster; everyone with one when nil. See Endpoint.Recheck.
	Allow func(netquorum.FilerID) bool
	Log   *slog.Logger
	// Traces remembers requests that have a trace id; nobody does when nil.
	Traces *trace.Ring

	HandshakeTimeout time.Duration // from accept to a proof of identity
	AttemptTimeout   time.Duration // one attempt at one path
	Stagger          time.Duration // until the next path is tried beside, while there is no link
	JoinTimeout      time.Duration // how long Joining.Admit may take
	MaxHalfOpen      int           // connections that have proved nothing yet
	MaxBody          int           // of one request or answer, in bytes

	// Now is the clock for certificates and limits; time.Now when nil.
	Now func() time.Time
	// Dial connects to host:port, from a local address if that is valid; by TCP
	// when nil.
	Dial func(ctx context.Context, local netip.Addr, remote string) (net.Conn, error)
	// Sockets runs what makes a socket, such as Dial; in another network namespace
	// if it likes. Where Listen is called when nil.
	Sockets func(make func() error) error
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.HandshakeTimeout, 3*time.Second)
	set(&c.AttemptTimeout, time.Second)
	set(&c.Stagger, 50*time.Millisecond)
	set(&c.JoinTimeout, time.Minute)
	if c.MaxHalfOpen == 0 {
		c.MaxHalfOpen = 128
	}
	if c.MaxBody == 0 {
		c.MaxBody = 130 << 20 // a whole configuration of 64 MiB, encoded
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Dial == nil {
		c.Dial = dial
	}
	if c.Sockets == nil {
		c.Sockets = func(make func() error) error { return make() }
	}
	if c.Addresses == nil {
		c.Addresses = func() []netip.Prefix { return nil }
	}
	if c.Spare == nil {
		c.Spare = func(netquorum.FilerID) []string { return nil }
	}
	return c
}

// An Endpoint is a filer's one port and its way to the ports of others. It may
// be made before the filer is in a cluster.
type Endpoint struct {
	cfg      Config
	log      *slog.Logger
	ln       net.Listener
	sctp     *sctpPort
	halfOpen halfOpen
	count    counters
	joins    *joinServer
	requests *requestClient
	// generation counts the identities that this filer has shown; see Renew.
	generation atomic.Uint64

	ctx    context.Context // ends with the endpoint
	cancel context.CancelFunc
	wg     sync.WaitGroup // the accept loop, every handshake and join, the keepers of links

	mu        sync.Mutex
	closed    bool
	services  map[Service]*serviceListener
	strangers map[Service]Proof
	conns     map[*trackedConn]netquorum.FilerID
	keepers   map[netquorum.FilerID]*keeper
	server    *requestServer
}

// Listen opens the port. Callers are served once a service is asked for and
// Identity returns one.
func Listen(cfg Config) (*Endpoint, error) {
	if cfg.Identity == nil || cfg.Resolver == nil {
		return nil, errors.New("transport: Listen needs Identity and Resolver")
	}
	cfg = cfg.withDefaults()
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: tune}
	ln, err := lc.Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg: cfg, log: cfg.Log, ln: ln,
		halfOpen: halfOpen{max: cfg.MaxHalfOpen},
		services: map[Service]*serviceListener{},
		conns:    map[*trackedConn]netquorum.FilerID{},
		keepers:  map[netquorum.FilerID]*keeper{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.joins = newJoinServer(e)
	e.sctp = &sctpPort{endpoint: e}
	e.requests = newRequestClient(e)
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		e.accept(ln)
	}()
	e.sctp.rebind()
	return e, nil
}

// Addr returns the address of the port.
func (e *Endpoint) Addr() net.Addr { return e.ln.Addr() }

// Service begins to offer a service and returns the listener that accepts its
// streams, all from authenticated filers. It returns the same listener until that
// is closed.
func (e *Endpoint) Service(s Service) net.Listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.services[s]; l != nil {
		return l
	}
	l := newServiceListener(e, s)
	if e.closed {
		l.once.Do(func() { close(l.done) })
		return l
	}
	e.services[s] = l
	return l
}

func (e *Endpoint) listener(s Service) *serviceListener {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.services[s]
}

func (e *Endpoint) withdraw(l *serviceListener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.services[l.service] == l {
		delete(e.services, l.service)
	}
}

// Close closes the port, every service and every connection in both
// directions, and waits for all that the endpoint started, handlers included.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		e.wg.Wait()
		return nil
	}
	e.closed = true
	services := make([]*serviceListener, 0, len(e.services))
	for _, l := range e.services {
		services = append(services, l)
	}
	server := e.server
	e.mu.Unlock()

	e.cancel()
	err := e.ln.Close()
	e.sctp.close()
	for _, l := range services {
		l.Close()
	}
	e.requests.close()
	e.closeConns()
	if server != nil {
		server.close()
	}
	e.wg.Wait()
	return err
}

func (e *Endpoint) closeConns() {
	e.mu.Lock()
	open := make([]*trackedConn, 0, len(e.conns))
	for c := range e.conns {
		open = append(open, c)
	}
	e.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

// accept serves a port until it is closed. Running out of descriptors is no
// reason to give up: it ends when connections do.
func (e *Endpoint) accept(ln net.Listener) {
	const pause = 50 * time.Millisecond
	for {
		raw, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			e.log.Warn("cannot accept a connection, will try again", "err", err)
			select {
			case <-e.ctx.Done():
				return
			case <-time.After(pause):
			}
			continue
		}
		e.count.accepted.Add(1)
		c := &trackedConn{Conn: raw, endpoint: e}
		if list := sctpio.AddrPorts(raw.LocalAddr()); len(list) > 0 {
			c.from = joined(e.sctp.calledAt(list))
		}
		a := e.halfOpen.enter(c)
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			defer e.halfOpen.leave(a)
			e.serve(c, a)
		}()
	}
}

// serve takes one connection from its first byte to its service.
func (e *Endpoint) serve(raw *trackedConn, a *applicant) {
	// The endpoint may end at any time: nothing may wait for a silent peer then.
	stop := context.AfterFunc(e.ctx, func() { raw.Close() })
	defer stop()
	h := &handshake{endpoint: e}
	conn := tls.Server(raw, h.config())
	err := raw.SetDeadline(time.Now().Add(e.cfg.HandshakeTimeout))
	if err == nil {
		err = conn.HandshakeContext(context.Background()) // the deadline bounds it
	}
	if err != nil {
		reason := h.why(err)
		if a.evicted.Load() {
			reason = Crowded
		}
		e.turnAway(raw, reason, err)
		return
	}
	if h.service == ServiceJoin {
		e.joins.serve(conn, a)
		return
	}
	if prove := e.stranger(h.service); prove != nil {
		e.serveStranger(raw, conn, h, a, prove)
		return
	}
	if err := e.establish(raw, conn, h, a); err != nil {
		e.turnAway(raw, h.why(err), err)
	}
}

// establish makes a connection whose peer is known a carrier of the link to that
// filer. It is no longer half-open before anybody may use it: a flood must not
// push it out then.
func (e *Endpoint) establish(raw *trackedConn, conn *tls.Conn, h *handshake, a *applicant) error {
	if !e.halfOpen.leave(a) {
		h.reason = Crowded
		return errors.New("too many half-open connections")
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return err
	}
	raw.shown = conn.ConnectionState().PeerCertificates[0]
	if err := e.remember(raw, h.peer.id); err != nil {
		return err
	}
	e.count.established.Add(1)
	if err := e.accepted(proven{raw, conn, h.peer, h.generation}); err != nil {
		e.log.Debug("a connection did not become part of a link", "peer", h.peer.id, "from", raw.RemoteAddr(), "err", err)
	}
	return nil
}

// turnAway counts, says why and closes politely: what the peer still sends is
// read for a moment, since closing over unread data would make the kernel send
// a reset that can overtake the alert.
func (e *Endpoint) turnAway(c *trackedConn, reason Reason, err error) {
	defer c.Close()
	if e.ctx.Err() != nil {
		return
	}
	e.count.refused.add(reason)
	e.log.Debug("connection refused", "from", c.RemoteAddr(), "reason", string(reason), "err", err)
	switch reason {
	case TimedOut, HungUp, Crowded, NotTLS:
		return // there is nobody to be polite to
	}
	const linger, most = 200 * time.Millisecond, 64 << 10
	if tcp, ok := c.Conn.(*net.TCPConn); !ok || tcp.CloseWrite() != nil || c.SetDeadline(time.Now().Add(linger)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c, most) // whatever ends it, the connection is done
}
