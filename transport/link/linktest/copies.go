package linktest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
)

// copies has io.Copy bring data to a stream and from it, in pieces of all sizes,
// beside Write and Read, with windows of all sizes, while paths are cut.
func copies(t *testing.T, k Kind) {
	for i, window := range []int{0, 4 << 10, 100 << 10} {
		p := NewPair(t, k, 2, quick, func(c *link.Config) { c.Window, c.BulkWindow = window, window })
		var all sync.WaitGroup
		for class := range link.Class(3) {
			what := make([]byte, min(1<<20, k.large()/8))
			rand.NewChaCha8([32]byte{byte(i), byte(class)}).Read(what)
			a, b := p.Streams(t, class)
			all.Go(func() {
				first, rest := what[:len(what)/2], what[len(what)/2:]
				n, err := io.Copy(a, &pieces{r: rand.New(rand.NewPCG(uint64(i), uint64(class))), left: first})
				if err != nil || int(n) != len(first) {
					t.Errorf("window %d, class %d: %d bytes copied, %v", window, class, n, err)
				}
				if _, err := a.Write(rest); err != nil {
					t.Error(err)
				}
				if err := a.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				got := &sink{most: len(what) / 3}
				if n, err := io.Copy(got, b); !errors.Is(err, errSinkFull) || int(n) != len(got.b) {
					t.Errorf("window %d, class %d: %d bytes copied, %v", window, class, n, err)
				}
				got.most = len(what)
				some := make([]byte, 1000)
				n, err := io.ReadFull(b, some)
				if err != nil {
					t.Error(err)
				}
				_, _ = got.Write(some[:n])
				if _, err := io.Copy(got, b); err != nil || !bytes.Equal(got.b, what) {
					t.Errorf("window %d, class %d: damaged, or %d bytes of %d, %v", window, class, len(got.b), len(what), err)
				}
			})
		}
		p.Paths[i%2].Cut(directions[i])
		all.Wait()
		p.Paths[i%2].Heal()
	}
}

// copiesEnd looks at what ends a copy before the data does.
func copiesEnd(t *testing.T, k Kind) {
	p := NewPair(t, k, 1)
	a, b := p.Streams(t, link.Bulk)
	broken := errors.New("broken")
	if n, err := a.ReadFrom(io.MultiReader(bytes.NewReader(make([]byte, 70_000)), &failing{broken})); n != 70_000 || !errors.Is(err, broken) {
		t.Errorf("the source fails: %d bytes, %v", n, err)
	}
	if n, err := io.ReadFull(b, make([]byte, 70_000)); err != nil {
		t.Errorf("before that: %d bytes, %v", n, err)
	}
	var timed interface{ Timeout() bool }
	b.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := b.WriteTo(io.Discard); !errors.As(err, &timed) || !timed.Timeout() {
		t.Errorf("the time of reading is up: %v", err)
	}
	a.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := a.ReadFrom(zeros{}); !errors.As(err, &timed) || !timed.Timeout() { // nobody reads
		t.Errorf("the time of writing is up: %v", err)
	}
	a.SetWriteDeadline(time.Time{})
	b.SetReadDeadline(time.Time{})
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := a.ReadFrom(zeros{}); !errors.Is(err, link.ErrStopped) {
			t.Errorf("the reader stops: %v", err)
		}
	})
	if _, err := b.WriteTo(&sink{most: 1 << 20}); !errors.Is(err, errSinkFull) {
		t.Errorf("the sink is full: %v", err)
	}
	b.Close()
	all.Wait()
}

// pieces reads a part of what is left, mostly small, sometimes large. The last comes
// with the end.
type pieces struct {
	r    *rand.Rand
	left []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	most := 1 << (p.r.IntN(18))
	n := copy(b, p.left[:min(most, len(p.left))])
	if p.left = p.left[n:]; len(p.left) == 0 {
		return n, io.EOF
	}
	return n, nil
}

var errSinkFull = errors.New("full")

// sink takes most bytes.
type sink struct {
	b    []byte
	most int
}

func (s *sink) Write(p []byte) (int, error) {
	n := min(len(p), s.most-len(s.b))
	s.b = append(s.b, p[:n]...)
	if n < len(p) {
		return n, errSinkFull
	}
	return n, nil
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
