package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/sctpio"
)

// kindTCP is the kind of carriers that are TLS over TCP.
const kindTCP = "tcp"

// A carrier is one of a link's connections.
type carrier struct {
	held
	of         *link.Link
	link       *link.Carrier
	path       link.Path
	generation uint64 // of the identity that it was made with
	sctp       *sctpio.Conn
}

// A proven connection is one whose peer has shown who it is.
type proven struct {
	raw        *trackedConn
	conn       *tls.Conn
	peer       person
	generation uint64
}

// protocol is what the handshake agreed upon.
func (p proven) protocol() Service { return Service(p.conn.ConnectionState().NegotiatedProtocol) }

// linkPath is the path of a connection, as the link calls it.
func (p proven) linkPath(rank int) link.Path {
	kind := kindTCP
	if _, ok := p.raw.Conn.(*sctpio.Conn); ok {
		kind = kindSCTP
	}
	return link.Path{
		Kind: kind, Local: addrPort(p.raw.LocalAddr()), Remote: addrPort(p.raw.RemoteAddr()),
		Bulk: p.protocol() == serviceLinkBulk, Rank: rank,
	}
}

// addrPort is an address of package net, the first of an association's.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	if list := sctpio.AddrPorts(a); len(list) > 0 {
		return list[0]
	}
	return netip.AddrPort{}
}

// connect dials a path to a filer, and checks who answers.
func (e *Endpoint) connect(ctx context.Context, id netquorum.FilerID, p path) (proven, error) {
	e.count.attempts.Add(1)
	ctx, cancel := context.WithTimeout(ctx, e.cfg.AttemptTimeout)
	defer cancel()
	generation := e.generation.Load()
	identity := e.cfg.Identity()
	if identity == nil {
		return proven{}, ErrNotInCluster
	}
	var plain net.Conn
	err := e.cfg.Sockets(func() (err error) {
		if p.sctp {
			plain, err = dialSCTP(ctx, p)
		} else {
			plain, err = e.cfg.Dial(ctx, p.local, p.remote)
		}
		return err
	})
	if err != nil {
		// An address has gone that associations are made from: the others are left.
		if p.sctp && errors.Is(err, syscall.EADDRNOTAVAIL) && e.sctp.rebind() {
			e.wakeAll(false)
		}
		return proven{}, err
	}
	raw := &trackedConn{Conn: plain, endpoint: e}
	conn := tls.Client(raw, e.dialConfig(identity, id, e.protocols(p)))
	if err = conn.HandshakeContext(ctx); err == nil {
		raw.shown = conn.ConnectionState().PeerCertificates[0]
		err = e.remember(raw, id)
	}
	if err != nil {
		raw.Close()
		var peer *PeerError
		if errors.As(err, &peer) && peer.Reason == WrongFiler {
			e.count.wrong.Add(1)
		}
		return proven{}, explain(err)
	}
	return proven{raw, conn, peerOf(conn.ConnectionState()), generation}, nil
}

// protocols are what a connection of the path offers, the best first.
func (e *Endpoint) protocols(p path) []string {
	switch {
	case p.bulk:
		return []string{string(serviceLinkBulk)}
	case !p.sctp && e.sctp.open():
		return []string{string(serviceLinkSCTP), string(serviceLink)}
	}
	return []string{string(serviceLink)}
}

// A severed connection is closed without the farewell of TLS, which might wait
// for a peer that is silent.
type severed struct{ *tls.Conn }

func (c severed) Close() error { return c.NetConn().Close() }

// dial connects to an address from another of this filer's own.
func dial(ctx context.Context, local netip.Addr, remote string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: tune}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", remote)
}

// accepted makes a carrier of a connection that the peer dialled.
func (e *Endpoint) accepted(p proven) error {
	k, err := e.keeper(p.peer.id)
	if err != nil {
		p.raw.Close()
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.HandshakeTimeout)
	defer cancel()
	return k.attach(ctx, p, path{}, false)
}

// rank is the place of a connection among the paths to its peer.
func rank(paths []path, h held) int {
	if i := slices.IndexFunc(paths, h.on); i >= 0 {
		return i
	}
	return len(paths)
}
