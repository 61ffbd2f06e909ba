package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

var payload = bytes.Repeat([]byte("x"), 256)

// bareEcho is what the figures are compared with: TLS 1.3 over TCP on loopback,
// 256 bytes there and back, and nothing else.
func bareEcho(b *testing.B) net.Conn {
	a, err := transport.NewAuthority("bench")
	if err != nil {
		b.Fatal(err)
	}
	cert := newForge(b, a).issue(b, nil)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 64<<10))
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func echoOnce(b *testing.B, c net.Conn, buf []byte) {
	if _, err := c.Write(payload); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		b.Fatal(err)
	}
}

func newBenchPair(b *testing.B) (a, z *transporttest.Filer) {
	c := transporttest.New(b, 2)
	c.Filers[1].Handle(serving(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	serveEcho(b, c.Filers[1])
	return c.Filers[0], c.Filers[1]
}

func postOnce(b *testing.B, a, z *transporttest.Filer) {
	answer, err := a.Call(context.Background(), z.ID, calls.Request{Program: program, Method: "POST", Target: "/", Body: payload})
	if err != nil || len(answer.Body) != len(payload) {
		b.Errorf("%d bytes, %v", len(answer.Body), err)
	}
}

// BenchmarkRoundTrip reports each way to go there and back, and the ratio to
// the bare echo, measured in turns in the same run.
func BenchmarkRoundTrip(b *testing.B) {
	bare := bareEcho(b)
	a, z := newBenchPair(b)
	service, err := a.Open(context.Background(), z.ID, echo, link.Control)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, len(payload))
	ways := []struct {
		name string
		once func()
	}{
		{"bare", func() { echoOnce(b, bare, buf) }},
		{"service", func() { echoOnce(b, service, buf) }},
		{"request", func() { postOnce(b, a, z) }},
	}
	const turn = 50 // the first of a turn finds cold caches and sleeping threads
	took := make([]time.Duration, len(ways))
	for b.Loop() {
		for i, w := range ways {
			w.once()
			start := time.Now()
			for range turn {
				w.once()
			}
			took[i] += time.Since(start)
		}
	}
	for i, w := range ways {
		b.ReportMetric(float64(took[i].Microseconds())/float64(b.N)/turn, w.name+"-us")
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "service/bare")
	b.ReportMetric(float64(took[2])/float64(took[0]), "request/bare")
}

// BenchmarkRequests64 is requests per second with 64 callers on one connection.
func BenchmarkRequests64(b *testing.B) {
	a, z := newBenchPair(b)
	postOnce(b, a, z)
	b.SetParallelism((64 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			postOnce(b, a, z)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkSetup is the way to a filer from nothing, by one that was just started:
// TCP, both certificates, the link, a stream of a service.
func BenchmarkSetup(b *testing.B) {
	c := transporttest.New(b, 1)
	z := c.Filers[0]
	serveEcho(b, z)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		a := c.Add(b, netquorum.FilerID(fmt.Sprintf("caller-%d", i)))
		b.StartTimer()
		start := time.Now()
		conn, err := a.Open(context.Background(), z.ID, echo, link.Control)
		took = append(took, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		conn.Close()
		a.Close()
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "setup-ms")
}

// BenchmarkBulk sends 32 MiB, bare and as a request, in turns.
func BenchmarkBulk(b *testing.B) {
	const size = 32 << 20
	a, z := newBenchPair(b)
	z.Handle(serving(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	body := make([]byte, size)
	bare := bareEcho(b)
	var took [2]time.Duration
	b.SetBytes(2 * size)
	for b.Loop() {
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.CopyN(io.Discard, bare, size) })
		_, _ = bare.Write(body)
		wg.Wait()
		took[0] += time.Since(start)

		start = time.Now()
		if _, err := a.Call(context.Background(), z.ID, calls.Request{Program: program, Method: "POST", Target: "/", Body: body}); err != nil {
			b.Fatal(err)
		}
		took[1] += time.Since(start)
	}
	mib := float64(size>>20) * float64(b.N)
	b.ReportMetric(mib/took[0].Seconds(), "bare-echo-MiB/s")
	b.ReportMetric(mib/took[1].Seconds(), "request-MiB/s")
}
