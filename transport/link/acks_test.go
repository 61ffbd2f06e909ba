package link

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum/transport/link/memlink"
)

// A bareAcks counts the writes that carry acknowledgements and nothing else.
type bareAcks struct {
	net.Conn
	n atomic.Int32
}

func (c *bareAcks) Write(b []byte) (int, error) {
	r, bare := &reader{r: bytes.NewReader(b)}, true
	for bare {
		h, _, err := readFrame(r)
		if err != nil {
			break
		}
		bare = h.kind == kindAck
		r.take(headSize + h.n)
	}
	r.close()
	if bare {
		c.n.Add(1)
	}
	return c.Conn.Write(b)
}

// acked runs a test in virtual time with a stream from one link to another over one
// carrier. The other end of the stream writes back up to so many bytes of each piece.
func acked(t *testing.T, back int, f func(s *Stream, here *bareAcks)) {
	synctest.Test(t, func(t *testing.T) {
		near, far, err := memlink.NewWire(1).Connect()
		if err != nil {
			t.Fatal(err)
		}
		here := &bareAcks{Conn: near}
		echo := func(s *Stream) {
			s.Handle(func(p []byte) error { return s.TryWrite(p[:min(len(p), back)]) }, func(error) {})
		}
		x := New(Config{Local: "x", Peer: "y"})
		y := New(Config{Local: "y", Peer: "x", Accept: func([]string, Class) (string, func(*Stream)) { return "echo", echo }})
		defer x.End(nil)
		defer y.End(nil)
		attached := make(chan error, 1)
		go func() {
			_, err := y.Attach(t.Context(), far, Path{Kind: "mem"})
			attached <- err
		}()
		if _, err := x.Attach(t.Context(), here, Path{Kind: "mem"}); err != nil {
			t.Fatal(err)
		}
		if err := <-attached; err != nil {
			t.Fatal(err)
		}
		s, err := x.Open(t.Context(), "echo", Control)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f(s, here)
	})
}

// TestAnAcknowledgementTravelsWithTheNextQuestion: raft asks every 20 to 40 ms, and
// there are pings. Before, each answer was acknowledged by itself 4 ms later.
func TestAnAcknowledgementTravelsWithTheNextQuestion(t *testing.T) {
	acked(t, 100, func(s *Stream, here *bareAcks) {
		here.n.Store(0)
		b := make([]byte, 100)
		for range 100 {
			if _, err := s.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Millisecond)
		}
		if n := here.n.Load(); n > 5 {
			t.Errorf("%d of 100 answers were acknowledged by themselves", n)
		}
	})
}

func TestMuchDataIsAcknowledgedSoon(t *testing.T) {
	acked(t, 0, func(s *Stream, _ *bareAcks) {
		under := func() int {
			synctest.Wait()
			s.link.mu.Lock()
			defer s.link.mu.Unlock()
			return len(s.send.frames)
		}
		for _, tt := range []struct {
			bytes int
			soon  bool
		}{{100, false}, {manyOwed, true}} {
			late := 0 // what a ping took along is not
			for range 20 {
				if _, err := s.Write(make([]byte, tt.bytes)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond)
				if under() > 0 {
					late++
				}
				time.Sleep(32 * time.Millisecond)
				if under() > 0 {
					t.Fatalf("%d bytes are not acknowledged after 37 ms", tt.bytes)
				}
			}
			if soon := late == 0; soon != tt.soon {
				t.Errorf("%d bytes: %d of 20 were not acknowledged after 5 ms", tt.bytes, late)
			}
		}
	})
}
