package linktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

// TCP is TLS 1.3 over TCP on loopback, with a relay in the middle that can be
// cut: both ends still believe in their connections then, and what they sent
// arrives when it is healed.
var TCP = Kind{Name: "tcp", NewPath: newTCPPath}

// Config returns the TLS configuration of both ends: good enough for a test, and
// with records of full size from the start.
func Config() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true},
		&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true}, nil
}

// Secure makes TLS of a connection with two ends.
func Secure(a, b net.Conn, server, client *tls.Config) (*tls.Conn, *tls.Conn, error) {
	const most = 5 * time.Second
	s, c := tls.Server(b, server), tls.Client(a, client)
	for _, conn := range []net.Conn{a, b} {
		if err := conn.SetDeadline(time.Now().Add(most)); err != nil {
			return nil, nil, err
		}
	}
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		a.Close()
		b.Close()
		return nil, nil, err
	}
	return c, s, errors.Join(a.SetDeadline(time.Time{}), b.SetDeadline(time.Time{}))
}

type tcpPath struct {
	server, client *tls.Config
	target         net.Listener // B
	relay          net.Listener

	connecting sync.Mutex // one at a time: what B accepts is then of this call
	wg         sync.WaitGroup

	mu    sync.Mutex
	cut   memlink.Direction
	healt chan struct{} // closed and replaced when cut changes
	ended bool
	conns map[net.Conn]bool
}

func newTCPPath(t testing.TB) Path {
	t.Helper()
	p := &tcpPath{healt: make(chan struct{}), conns: map[net.Conn]bool{}}
	var err error
	if p.server, p.client, err = Config(); err != nil {
		t.Fatal(err)
	}
	if p.target, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if p.relay, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.wg.Go(p.serve)
	t.Cleanup(p.end)
	return p
}

func (p *tcpPath) At() (a, b link.Path) {
	from, to := netip.MustParseAddrPort(p.relay.Addr().String()), netip.MustParseAddrPort(p.target.Addr().String())
	return link.Path{Kind: "tcp", Local: from, Remote: to}, link.Path{Kind: "tcp", Local: to, Remote: from}
}

func (p *tcpPath) Connect() (a, b net.Conn, err error) {
	p.connecting.Lock()
	defer p.connecting.Unlock()
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	if cut != 0 {
		return nil, nil, errors.New("the path is cut")
	}
	from, err := net.Dial("tcp", p.relay.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	to, err := p.target.Accept()
	if err != nil {
		from.Close()
		return nil, nil, err
	}
	c, s, err := Secure(from, to, p.server, p.client)
	if err != nil {
		return nil, nil, err
	}
	return c, s, nil
}

func (p *tcpPath) Cut(d memlink.Direction) { p.change(func() { p.cut |= d }) }
func (p *tcpPath) Heal()                   { p.change(func() { p.cut = 0 }) }

func (p *tcpPath) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.healt)
	p.healt = make(chan struct{})
}

func (p *tcpPath) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (p *tcpPath) end() {
	p.change(func() { p.ended = true })
	p.target.Close()
	p.relay.Close()
	p.Break()
	p.wg.Wait()
}

func (p *tcpPath) serve() {
	for {
		in, err := p.relay.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target.Addr().String())
		if err != nil {
			in.Close()
			return
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(in, out, memlink.AToB) })
		p.wg.Go(func() { p.pump(out, in, memlink.BToA) })
	}
}

func (p *tcpPath) pump(from, to net.Conn, d memlink.Direction) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		for { // a cut that began while this was under way stops it too
			p.mu.Lock()
			cut, ended, changed := p.cut&d != 0, p.ended, p.healt
			p.mu.Unlock()
			if ended {
				return
			}
			if !cut {
				break
			}
			<-changed
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
