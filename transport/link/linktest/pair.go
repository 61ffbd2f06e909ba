package linktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
)

// Services that each end of a Pair accepts. With Echo what is sent comes back, at
// once, so the answer must have room in the window; with Copy too, but the
// service waits for room. Sink reads and throws away; Hand gives the stream to
// Pair.Accepted.
const (
	Echo = "test-echo/1"
	Copy = "test-copy/1"
	Sink = "test-sink/1"
	Hand = "test-hand/1"
)

// A Pair is a link between the filers "a" and "b".
type Pair struct {
	A, B     *link.Link
	Paths    []Path
	Accepted chan *link.Stream // of service Hand, at either end
	copying  sync.WaitGroup
}

// NewPair makes a link over n new paths, that ends with the test. Each set
// changes the configuration of both ends before they are made.
func NewPair(t testing.TB, k Kind, n int, set ...func(*link.Config)) *Pair {
	t.Helper()
	p := &Pair{Accepted: make(chan *link.Stream, 64)}
	p.A, p.B = p.New(set...)
	t.Cleanup(func() {
		p.A.Close()
		p.B.Close()
		p.copying.Wait()
	})
	for range n {
		p.Paths = append(p.Paths, k.NewPath(t))
	}
	for i := range n {
		if err := p.Attach(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// New makes both ends anew, without carriers.
func (p *Pair) New(set ...func(*link.Config)) (a, b *link.Link) {
	cfg := link.Config{Local: "a", Peer: "b", Accept: p.accept}
	for _, f := range set {
		f(&cfg)
	}
	a = link.New(cfg)
	cfg.Local, cfg.Peer = cfg.Peer, cfg.Local
	return a, link.New(cfg)
}

// Attach makes a carrier over the path.
func (p *Pair) Attach(ctx context.Context, path int) error {
	_, err := Join(ctx, p.A, p.B, p.Paths[path], path)
	return err
}

// Keep dials paths anew whose carriers have gone, until the test ends.
func (p *Pair) Keep(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	for i := range p.Paths {
		all.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if len(p.carriersAt(i)) == 0 {
					_ = p.Attach(ctx, i) // it is tried again
				}
			}
		})
	}
}

// carriersAt returns what A knows of carriers over a path.
func (p *Pair) carriersAt(path int) []link.CarrierStatus {
	return slices.DeleteFunc(p.A.Status().Carriers, func(c link.CarrierStatus) bool { return c.Path.Rank != path })
}

// Join makes a carrier between two links over a path.
func Join(ctx context.Context, a, b *link.Link, path Path, rank int) (*link.Carrier, error) {
	at, bt, err := path.Connect()
	if err != nil {
		return nil, err
	}
	pa, pb := path.At()
	pa.Rank, pb.Rank = rank, rank
	done := make(chan error, 1)
	go func() {
		_, err := b.Attach(ctx, bt, pb)
		done <- err
	}()
	c, err := a.Attach(ctx, at, pa)
	return c, errors.Join(err, <-done)
}

func (p *Pair) accept(offered []string, _ link.Class) (string, func(*link.Stream)) {
	for _, s := range offered {
		switch s {
		case Echo:
			return s, func(s *link.Stream) {
				s.Handle(func(b []byte) error {
					return s.TryWrite(b)
				}, func(error) { s.Close() })
			}
		case Copy:
			return s, func(s *link.Stream) {
				p.copying.Go(func() {
					defer s.Close()
					_, _ = io.Copy(s, s) // its caller sees what went wrong
				})
			}
		case Sink:
			return s, func(s *link.Stream) {
				s.Handle(func([]byte) error { return nil }, func(error) { s.Close() })
			}
		case Hand:
			return s, func(s *link.Stream) { p.Accepted <- s }
		}
	}
	return "", nil
}

// Open opens a stream from A, and fails the test if it cannot.
func (p *Pair) Open(t testing.TB, service string, c link.Class) *link.Stream {
	t.Helper()
	s, err := p.A.Open(t.Context(), service, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Streams opens a stream of service Hand and returns both ends.
func (p *Pair) Streams(t testing.TB, c link.Class) (a, b *link.Stream) {
	t.Helper()
	a = p.Open(t, Hand, c)
	b = <-p.Accepted
	t.Cleanup(func() { b.Close() })
	return a, b
}

// Eventually waits for a condition and says what it waited for in vain.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	const most = 20 * time.Second
	if err := eventually(most, ok); err != nil {
		t.Fatalf("waited %v for %s", most, what)
	}
}

func eventually(most time.Duration, ok func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(most); !ok(); <-tick.C {
		if time.Now().After(end) {
			return fmt.Errorf("not within %v", most)
		}
	}
	return nil
}
