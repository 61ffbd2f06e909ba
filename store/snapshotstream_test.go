package store

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/store/raftwire"
)

// arrival is what raft got of a snapshot.
type arrival struct {
	data []byte
	err  error
	took time.Duration
}

// receive answers snapshots as raft does, and tells what came.
func (p *couple) receive() <-chan arrival {
	arrivals := make(chan arrival, 4)
	p.answer(func(rpc raft.RPC) {
		start := time.Now()
		data, err := readAll(rpc)
		arrivals <- arrival{data, err, time.Since(start)}
		rpc.Respond(&raft.InstallSnapshotResponse{Success: err == nil}, err)
	})
	return arrivals
}

func (p *couple) sendSnapshot(data []byte) error {
	req := &raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ID: []byte("a")}, Size: int64(len(data))}
	return p.a.InstallSnapshot("b", "b", req, &raft.InstallSnapshotResponse{}, bytes.NewReader(data))
}

// TestHeartbeatsDoNotWaitForASnapshot: a busy machine may hold one up, but not most of
// them for as long as a good part of the snapshot takes.
func TestHeartbeatsDoNotWaitForASnapshot(t *testing.T) {
	overAll(t, func(t *testing.T, kind string) {
		p := newCouple(t, kind, func(tr *transport) { tr.urgent = time.Minute })
		stop := p.beat(5 * time.Millisecond)
		arrivals := p.receive()
		data := someSnapshot(32 << 20)
		start := time.Now()
		if err := p.sendSnapshot(data); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if a := <-arrivals; a.err != nil || !bytes.Equal(a.data, data) {
			t.Errorf("%d bytes arrived, %v", len(a.data), a.err)
		}
		seen := stop()
		if seen.failed != nil || len(seen.took) == 0 {
			t.Fatalf("heartbeats: %d were answered, one was not: %v", len(seen.took), seen.failed)
		}
		slices.Sort(seen.took)
		median, slowest := seen.took[len(seen.took)/2], seen.took[len(seen.took)-1]
		if median > took/4 {
			t.Errorf("while a snapshot took %v the median of heartbeats was %v", took, median)
		}
		t.Logf("32 MiB took %v, %d heartbeats meanwhile %v (median), %v (the slowest)", took, len(seen.took), median, slowest)
	})
}

// slowly makes b's bulk streams carry so many bytes a second, until stop.
func (p *couple) slowly(perSecond int) (stop func()) {
	stopped := make(chan struct{})
	p.wrapStreams(func(class Class, c net.Conn) net.Conn {
		if class != Bulk {
			return c
		}
		return &slowStream{Conn: c, perSecond: perSecond, stopped: stopped, closed: make(chan struct{})}
	})
	return func() { close(stopped) }
}

func TestASnapshotOnASlowPathTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newCouple(t, "memory")
		p.beat(20 * time.Millisecond)
		p.slowly(1 << 10)
		arrivals := p.receive()
		data := someSnapshot(200 << 10)
		start := time.Now()
		if err := p.sendSnapshot(data); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 200*time.Second {
			t.Errorf("it took %v: the path was not slow", took)
		}
		if a := <-arrivals; a.err != nil || !bytes.Equal(a.data, data) {
			t.Errorf("%d bytes arrived, %v", len(a.data), a.err)
		}
	})
}

func TestASnapshotThatDoesNotGetOnIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		name     string
		beating  bool
		min, max time.Duration // how long the receiver waits
	}{
		{"with heartbeats", true, defaultSnapshotLimits.stall - ackEvery, defaultSnapshotLimits.stall + 3*coupleHeartbeat},
		{"without", false, 2 * coupleHeartbeat, 6 * coupleHeartbeat},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newCouple(t, "memory")
				silence := p.beat(20 * time.Millisecond)
				stop := p.slowly(100 << 10)
				arrivals := p.receive()
				done := make(chan error, 1)
				go func() { done <- p.sendSnapshot(someSnapshot(2 << 20)) }()
				time.Sleep(10*time.Second + time.Millisecond)
				stop()
				if !c.beating {
					silence()
				}
				start := time.Now()
				a := <-arrivals
				if took := time.Since(start); a.err == nil || took < c.min || took > c.max || len(a.data) < 900<<10 {
					t.Errorf("the receiver gave up after %v with %d bytes: %v", took, len(a.data), a.err)
				}
				err := <-done
				if took := time.Since(start); err == nil || took > defaultSnapshotLimits.stall+time.Second {
					t.Errorf("the sender gave up after %v: %v", took, err)
				}
				t.Logf("receiver: %v; sender: %v", a.err, err)
			})
		})
	}
}

// TestRaftMayTakeItsTimeWithASnapshot: what it does after the last byte may take
// longer than any pause before.
func TestRaftMayTakeItsTimeWithASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newCouple(t, "memory")
		p.beat(20 * time.Millisecond)
		busy := 3 * defaultSnapshotLimits.stall
		p.answer(func(rpc raft.RPC) {
			_, err := readAll(rpc)
			time.Sleep(busy)
			rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, err)
		})
		if err := p.sendSnapshot(someSnapshot(8 << 20)); err != nil {
			t.Error(err)
		}
		busy = 2 * defaultSnapshotLimits.finishing(8<<20)
		if err := p.sendSnapshot(someSnapshot(8 << 20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %v: %v", busy, err)
		}
	})
}

func TestASnapshotIsHeldUpByARaftThatDoesNotRead(t *testing.T) {
	p := newCouple(t, "tls")
	var written atomic.Int64
	p.wrapStreams(func(class Class, c net.Conn) net.Conn {
		if class == Bulk {
			return &countedStream{c, &written}
		}
		return c
	})
	p.beat(20 * time.Millisecond)
	read := make(chan struct{})
	p.answer(func(rpc raft.RPC) {
		_, err := io.CopyN(io.Discard, rpc.Reader, 100<<10)
		<-read
		rest, err2 := readAll(rpc)
		if len(rest) != 4<<20-100<<10 {
			t.Errorf("%d bytes were left", len(rest))
		}
		rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, errors.Join(err, err2))
	})
	done := make(chan error, 1)
	go func() { done <- p.sendSnapshot(someSnapshot(4 << 20)) }()
	// 100 KiB are within the second chunk, so that the first is acknowledged.
	want := defaultSnapshotLimits.window + raftwire.MaxChunk
	await(t, "a window to be sent", func() bool { return written.Load() >= want })
	if got := written.Load(); got > want+want/16 {
		t.Errorf("%d bytes were sent to a raft that took 100 KiB", got)
	}
	close(read)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type countedStream struct {
	net.Conn
	written *atomic.Int64
}

func (c *countedStream) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

// A meddler does something to the n-th thing that is written.
type meddler struct {
	net.Conn
	n      int
	meddle func(c net.Conn, b []byte) (int, error)
}

func (m *meddler) Write(b []byte) (int, error) {
	if m.n--; m.n == 0 {
		return m.meddle(m.Conn, b)
	}
	return m.Conn.Write(b)
}

// TestADamagedSnapshotIsNotInstalled: the receiver is told, never the end of the
// data, and the next snapshot is whole. A source fails beyond the window, so that the
// receiver has begun.
func TestADamagedSnapshotIsNotInstalled(t *testing.T) {
	data := someSnapshot(1 << 20)
	whole := func() io.Reader { return bytes.NewReader(data) }
	for _, c := range []struct {
		name   string
		source func() io.Reader
		meddle func(c net.Conn, b []byte) (int, error)
		says   string // the sender
	}{
		{"a chunk is lost", whole, func(_ net.Conn, b []byte) (int, error) { return len(b), nil }, "filer b"},
		{"a chunk comes twice", whole, func(c net.Conn, b []byte) (int, error) { c.Write(b); return c.Write(b) }, "filer b"},
		{"the stream ends", whole, func(c net.Conn, b []byte) (int, error) { c.Close(); return 0, io.ErrClosedPipe }, "filer b"},
		{"the stream ends within a chunk", whole, func(c net.Conn, b []byte) (int, error) { c.Write(b[:1000]); c.Close(); return 0, io.ErrClosedPipe }, "filer b"},
		{"a chunk becomes a call", whole, func(c net.Conn, b []byte) (int, error) { b[4] = byte(raftwire.Append); return c.Write(b) }, "filer b"},
		{"the source fails", func() io.Reader { return io.MultiReader(bytes.NewReader(data[:700<<10]), failing{}) }, nil, "read the snapshot: the disk is broken"},
		{"the source is short", func() io.Reader { return bytes.NewReader(data[:700<<10]) }, nil, "read the snapshot: unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			overAll(t, func(t *testing.T, kind string) {
				p := newCouple(t, kind)
				p.beat(20 * time.Millisecond)
				arrivals := p.receive()
				if c.meddle != nil {
					p.wrapStreams(func(class Class, conn net.Conn) net.Conn {
						if class == Bulk {
							return &meddler{conn, 5, c.meddle}
						}
						return conn
					})
				}
				req := &raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ID: []byte("a")}, Size: int64(len(data))}
				err := p.a.InstallSnapshot("b", "b", req, &raft.InstallSnapshotResponse{}, c.source())
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the sender was told %v", err)
				}
				if a := <-arrivals; a.err == nil {
					t.Errorf("the receiver took %d bytes for all", len(a.data))
				}
				p.wrapStreams(nil)
				if err := p.sendSnapshot(data); err != nil {
					t.Errorf("the next one: %v", err)
				}
				if a := <-arrivals; a.err != nil || !bytes.Equal(a.data, data) {
					t.Errorf("the next one: %d bytes arrived, %v", len(a.data), a.err)
				}
			})
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is broken") }
