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

// An ackCounter counts acknowledgements, and the writes that carry nothing else.
type ackCounter struct {
	net.Conn
	all, bare atomic.Int32
}

func (c *ackCounter) Write(b []byte) (int, error) {
	r, bare := &reader{r: bytes.NewReader(b)}, true
	for {
		h, _, err := readFrame(r)
		if err != nil {
			break
		}
		if h.kind == kindAck {
			c.all.Add(1)
		} else {
			bare = false
		}
		r.take(headSize + h.n)
	}
	r.close()
	if bare {
		c.bare.Add(1)
	}
	return c.Conn.Write(b)
}

// acked runs a test in virtual time with a stream from one link to another over one
// carrier. The other end of the stream writes back up to so many bytes of each piece.
func acked(t *testing.T, back int, f func(s *Stream, here *ackCounter)) {
	synctest.Test(t, func(t *testing.T) {
		near, far, err := memlink.NewWire(1).Connect()
		if err != nil {
			t.Fatal(err)
		}
		here := &ackCounter{Conn: near}
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
	acked(t, 100, func(s *Stream, here *ackCounter) {
		here.bare.Store(0)
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
		if n := here.bare.Load(); n > 5 {
			t.Errorf("%d of 100 answers were acknowledged by themselves", n)
		}
	})
}

// TestSwiftAnswersAreNotAcknowledgedOneByOne: requests in a row, which take 10 us each
// on loopback, brought an acknowledgement with each frame both ways.
func TestSwiftAnswersAreNotAcknowledgedOneByOne(t *testing.T) {
	acked(t, 100, func(s *Stream, here *ackCounter) {
		const times = 10 * manyOwed / 100
		before := here.all.Load()
		b := make([]byte, 100)
		for range times {
			if _, err := s.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, b); err != nil {
				t.Fatal(err)
			}
		}
		if n := here.all.Load() - before; n < 10 || n > sparedMost+20 {
			t.Errorf("%d acknowledgements of %d answers of 100 bytes", n, times)
		}
		time.Sleep(25 * time.Millisecond)
		synctest.Wait()
		s.link.mu.Lock()
		defer s.link.mu.Unlock()
		if n := len(s.send.frames); n > 0 {
			t.Errorf("%d frames are not acknowledged 25 ms later", n)
		}
	})
}

func TestMuchDataIsAcknowledgedSoon(t *testing.T) {
	acked(t, 0, func(s *Stream, _ *ackCounter) {
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
