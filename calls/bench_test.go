package calls_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/transport/link"
)

var payload = bytes.Repeat([]byte("x"), 256)

// secured returns the two ends of a TLS 1.3 connection over loopback.
func secured(b *testing.B) (client, server net.Conn) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	name := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, name, name, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.(*tls.Conn).Handshake()
		}
		if err != nil {
			b.Error(err)
		}
		accepted <- c
	}()
	client, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		b.Fatal(err)
	}
	server = <-accepted
	b.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func echoServer() *calls.Server {
	return &calls.Server{Log: slog.New(slog.DiscardHandler), Programs: []calls.Program{{
		Name:    "echo",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
	}}}
}

// overTLS is a client whose connection is TLS over TCP and nothing else.
func overTLS(b *testing.B) *calls.Client {
	c, s := secured(b)
	return serve(b, c, s)
}

// overLink is a client over a stream of a link with one such carrier, as between
// filers.
func overLink(b *testing.B) *calls.Client {
	c, s := streams(b)
	return serve(b, c, s)
}

// streams are the two ends of a stream of such a link.
func streams(b *testing.B) (client, server net.Conn) {
	c, s := secured(b)
	accepted := make(chan net.Conn, 1)
	ours := link.New(link.Config{Local: "a", Peer: "z"})
	theirs := link.New(link.Config{Local: "z", Peer: "a", Accept: func(offered []string, _ link.Class) (string, func(*link.Stream)) {
		return offered[0], func(s *link.Stream) { accepted <- s }
	}})
	b.Cleanup(func() { ours.Close(); theirs.Close() })
	var attaching sync.WaitGroup
	attach := func(l *link.Link, conn net.Conn) {
		if _, err := l.Attach(context.Background(), conn, link.Path{Kind: "tcp"}); err != nil {
			b.Error(err)
		}
	}
	attaching.Go(func() { attach(ours, c) })
	attaching.Go(func() { attach(theirs, s) })
	attaching.Wait()
	stream, err := ours.Open(context.Background(), "calls", link.Control)
	if err != nil {
		b.Fatal(err)
	}
	return stream, <-accepted
}

func serve(b *testing.B, c, s net.Conn) *calls.Client {
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = echoServer().Serve(ctx, ctx, s, nil) })
	client := &calls.Client{Dial: func(context.Context) (net.Conn, error) { return c, nil }}
	b.Cleanup(func() {
		client.Close()
		cancel()
		served.Wait()
	})
	return client
}

func callOnce(b *testing.B, c *calls.Client) {
	a, err := c.Call(context.Background(), calls.Request{Program: "echo", Method: "POST", Target: "/", Body: payload})
	if err != nil || len(a.Body) != len(payload) {
		b.Fatal(err, a.Status)
	}
}

// BenchmarkRoundTrip compares requests with 256 bytes there and back over TLS
// alone, in turns in the same run.
func BenchmarkRoundTrip(b *testing.B) {
	bare, other := secured(b)
	go func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{other}, struct{ io.Reader }{other}, make([]byte, 64<<10))
	}()
	buf := make([]byte, len(payload))
	tls, linked := overTLS(b), overLink(b)
	s1, s2 := streams(b)
	go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{s2}, struct{ io.Reader }{s2}, make([]byte, 64<<10)) }()
	ways := []struct {
		name string
		once func()
	}{
		{"bare", func() {
			if _, err := bare.Write(payload); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(bare, buf); err != nil {
				b.Fatal(err)
			}
		}},
		{"stream", func() {
			if _, err := s1.Write(payload); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(s1, buf); err != nil {
				b.Fatal(err)
			}
		}},
		{"tls", func() { callOnce(b, tls) }},
		{"link", func() { callOnce(b, linked) }},
	}
	const turn = 50 // the first of a turn finds cold caches and sleeping threads
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, w := range ways {
			w.once()
			for range turn {
				start := time.Now()
				w.once()
				took[i] = append(took[i], time.Since(start))
			}
		}
	}
	bareMedian := median(took[0])
	for i, w := range ways {
		b.ReportMetric(float64(median(took[i]).Nanoseconds())/1000, w.name+"-p50-us")
		if i > 0 {
			b.ReportMetric(float64(median(took[i]))/float64(bareMedian), w.name+"/bare")
		}
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
