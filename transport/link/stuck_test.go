package link

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum/transport/link/memlink"
)

// A stuckConn takes no data once it is stuck: its writers wait until it is closed.
type stuckConn struct {
	net.Conn
	mu     sync.Mutex
	stuck  bool
	closed chan struct{}
}

func (c *stuckConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	stuck := c.stuck
	c.mu.Unlock()
	if !stuck {
		return c.Conn.Write(b)
	}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	close(c.closed)
	return c.Conn.Close()
}

// TestAWriterCaughtInACarrierIsFreed: who writes to a stream writes to the carrier. If
// that takes nothing, the writer must not wait until the carrier is given up.
func TestAWriterCaughtInACarrierIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{Local: "x", Peer: "y"})
		y := New(Config{Local: "y", Peer: "x", Accept: func([]string, Class) (string, func(*Stream)) {
			return "sink", func(s *Stream) { s.Handle(func([]byte) error { return nil }, func(error) {}) }
		}})
		defer x.End(nil)
		defer y.End(nil)
		attach := func(rank int, wrap func(net.Conn) net.Conn) *Carrier {
			near, far, err := memlink.NewWire(uint64(rank)).Connect()
			if err != nil {
				t.Fatal(err)
			}
			attached := make(chan error, 1)
			go func() {
				_, err := y.Attach(t.Context(), far, Path{Kind: "mem", Rank: rank})
				attached <- err
			}()
			c, err := x.Attach(t.Context(), wrap(near), Path{Kind: "mem", Rank: rank})
			if err := errors.Join(err, <-attached); err != nil {
				t.Fatal(err)
			}
			return c
		}
		caught := &stuckConn{closed: make(chan struct{})}
		c := attach(1, func(conn net.Conn) net.Conn { caught.Conn = conn; return caught })
		attach(2, func(conn net.Conn) net.Conn { return conn })
		s, err := x.Open(t.Context(), "sink", Control)
		if err != nil {
			t.Fatal(err)
		}
		// From just after a ping, so that it is the writer that is caught and not the ping's.
		time.Sleep(x.cfg.Ping*20 + time.Millisecond)
		caught.mu.Lock()
		caught.stuck = true
		caught.mu.Unlock()
		start := time.Now()
		if _, err := s.Write([]byte("caught")); err != nil {
			t.Fatal(err)
		}
		if took, most := time.Since(start), 2*x.cfg.Suspect+2*x.cfg.Ping; took > most {
			t.Errorf("Write was caught for %v, want at most %v", took, most)
		}
		if err := c.Err(); !errors.Is(err, errStuck) {
			t.Errorf("the carrier was closed for %v", err)
		}
	})
}
