package partner

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
)

var (
	east = offer{cluster: "0e9ed6ae-9c6f-4b5c-9a3b-0d9a4f3f6f10", filer: "east-1", incarnation: [16]byte{1}}
	west = offer{cluster: "7d0c7a4e-5e0b-4a59-8c58-3b7f3e7a9c11", filer: "west-1", incarnation: [16]byte{2}}
)

func newShared(partner string) Shared {
	s := transport.NewPartnerSecret()
	return Shared{ID: s.ID(), Key: s.Key(), Partner: partner}
}

func knows(all ...Shared) func(string) (Shared, bool) {
	return func(id string) (Shared, bool) {
		for _, s := range all {
			if s.ID == id {
				return s, true
			}
		}
		return Shared{}, false
	}
}

var testCertificate = func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}()

// tlsPair makes the two ends of one TLS connection, with what set changes.
func tlsPair(t testing.TB, set ...func(client, server *tls.Config)) (client, server *tls.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	protos := []string{string(transport.ServicePartner)}
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, NextProtos: protos}
	s := &tls.Config{Certificates: []tls.Certificate{testCertificate}, NextProtos: protos}
	for _, f := range set {
		f(c, s)
	}
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client, server = tls.Client(raw, c), tls.Server(accepted, s)
	for _, x := range []*tls.Conn{client, server} {
		_ = x.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { x.NetConn().Close() })
	}
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return client, server
}

type ended struct {
	peer peer
	err  error
}

// meet lets a caller with a secret meet a called with some; who fails hangs up.
func meet(caller, called *tls.Conn, from, to offer, s Shared, accepted ...Shared) (ended, ended) {
	out := make(chan ended, 1)
	go func() {
		p, err := answer(called, to, knows(accepted...))
		if err != nil {
			called.Close()
		}
		out <- ended{p, err}
	}()
	p, err := call(caller, from, s)
	if err != nil {
		caller.Close()
	}
	return ended{p, err}, <-out
}

func TestWhoSharesASecretIsRecognised(t *testing.T) {
	c, s := tlsPair(t)
	shared := newShared("west")
	other := shared
	other.Partner = "east" // each side has its own name for the other
	a, b := meet(c, s, east, west, shared, newShared("x"), other)
	if a.err != nil || b.err != nil {
		t.Fatalf("caller: %v, called: %v", a.err, b.err)
	}
	if a.peer.cluster != west.cluster || a.peer.filer != west.filer || a.peer.incarnation != west.incarnation || a.peer.secret.Partner != "west" {
		t.Errorf("the caller met %+v", a.peer)
	}
	if b.peer.cluster != east.cluster || b.peer.filer != east.filer || b.peer.incarnation != east.incarnation || b.peer.secret.Partner != "east" {
		t.Errorf("the called met %+v", b.peer)
	}
}

func TestWhoSharesNoSecretIsNot(t *testing.T) {
	shared := newShared("west")
	wrong := shared
	wrong.Key = bytes.Repeat([]byte{7}, 32)
	pinned := shared
	pinned.Cluster = "11111111-2222-3333-4444-555555555555"
	none := shared
	none.Key = nil
	tests := []struct {
		name           string
		to             offer
		call           Shared
		accepted       []Shared
		caller, called error
	}{
		{"a secret that the called does not have, or has removed", west, shared, nil, ErrRefused, ErrUnproven},
		{"another secret of the same id", west, shared, []Shared{wrong}, ErrRefused, ErrUnproven},
		{"a caller that knows the id only", west, wrong, []Shared{shared}, ErrRefused, ErrUnproven},
		{"a secret without a key, on both sides", west, none, []Shared{none}, ErrRefused, ErrUnproven},
		{"the cluster itself", east, shared, []Shared{shared}, ErrItself, ErrItself},
		{"a called of another cluster than was meant", west, pinned, []Shared{shared}, ErrOtherCluster, io.EOF},
		{"a caller of another cluster than was meant", west, shared, []Shared{pinned}, ErrNotExpected, ErrOtherCluster},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c, s := tlsPair(t)
			a, b := meet(c, s, east, tc.to, tc.call, tc.accepted...)
			if !errors.Is(a.err, tc.caller) {
				t.Errorf("the caller says %v, want %v", a.err, tc.caller)
			}
			if !errors.Is(b.err, tc.called) {
				t.Errorf("the called says %v, want %v", b.err, tc.called)
			}
		})
	}
}

// Someone in between has a TLS connection to each side and passes on all that is
// said. Both sides know the secret, and neither believes what it hears.
func TestSomeoneInBetweenIsNoticed(t *testing.T) {
	shared := newShared("west")
	c, inner := tlsPair(t)
	outer, s := tlsPair(t)
	relay := func(to, from *tls.Conn) { _, _ = io.Copy(to, from); to.Close() }
	go relay(outer, inner)
	go relay(inner, outer)
	called := make(chan error, 1)
	go func() {
		_, err := answer(s, west, knows(shared))
		s.Close()
		called <- err
	}()
	if _, err := call(c, east, shared); !errors.Is(err, ErrRefused) {
		t.Errorf("the caller says %v", err)
	}
	if err := <-called; !errors.Is(err, ErrUnproven) {
		t.Errorf("the called says %v", err)
	}
}

// A called that does not know the secret sends back what it has heard, or
// pretends to accept.
func TestAFalseCalledIsNotBelieved(t *testing.T) {
	shared := newShared("west")
	for name, reply := range map[string]func(opening []byte) []byte{
		"the caller's own proof": func(o []byte) []byte { return append(append([]byte{1}, make([]byte, 16)...), o[26:]...) },
		"zeros":                  func([]byte) []byte { return append([]byte{1}, make([]byte, replySize-1)...) },
	} {
		t.Run(name, func(t *testing.T) {
			c, s := tlsPair(t)
			go func() {
				opening := make([]byte, openingSize)
				_, _ = io.ReadFull(s, opening)
				_, _ = s.Write(reply(opening))
			}()
			if _, err := call(c, east, shared); !errors.Is(err, ErrUnproven) {
				t.Errorf("the caller says %v", err)
			}
		})
	}
}

// What was heard on one connection is worth nothing on another.
func TestAReplayedProofIsRefused(t *testing.T) {
	shared := newShared("west")
	c, s := tlsPair(t)
	heard := make(chan []byte, 1)
	go func() {
		opening := make([]byte, openingSize)
		_, _ = io.ReadFull(s, opening)
		heard <- opening
		s.Close()
	}()
	if _, err := call(c, east, shared); err == nil {
		t.Fatal("the thief was believed")
	}
	thief, s := tlsPair(t)
	go func() { _, _ = thief.Write(<-heard) }()
	if _, err := answer(s, west, knows(shared)); !errors.Is(err, ErrUnproven) {
		t.Errorf("a replayed proof: %v", err)
	}
}

// TLS 1.2 has an exporter too, that does not depend on the whole handshake; and
// another service's connection is not one of partners.
func TestOlderTLSAndOtherServicesAreNotUsed(t *testing.T) {
	for name, set := range map[string]func(c, s *tls.Config){
		"TLS 1.2":         func(_, s *tls.Config) { s.MaxVersion = tls.VersionTLS12 },
		"no service":      func(c, _ *tls.Config) { c.NextProtos = nil },
		"another service": func(c, s *tls.Config) { c.NextProtos, s.NextProtos = []string{"h2"}, []string{"h2"} },
	} {
		t.Run(name, func(t *testing.T) {
			shared := newShared("west")
			c, s := tlsPair(t, set)
			if _, err := call(c, east, shared); !errors.Is(err, ErrUnproven) {
				t.Errorf("the caller says %v", err)
			}
			if _, err := answer(s, west, knows(shared)); !errors.Is(err, ErrUnproven) {
				t.Errorf("the called says %v", err)
			}
		})
	}
}

// A wire is a connection whose other side has said all it will say.
type wire struct {
	*tls.Conn
	io.Reader
	wrote bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)  { return w.Reader.Read(p) }
func (w *wire) Write(p []byte) (int, error) { return w.wrote.Write(p) }

// Whatever a stranger says, it is not believed, and hears nothing of who we are.
func FuzzAnswer(f *testing.F) {
	c, s := tlsPair(f)
	shared := newShared("west")
	w := &wire{Conn: c, Reader: bytes.NewReader(nil)}
	_, _ = call(w, east, shared)
	f.Add(w.wrote.Bytes())
	f.Add([]byte{})
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, said []byte) {
		w := &wire{Conn: s, Reader: bytes.NewReader(said)}
		if len(said) >= openingSize && bytes.Equal(said[:openingSize], f0(c, shared)) {
			return // the caller's own words on this very connection
		}
		if _, err := answer(w, west, knows(shared)); err == nil {
			t.Errorf("believed %x", said)
		}
		if bytes.Contains(w.wrote.Bytes(), []byte(west.filer)) || len(w.wrote.Bytes()) > replySize {
			t.Errorf("told a stranger %x", w.wrote.Bytes())
		}
	})
}

// f0 is the opening that the caller would send on this connection.
func f0(c *tls.Conn, s Shared) []byte {
	w := &wire{Conn: c, Reader: bytes.NewReader(nil)}
	_, _ = call(w, east, s)
	return w.wrote.Bytes()[:openingSize]
}

func FuzzGreeting(f *testing.F) {
	f.Add(greet(east))
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, said []byte) {
		var p peer
		if err := p.readGreeting(bytes.NewReader(said)); err == nil && (len(p.filer) == 0 || len(p.filer) > 64) {
			t.Errorf("accepted the filer id %q", p.filer)
		}
	})
}
