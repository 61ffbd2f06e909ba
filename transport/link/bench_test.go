package link_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
)

// loopback makes one TLS connection over TCP, without anything between.
func loopback(t testing.TB) (a, b *tls.Conn) {
	t.Helper()
	server, client, err := linktest.Config()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	to, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b, err = linktest.Secure(from, to, server, client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		from.Close()
		to.Close()
	})
	return a, b
}

func linked(t testing.TB, bulk bool) *linktest.Pair {
	p := linktest.NewPair(t, linktest.TCP, 0)
	add := func(bulk bool) {
		a, b := loopback(t)
		done := make(chan error, 1)
		go func() {
			_, err := p.B.Attach(t.Context(), b, link.Path{Kind: "tcp", Bulk: bulk})
			done <- err
		}()
		if _, err := p.A.Attach(t.Context(), a, link.Path{Kind: "tcp", Bulk: bulk}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	add(false)
	if bulk {
		add(true)
	}
	return p
}

func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[int(float64(len(d)-1)*p)]
}

// BenchmarkRoundTrip is a request and its answer, 256 bytes each, with handlers
// on both sides, beside a bare echo over TLS, in turns.
func BenchmarkRoundTrip(b *testing.B) {
	const size, turn = 256, 50
	x, y := loopback(b)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := y.Read(buf)
			if err != nil {
				return
			}
			if _, err := y.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	p := linked(b, true)
	s := p.Open(b, linktest.Echo, link.Control)
	answered, got := make(chan struct{}, 1), 0
	s.Handle(func(p []byte) error {
		if got += len(p); got%size == 0 {
			answered <- struct{}{}
		}
		return nil
	}, func(error) {})
	u := p.Open(b, linktest.Echo, link.Control)
	buf, msg := make([]byte, size), make([]byte, size)
	ways := []func(){
		func() {
			x.Write(msg)
			io.ReadFull(x, buf)
		},
		func() {
			s.Write(msg)
			<-answered
		},
		func() {
			u.Write(msg)
			io.ReadFull(u, buf)
		},
	}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, once := range ways {
			once()
			for range turn {
				start := time.Now()
				once()
				took[i] = append(took[i], time.Since(start))
			}
		}
	}
	bare := percentile(took[0], 0.5)
	b.ReportMetric(float64(bare.Nanoseconds())/1e3, "bare-us")
	b.ReportMetric(float64(percentile(took[1], 0.5).Nanoseconds())/1e3, "handled-us")
	b.ReportMetric(float64(percentile(took[2], 0.5).Nanoseconds())/1e3, "read-us")
	b.ReportMetric(float64(percentile(took[1], 0.5))/float64(bare), "handled/bare")
	b.ReportMetric(float64(percentile(took[2], 0.5))/float64(bare), "read/bare")
}

// BenchmarkBulk is 64 MiB over one TCP connection, in turns: bare, as a bulk stream
// that is written and read, and as one that io.Copy brings data to and from.
func BenchmarkBulk(b *testing.B) {
	const size = 64 << 20
	x, y := loopback(b)
	p := linked(b, true)
	from, to := p.Streams(b, link.Bulk)
	body := make([]byte, 256<<10)
	written := func(w io.Writer) func() error {
		return func() error {
			for range size / len(body) {
				if _, err := w.Write(body); err != nil {
					return err
				}
			}
			return nil
		}
	}
	buf := make([]byte, 256<<10)
	read := func(r io.Reader) func() error {
		return func() error {
			for got := 0; got < size; {
				n, err := r.Read(buf)
				if err != nil {
					return err
				}
				got += n
			}
			return nil
		}
	}
	lanes := []struct {
		name          string
		send, receive func() error
		took          []time.Duration
		cpu           time.Duration
	}{
		{name: "bare", send: written(x), receive: read(y)},
		{name: "link", send: written(from), receive: read(to)},
		{name: "copy", send: func() error {
			_, err := from.ReadFrom(&supply{size})
			return err
		}, receive: func() error {
			if _, err := to.WriteTo(&demand{size}); err != errEnough {
				return fmt.Errorf("the copy ended with %w", err)
			}
			return nil
		}},
	}
	const rounds = 25 // a second holds too few for a median
	b.SetBytes(int64(len(lanes)) * size * rounds)
	for b.Loop() {
		for i := range rounds * len(lanes) {
			l := &lanes[i%len(lanes)]
			cpu, start := processorTime(), time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := l.receive(); err != nil {
					b.Error(err)
				}
			})
			if err := l.send(); err != nil {
				b.Fatal(err)
			}
			wg.Wait()
			l.took = append(l.took, time.Since(start))
			l.cpu += processorTime() - cpu
		}
	}
	for _, l := range lanes {
		var ratios []float64 // of what was measured right after one another
		for i := range l.took {
			ratios = append(ratios, lanes[0].took[i].Seconds()/l.took[i].Seconds())
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], l.name+"/bare")
		b.ReportMetric(l.cpu.Seconds()/lanes[0].cpu.Seconds(), "cpu-"+l.name+"/bare")
	}
	for _, l := range lanes {
		slices.Sort(l.took) // from here on they are not in turns any more
		b.ReportMetric(float64(size>>20)/l.took[len(l.took)/2].Seconds(), l.name+"-MiB/s")
	}
}

// supply is left bytes of whatever is in the memory that they are read to, as what
// is written to the bare connection is in memory already.
type supply struct{ left int }

func (s *supply) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), s.left)
	s.left -= n
	return n, nil
}

var errEnough = errors.New("enough")

// demand takes left bytes, and tells with the last.
type demand struct{ left int }

func (d *demand) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left <= 0 {
		return len(p), errEnough
	}
	return len(p), nil
}

// processorTime is what the process has used: on a machine that is busy with
// other things it compares better than the clock.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
