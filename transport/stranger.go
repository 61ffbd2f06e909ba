package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// ServicePartner is for other clusters: the caller has no certificate that we
// could verify, and proves to share a secret instead.
const ServicePartner Service = "netquorum-partner/1"

var (
	// ErrUnproven is what a Proof returns for a caller that does not know the secret.
	ErrUnproven = errors.New("the other side does not know the secret")
	// ErrOtherCluster is what a Proof returns for a caller that knows the secret and
	// is not the cluster that it is shared with.
	ErrOtherCluster = errors.New("the other side is not the cluster that the Partner document names")
)

// A Proof finds out who calls, on a connection whose TLS authenticates nobody. It
// returns who takes the connection. Until it has returned, the connection is
// among those that a flood pushes out, and its deadline is near.
type Proof func(conn *tls.Conn) (take func(net.Conn), err error)

// ServeStrangers begins to offer a service to callers without a certificate, and
// ends it again with a nil proof. The service shows a certificate that says
// nothing: a stranger learns neither the cluster's name nor the filer's.
func (e *Endpoint) ServeStrangers(s Service, p Proof) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.strangers == nil {
		e.strangers = map[Service]Proof{}
	}
	if p == nil {
		delete(e.strangers, s)
		return
	}
	e.strangers[s] = p
}

func (e *Endpoint) stranger(s Service) Proof {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.strangers[s]
}

// strangerTLS is the called side's configuration.
func (e *Endpoint) strangerTLS(s Service) (*tls.Config, error) {
	config, err := e.joins.tlsConfig()
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.NextProtos = []string{string(s)}
	return config, nil
}

// serveStranger lets the caller prove itself and hands the connection over.
func (e *Endpoint) serveStranger(raw *trackedConn, conn *tls.Conn, h *handshake, a *applicant, prove Proof) {
	take, err := prove(conn)
	if err == nil && !e.halfOpen.leave(a) {
		h.reason, err = Crowded, errors.New("too many half-open connections")
	}
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		switch {
		case errors.Is(err, ErrUnproven):
			h.reason = NotProven
		case errors.Is(err, ErrOtherCluster):
			h.reason = OtherCluster
		}
		if h.reason == NotProven || h.reason == OtherCluster {
			if from := source(raw.RemoteAddr()); e.joins.failures.mayTry(from) {
				e.joins.failures.note(from)
				e.log.Warn("a stranger did not prove itself", "service", string(h.service), "from", raw.RemoteAddr(), "err", err)
			}
		}
		if a.evicted.Load() {
			h.reason = Crowded
		}
		e.turnAway(raw, h.why(err), err)
		return
	}
	e.count.established.Add(1)
	take(conn)
}

// DialStranger connects to a service for strangers at an address (the default
// port may be left out). TLS authenticates nobody on this connection: what proves
// the other side must be bound to it, by its exporter.
func (e *Endpoint) DialStranger(ctx context.Context, address string, s Service) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.HandshakeTimeout)
	defer cancel()
	raw, err := e.cfg.Dial(ctx, netip.Addr{}, WithPort(address))
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		DynamicRecordSizingDisabled: true,
		NextProtos:                  []string{string(s)},
		// What the called shows is made by itself. The proof takes its place.
		InsecureSkipVerify: true,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, explain(err)
	}
	if conn.ConnectionState().NegotiatedProtocol != string(s) {
		raw.Close()
		return nil, ErrNotServed
	}
	return conn, nil
}

// DialPartner is DialStranger for other clusters.
func (e *Endpoint) DialPartner(ctx context.Context, address string) (*tls.Conn, error) {
	return e.DialStranger(ctx, address, ServicePartner)
}
