package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/netquorum/netquorum"
)

// A handshake is the server's side of one, with what was learned on the way:
// crypto/tls reports most refusals as plain text.
type handshake struct {
	endpoint *Endpoint
	service  Service
	peer     person
	reason   Reason

	generation uint64 // of the identity that was shown
}

func (h *handshake) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: h.choose}
}

// choose picks the service and with it who may call. A service that is not
// offered gets a configuration whose only protocol nobody asks for: crypto/tls
// then sends the alert "no application protocol", the polite refusal.
func (h *handshake) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		h.reason = OldTLS
		return nil, nil // the version check that follows refuses it
	}
	refuse := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"netquorum-none"}}
	h.generation = h.endpoint.generation.Load()
	identity := h.endpoint.cfg.Identity()
	h.reason = UnknownService
	for _, p := range hello.SupportedProtos {
		s := Service(p)
		if s == ServiceJoin {
			h.service, h.reason = s, ""
			return h.endpoint.joins.tlsConfig()
		}
		if h.endpoint.stranger(s) != nil {
			h.service, h.reason = s, ""
			return h.endpoint.strangerTLS(s)
		}
		if s != serviceLink && s != serviceLinkBulk && (s != serviceLinkSCTP || !h.endpoint.sctp.open()) {
			continue
		}
		if identity == nil {
			h.reason = NotInCluster
			return refuse, nil
		}
		h.service, h.reason = s, ""
		return h.mutual(identity), nil
	}
	if len(hello.SupportedProtos) == 0 {
		return nil, errors.New("the caller names no service")
	}
	return refuse, nil
}

// mutual is for every service but joining. Tickets are off: each connection
// shows its certificate, so that a removed filer cannot resume an old session.
func (h *handshake) mutual(identity *Identity) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// A link's frames are made for full records, not for 1.4 KB ones after each pause.
		DynamicRecordSizingDisabled: true,
		Certificates:                []tls.Certificate{*identity.leaf},
		NextProtos:                  []string{string(h.service)},
		ClientAuth:                  tls.RequestClientCert, // VerifyConnection requires and verifies it
		SessionTicketsDisabled:      true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			p, err := identity.verify(cs, x509.ExtKeyUsageClientAuth, h.endpoint.cfg.Now())
			if err == nil && !h.endpoint.allowed(p.id) {
				err = &PeerError{Reason: NotAllowed, Filer: p.id, Name: p.name}
			}
			h.peer = p
			return err
		},
	}
}

// why turns the error of a failed handshake into its reason.
func (h *handshake) why(err error) Reason {
	var peer *PeerError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &peer):
		return peer.Reason
	case h.reason != "":
		return h.reason
	case errors.As(err, &record):
		return NotTLS
	case errors.Is(err, os.ErrDeadlineExceeded):
		return TimedOut
	case errors.As(err, new(*FrameError)):
		return BadFrame
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return HungUp
	}
	return BrokenTLS
}

// dialConfig is the client's side: the peer must be exactly the filer called.
func (e *Endpoint) dialConfig(identity *Identity, want netquorum.FilerID, protos []string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		DynamicRecordSizingDisabled: true,
		Certificates:                []tls.Certificate{*identity.leaf},
		NextProtos:                  protos,
		// Filers have ids, not host names; VerifyConnection verifies the chain.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			p, err := identity.verify(cs, x509.ExtKeyUsageServerAuth, e.cfg.Now())
			if err != nil {
				return err
			}
			if p.id != want {
				return &PeerError{Reason: WrongFiler, Filer: p.id, Name: p.name, Want: want}
			}
			if !slices.Contains(protos, cs.NegotiatedProtocol) {
				return errors.New("the peer did not confirm the service " + protos[0])
			}
			return nil
		},
	}
}
