package linktest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

func large(t *testing.T, k Kind) {
	p := NewPair(t, k, 2)
	for c, size := range map[link.Class]int{link.Bulk: k.large(), link.Control: k.large() / 4} {
		a, b := p.Streams(t, c)
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(c)}).Read(body)
		done := make(chan error, 1)
		go func() { done <- link.WriteMessage(a, body, size) }()
		got, err := link.ReadMessage(b, nil, size)
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(got) != sha256.Sum256(body) {
			t.Errorf("%d bytes of class %v arrived damaged", len(got), c)
		}
	}
}

func backPressure(t *testing.T, k Kind) {
	const window = 256 << 10
	p := NewPair(t, k, 1, func(c *link.Config) { c.Window, c.BulkWindow, c.MaxBulkWindow = window, window, window })
	for _, c := range []link.Class{link.Control, link.Bulk, link.Urgent} {
		stopped, reader := p.Streams(t, c)
		stopped.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := stopped.Write(make([]byte, 4*window))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n > window {
			t.Errorf("%d bytes were taken for a reader that has stopped, %v", n, err)
		}
		for _, other := range []link.Class{link.Control, link.Bulk} {
			s := p.Open(t, Copy, other)
			s.SetDeadline(time.Now().Add(10 * time.Second))
			go s.Write(make([]byte, 3*window))
			if _, err := io.ReadFull(s, make([]byte, 3*window)); err != nil {
				t.Errorf("another stream of class %v: %v", other, err)
			}
		}
		// Once it reads, it gets all.
		stopped.SetWriteDeadline(time.Time{})
		go func() {
			stopped.Write(make([]byte, 2*window))
			stopped.CloseWrite()
		}()
		if got, err := io.Copy(io.Discard, reader); err != nil || got != int64(n+2*window) {
			t.Errorf("%d bytes of %d, %v", got, n+2*window, err)
		}
	}
}

func manyStreams(t *testing.T, k Kind) {
	p := NewPair(t, k, 2)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 50 {
				s, err := p.A.Open(t.Context(), Echo, link.Class(i%3))
				if err != nil {
					t.Error(err)
					return
				}
				what := fmt.Sprint("stream ", i)
				io.WriteString(s, what)
				got := make([]byte, len(what))
				if _, err := io.ReadFull(s, got); err != nil || string(got) != what {
					t.Errorf("%q, %v", got, err)
				}
				if i%10 == 9 {
					s.Abort(nil)
				} else {
					s.Close()
				}
			}
		})
	}
	all.Wait()
	Eventually(t, "both ends to have forgotten all streams", func() bool {
		return p.A.Status().Streams == 0 && p.B.Status().Streams == 0
	})
}

func heartbeats(t *testing.T, k Kind) {
	size := max(k.large(), 4<<20) // more than a window, for more than one round trip
	for _, paths := range []int{1, 2} {
		p := NewPair(t, k, paths)
		if w, ok := p.Paths[0].(interface{ Set(memlink.Faults) }); ok {
			w.Set(memlink.Faults{Rate: 100 << 20, Delay: 100 * time.Microsecond})
		}
		a := p.Open(t, Sink, link.Bulk)
		done := make(chan error, 1)
		go func() {
			_, err := a.Write(make([]byte, size))
			done <- errors.Join(err, a.CloseWrite())
		}()
		worst := map[link.Class][]time.Duration{}
		beats := map[link.Class]*link.Stream{link.Urgent: p.Open(t, Echo, link.Urgent), link.Control: p.Open(t, Echo, link.Control)}
		tick := time.NewTicker(5 * time.Millisecond)
		for busy := true; busy; {
			for c, s := range beats {
				start := time.Now()
				s.Write(make([]byte, 50))
				if _, err := io.ReadFull(s, make([]byte, 50)); err != nil {
					t.Fatal(err)
				}
				worst[c] = append(worst[c], time.Since(start))
			}
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				busy = false
			case <-tick.C:
			}
		}
		tick.Stop()
		for c, d := range worst {
			slices.Sort(d)
			median, most := d[len(d)/2], d[len(d)-1]
			t.Logf("%d paths, %v: %d round trips beside %d MiB, median %v, longest %v", paths, c, len(d), size>>20, median, most)
			if median > k.bound(10*time.Millisecond, 40*time.Millisecond) || most > k.bound(20*time.Millisecond, time.Second) {
				t.Errorf("%v: median %v, longest %v", c, median, most)
			}
		}
		p.A.Close()
		p.B.Close()
	}
}
