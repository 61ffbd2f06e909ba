package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// A forge makes certificates with an authority's own key that the product would
// never issue.
type forge struct {
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
	id  string
}

func newForge(t testing.TB, a *transport.Authority) *forge {
	t.Helper()
	data, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	f := &forge{id: a.ClusterID}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			f.ca, err = x509.ParseCertificate(block.Bytes)
		} else {
			var k any
			if k, err = x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				f.key = k.(*ecdsa.PrivateKey)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *forge) issue(t testing.TB, change func(*x509.Certificate), uris ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "forged"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, f.ca, &key.PublicKey, f.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestStrangersAreRefused(t *testing.T) {
	c := transporttest.New(t, 1)
	hasty := c.Add(t, "hasty", func(cfg *transport.Config) { cfg.HandshakeTimeout = 300 * time.Millisecond })
	serveEcho(t, c.Filers[0])
	ours := newForge(t, c.Authority)
	other, err := transport.NewAuthority("acme") // the same name, another cluster
	if err != nil {
		t.Fatal(err)
	}
	theirs := newForge(t, other)
	filer, cluster := "netquorum:filer:mallory", "netquorum:cluster:"+ours.id

	caller := func(change func(*tls.Config), certs ...tls.Certificate) func(net.Conn) error {
		return func(raw net.Conn) error {
			cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocolLink}, Certificates: certs}
			if change != nil {
				change(cfg)
			}
			conn := tls.Client(raw, cfg)
			if err := conn.Handshake(); err != nil {
				return err
			}
			_, err := say(conn, "let me in")
			return err
		}
	}
	good := ours.issue(t, nil, filer, cluster)
	tests := []struct {
		name   string
		call   func(net.Conn) error
		reason transport.Reason
		alert  string // what the caller is told; empty where nothing can be
	}{
		{"no certificate", caller(nil), transport.NoCertificate, "bad certificate"},
		{"a certificate of another cluster", caller(nil, theirs.issue(t, nil, filer, "netquorum:cluster:"+theirs.id)), transport.OtherCluster, "bad certificate"},
		{"another cluster's authority using our cluster's id", caller(nil, theirs.issue(t, nil, filer, cluster)), transport.OtherCluster, "bad certificate"},
		{"our authority, but another cluster's id", caller(nil, ours.issue(t, nil, filer, "netquorum:cluster:x")), transport.OtherCluster, "bad certificate"},
		{"an expired certificate", caller(nil, ours.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, filer, cluster)), transport.Expired, "bad certificate"},
		{"a certificate without a filer", caller(nil, ours.issue(t, nil, cluster)), transport.NotAFiler, "bad certificate"},
		{"a certificate without a cluster", caller(nil, ours.issue(t, nil, filer)), transport.NotAFiler, "bad certificate"},
		{"a certificate for two filers", caller(nil, ours.issue(t, nil, filer, "netquorum:filer:other", cluster)), transport.NotAFiler, "bad certificate"},
		{"a filer id that is no host name", caller(nil, ours.issue(t, nil, "netquorum:filer:a/b", cluster)), transport.NotAFiler, "bad certificate"},
		{"a certificate for servers only", caller(nil, ours.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, filer, cluster)), transport.NotAFiler, "bad certificate"},
		{"a certificate signed by a filer", caller(nil, (&forge{ca: mustParse(t, good), key: good.PrivateKey.(*ecdsa.PrivateKey)}).issue(t, nil, filer, cluster)), transport.OtherCluster, "bad certificate"},
		{"an unknown protocol", caller(func(c *tls.Config) { c.NextProtos = []string{"netquorum-link/9"} }, good), transport.UnknownService, "no application protocol"},
		{"no protocol", caller(func(c *tls.Config) { c.NextProtos = nil }, good), transport.UnknownService, "internal error"},
		{"TLS 1.2", caller(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, good), transport.OldTLS, "protocol version not supported"},
		{"plain HTTP", func(raw net.Conn) error {
			_, err := say(raw, "GET / HTTP/1.1\r\n\r\n")
			return err
		}, transport.NotTLS, ""},
		{"hanging up", func(raw net.Conn) error { raw.Close(); return io.EOF }, transport.HungUp, ""},
		{"silence", func(raw net.Conn) error { _, err := raw.Read(make([]byte, 1)); return err }, transport.TimedOut, ""},
		{"one byte at a time", func(raw net.Conn) error {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}
			for i := 0; ; i++ { // never complete, never quiet
				b := byte(0)
				if i < len(hello) {
					b = hello[i]
				}
				if _, err := raw.Write([]byte{b}); err != nil {
					return err
				}
				<-tick.C
			}
		}, transport.TimedOut, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := c.Filers[0]
			if test.reason == transport.TimedOut {
				server = hasty
			}
			before := server.Stats()
			raw, err := net.Dial("tcp", server.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			err = test.call(raw)
			raw.Close()
			if err == nil {
				t.Fatal("the caller was served")
			}
			if !strings.Contains(err.Error(), test.alert) {
				t.Errorf("the caller is told %q, want it to contain %q", err, test.alert)
			}
			transporttest.Eventually(t, "one refusal as "+string(test.reason), func() bool {
				now := server.Stats()
				return now.Refused[test.reason] == before.Refused[test.reason]+1 && now.Established == before.Established && now.HalfOpen == 0
			})
		})
	}
	// The control: the same way of calling works with a good certificate.
	raw, err := net.Dial("tcp", c.Filers[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocolLink}, Certificates: []tls.Certificate{good}})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("a good certificate is not greeted: %v", err)
	}
}

// protocolLink is what carriers of links offer.
const protocolLink = "netquorum-link/1"

func mustParse(t testing.TB, c tls.Certificate) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// A server that a caller reaches must be exactly who was called.
func TestImpostorsAreNotSpokenTo(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	serveEcho(t, a)
	serveEcho(t, b)
	ours := newForge(t, c.Authority)
	other := transporttest.New(t, 1)
	serveEcho(t, other.Filers[0])

	serve := func(cert tls.Certificate, protos ...string) string {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protos})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					_, _ = io.Copy(io.Discard, conn)
				}()
			}
		}()
		return l.Addr().String()
	}
	me, cluster := "netquorum:filer:filer-2", "netquorum:cluster:"+ours.id
	tests := []struct {
		name   string
		at     string
		reason transport.Reason
	}{
		{"another filer of the cluster", a.Addr().String(), transport.WrongFiler},
		{"a filer of another cluster", other.Filers[0].Addr().String(), transport.OtherCluster},
		{"an expired filer", serve(ours.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Unix(1, 0) }, me, cluster), protocolLink), transport.Expired},
		{"a filer that may only call", serve(ours.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, me, cluster), protocolLink), transport.NotAFiler},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c.Route(b.ID, test.at)
			_, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
			var peer *transport.PeerError
			if !errors.As(err, &peer) || peer.Reason != test.reason || peer.Ours {
				t.Errorf("got %v, want a PeerError for %s", err, test.reason)
			}
			if s := a.Stats(); s.Open != 0 {
				t.Errorf("%d connections left open", s.Open)
			}
		})
	}
	t.Run("a server that does not confirm the service", func(t *testing.T) {
		c.Route(b.ID, serve(ours.issue(t, nil, me, cluster)))
		if _, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control); err == nil {
			t.Error("the connection was used")
		}
	})
	if n := a.Stats().WrongFilers; n != 1 {
		t.Errorf("counted %d wrong filers, want 1", n)
	}
}

// A filer whose clock lost its battery boots in 1970. It must be able to form
// the cluster, which will tell it the time.
func TestAFilerWithoutATimeIsStillAMember(t *testing.T) {
	c := transporttest.New(t, 1)
	lost := c.Add(t, "lost", func(cfg *transport.Config) {
		cfg.Now = func() time.Time { return time.Unix(30, 0) }
	})
	serveEcho(t, lost)
	serveEcho(t, c.Filers[0])
	for _, pair := range [][2]*transporttest.Filer{{c.Filers[0], lost}, {lost, c.Filers[0]}} {
		conn, err := pair[0].Open(within(t, 5*time.Second), pair[1].ID, echo, link.Control)
		if err != nil {
			t.Fatal(err)
		}
		mustSay(t, conn, "hello")
	}
	c.Authority.Now = func() time.Time { return time.Unix(30, 0) }
	issued, err := c.Authority.Issue("lost", "lost")
	if err != nil {
		t.Fatal(err)
	}
	if issued.Expires.Year() < 2027 {
		t.Errorf("a certificate issued by a filer without a time expires on %v", issued.Expires)
	}
}

// 1,000 silent connections must neither keep a filer out nor leave anything
// behind.
func TestAFloodOfHalfOpenConnectionsPushesOutOnlyItself(t *testing.T) {
	const flood, room = 1000, 32
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*flood+100 {
		t.Skipf("needs %d descriptors, the limit is %d", 2*flood+100, limit.Cur)
	}
	c := transporttest.New(t, 2, func(cfg *transport.Config) {
		cfg.MaxHalfOpen = room
		cfg.HandshakeTimeout = time.Minute // nothing but the flood itself ends them
		cfg.AttemptTimeout = 10 * time.Second
	})
	a, b := c.Filers[0], c.Filers[1]
	serveEcho(t, b)
	ctx := within(t, 60*time.Second)
	conn, err := a.Open(ctx, b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "before")
	before := runtime.NumGoroutine()
	var silent []net.Conn
	for i := range flood {
		s, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, s)
		if i%200 == 100 {
			honest, err := a.Open(ctx, b.ID, echo, link.Control)
			if err != nil {
				t.Fatalf("an honest filer is kept out after %d silent connections: %v", i, err)
			}
			mustSay(t, honest, "during")
			honest.Close()
		}
	}
	mustSay(t, conn, "after")
	transporttest.Eventually(t, "all but 32 to be pushed out", func() bool {
		s := b.Stats()
		return s.HalfOpen == room && s.Refused[transport.Crowded] == flood-room
	})
	for _, s := range silent {
		s.Close()
	}
	transporttest.Eventually(t, "the rest to hang up", func() bool {
		s := b.Stats()
		return s.HalfOpen == 0 && s.Refused[transport.HungUp] == room && s.Open == 1
	})
	settled(t, before)
}
