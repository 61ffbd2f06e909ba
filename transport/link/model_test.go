package link_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

var modelSeed = flag.Uint64("model.seed", 0, "run the model test with this seed only")

// A modelled direction is what one end has written and how it ended, as the
// other end must see it.
type modelled struct {
	written []byte
	read    int
	ended   bool // the writer has closed its side
	aborted bool // either end has aborted the stream
	stopped bool // the reader has closed the stream
}

// A modelledStream is both ends of a stream and what is expected of them:
// direction i is from end i to the other.
type modelledStream struct {
	ends [2]*link.Stream
	way  [2]modelled
}

// Random operations on the streams of a link whose paths fail at random have the
// outcome that they have without a network between the ends. For longer:
//
//	NQ_LONG=1 go test -run Model ./transport/link
func TestALinkIsLikeItsModel(t *testing.T) {
	if *modelSeed != 0 {
		synctest.Test(t, func(t *testing.T) { model(t, *modelSeed) })
		return
	}
	seeds := uint64(15)
	if os.Getenv("NQ_LONG") != "" {
		seeds = 300
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { model(t, seed+1) })
	}
}

func model(t *testing.T, seed uint64) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again with: go test ./transport/link -run Model -model.seed %d", seed)
		}
	})
	r := rand.New(rand.NewPCG(seed, 1))
	p := linktest.NewPair(t, linktest.Mem, 3, func(c *link.Config) { c.Settle = 50 * time.Millisecond })
	p.Keep(t)
	for i, path := range p.Paths {
		path.(interface{ Set(memlink.Faults) }).Set(memlink.Faults{
			Delay:     time.Duration(r.IntN(5)*i) * time.Millisecond,
			Duplicate: 0.02, Reorder: 0.02, Lose: 0.005,
		})
	}
	var streams []*modelledStream
	const patience = 20 * time.Second
	for range 400 {
		if len(streams) == 0 || r.IntN(15) == 0 {
			a, b := p.Streams(t, link.Class(r.IntN(3)))
			streams = append(streams, &modelledStream{ends: [2]*link.Stream{a, b}})
		}
		s := streams[r.IntN(len(streams))]
		i := r.IntN(2)
		end, out := s.ends[i], &s.way[i]
		switch op := r.IntN(100); {
		case op < 40:
			s.write(t, i, make([]byte, []int{1, 100, 5000, 100_000}[r.IntN(4)]), r)
		case op < 70:
			s.read(t, i, 1+r.IntN(50_000), patience)
		case op < 75:
			err := end.CloseWrite()
			if closed := s.way[1-i].stopped; closed != (err != nil) && !out.aborted {
				t.Errorf("CloseWrite: %v, closed %t", err, closed)
			}
			out.ended = true
		case op < 78:
			err := end.Close()
			if (err != nil) != s.way[1-i].stopped {
				t.Errorf("Close: %v", err)
			}
			out.ended = true
			s.way[1-i].stopped = true
		case op < 79:
			if !s.settled() { // of one that is over nobody would hear
				end.Abort(errors.New("as planned"))
				s.way[0].aborted, s.way[1].aborted = true, true
			}
		case op < 88:
			p.Paths[r.IntN(3)].Cut(memlink.Direction(1 + r.IntN(3)))
		case op < 95:
			p.Paths[r.IntN(3)].Heal()
		case op < 97:
			p.Paths[r.IntN(3)].Break()
		default:
			time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		}
		for _, path := range p.Paths[r.IntN(3):] { // one or more work
			path.Heal()
		}
		if t.Failed() {
			return
		}
	}
	for _, path := range p.Paths {
		path.Heal()
	}
	for _, s := range streams { // all that was written comes, and the ends do
		for i := range 2 {
			for s.way[1-i].read < len(s.way[1-i].written) && !s.over(i) && !t.Failed() {
				s.read(t, i, 1<<20, patience)
			}
		}
		s.ends[0].Close()
		s.ends[1].Close()
	}
	linktest.Eventually(t, "both ends to have forgotten all streams", func() bool {
		return p.A.Status().Streams+p.B.Status().Streams == 0
	})
}

// over reports whether end i may neither read nor write.
func (s *modelledStream) over(i int) bool { return s.way[i].aborted || s.way[1-i].stopped }

// settled reports whether an end may have forgotten the stream.
func (s *modelledStream) settled() bool {
	return s.way[0].ended && s.way[1].ended || s.way[0].aborted || s.way[0].stopped || s.way[1].stopped
}

func (s *modelledStream) write(t *testing.T, i int, p []byte, r *rand.Rand) {
	out := &s.way[i]
	for j := range p {
		p[j] = byte(r.Uint32())
	}
	end := s.ends[i]
	end.SetWriteDeadline(time.Now().Add(time.Second)) // the other end may not read
	n, err := end.Write(p)
	if n > 0 && (out.ended || s.over(i) && out.ended) {
		t.Errorf("%d bytes could be written after the end", n)
	}
	out.written = append(out.written, p[:n]...)
	if (n < len(p)) != (err != nil) {
		t.Errorf("%d of %d bytes, %v", n, len(p), err)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !out.ended && !out.aborted && !out.stopped {
		t.Errorf("writing: %v", err)
	}
}

func (s *modelledStream) read(t *testing.T, i, most int, patience time.Duration) {
	in := &s.way[1-i]
	end := s.ends[i]
	left := in.written[in.read:]
	wait := patience
	if len(left) == 0 && !in.ended && !s.over(i) {
		wait = 10 * time.Millisecond // there is nothing to come
	}
	end.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, most)
	n, err := end.Read(buf)
	if n > len(left) || !bytes.Equal(buf[:n], left[:n]) {
		t.Errorf("%d bytes were read, not the next of %d written", n, len(left))
		return
	}
	in.read += n
	switch {
	case err == nil || in.aborted || in.stopped:
	case err == io.EOF:
		if n < len(left) || !in.ended {
			t.Errorf("an end, %d bytes before it, writer ended %t", len(left)-n, in.ended)
		}
	case len(left) > 0 || in.ended:
		t.Errorf("%d bytes are to be read, writer ended %t: %v", len(left), in.ended, err)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("reading: %v", err)
	}
}
