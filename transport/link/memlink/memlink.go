// Package memlink is the in-memory twin of the carriers of links: connections
// over wires that can be cut in either direction, delay, lose, double and
// reorder what they carry, and end like a dead process's.
//
// Like TCP, a cut wire keeps what was sent and brings it when it is healed,
// unless it is told to lose it.
package memlink

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Direction is that of data on a wire.
type Direction int

const (
	AToB Direction = 1 << iota
	BToA
	Both = AToB | BToA
)

// Faults are what a wire does to what it carries. Probabilities are of a packet,
// which is one Write; the first packet of a connection is spared.
type Faults struct {
	Delay                    time.Duration
	Rate                     int // bytes a second; 0: no limit
	Lose, Duplicate, Reorder float64
}

// A Wire is a path between two ends, A and B.
type Wire struct {
	mu     sync.Mutex
	random *rand.Rand
	faults Faults
	cut    Direction
	down   bool
	all    []*half
}

// NewWire makes a wire without faults. The seed decides what they hit.
func NewWire(seed uint64) *Wire {
	return &Wire{random: rand.New(rand.NewPCG(seed, 0))}
}

// Connect makes a connection over the wire, or fails while the wire is cut or
// broken: then nobody would answer.
func (w *Wire) Connect() (a, b net.Conn, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.down:
		return nil, nil, syscall.ECONNREFUSED
	case w.cut != 0:
		return nil, nil, syscall.ETIMEDOUT
	}
	ab, ba := newHalf(w, AToB), newHalf(w, BToA)
	w.all = append(w.all, ab, ba)
	return &conn{in: ba, out: ab}, &conn{in: ab, out: ba}, nil
}

// Cut silently stops what goes in a direction, in addition to what is cut.
func (w *Wire) Cut(d Direction) { w.set(func() { w.cut |= d }) }

// Heal undoes Cut and Break.
func (w *Wire) Heal() { w.set(func() { w.cut, w.down = 0, false }) }

// Set changes the wire's faults.
func (w *Wire) Set(f Faults) { w.set(func() { w.faults = f }) }

// Break ends all connections as the death of a process does, and refuses new
// ones until Heal.
func (w *Wire) Break() {
	w.set(func() { w.down = true })
	w.mu.Lock()
	all := w.all
	w.all = nil
	w.mu.Unlock()
	for _, h := range all {
		h.end(syscall.ECONNRESET)
	}
}

func (w *Wire) set(change func()) {
	w.mu.Lock()
	change()
	all := append([]*half(nil), w.all...)
	w.mu.Unlock()
	for _, h := range all {
		h.notify()
	}
}

func (w *Wire) forget(h *half) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, o := range w.all {
		if o == h {
			w.all = append(w.all[:i], w.all[i+1:]...)
			return
		}
	}
}

// capacity is what a connection takes in one direction until Write waits.
const capacity = 256 << 10

type packet struct {
	at time.Time
	b  []byte
}

// A half is one direction of a connection.
type half struct {
	wire      *Wire
	direction Direction

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	queue   []packet
	begun   bool // the first packet has been partly read
	size    int
	last    time.Time // when the last packet arrives
	count   int
	err     error // io.EOF: closed by the writer
	closed  bool  // by the reader
	rlimit  time.Time
	wlimit  time.Time
}

func newHalf(w *Wire, d Direction) *half {
	return &half{wire: w, direction: d, changed: make(chan struct{})}
}

func (h *half) notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.change()
}

func (h *half) change() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
		if err != io.EOF {
			h.queue, h.size = nil, 0
		}
		h.change()
	}
}

// await waits for a change, or for one of the times that are not zero.
func (h *half) await(changed chan struct{}, at ...time.Time) {
	var first time.Time
	for _, t := range at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(first))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (h *half) write(p []byte) (int, error) {
	for {
		h.mu.Lock()
		changed, limit := h.changed, h.wlimit
		switch {
		case h.err == io.EOF:
			h.mu.Unlock()
			return 0, net.ErrClosed
		case h.err != nil || h.closed:
			h.mu.Unlock()
			return 0, syscall.EPIPE
		case past(limit):
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case h.size < capacity:
			h.put(p)
			h.mu.Unlock()
			return len(p), nil
		}
		h.mu.Unlock()
		h.await(changed, limit)
	}
}

// put carries a packet, with whatever the wire does to it.
func (h *half) put(p []byte) {
	w := h.wire
	w.mu.Lock()
	f := w.faults
	lose, twice, swap := w.random.Float64() < f.Lose, w.random.Float64() < f.Duplicate, w.random.Float64() < f.Reorder
	w.mu.Unlock()
	if h.count++; h.count == 1 {
		lose, twice, swap = false, false, false
	}
	if lose {
		return
	}
	now := time.Now()
	if f.Rate > 0 {
		if h.last.Before(now) {
			h.last = now
		}
		h.last = h.last.Add(time.Duration(len(p)) * time.Second / time.Duration(f.Rate))
		now = h.last
	}
	add := func() {
		h.queue = append(h.queue, packet{now.Add(f.Delay), append([]byte(nil), p...)})
		h.size += len(p)
	}
	add()
	if twice {
		add()
	}
	if n := len(h.queue); swap && n > 1 && (n > 2 || !h.begun) && h.count > 2 {
		a, b := &h.queue[n-1], &h.queue[n-2]
		a.b, b.b = b.b, a.b
	}
	h.change()
}

func (h *half) read(p []byte) (int, error) {
	for {
		h.wire.mu.Lock()
		cut := h.wire.cut&h.direction != 0
		h.wire.mu.Unlock()
		h.mu.Lock()
		changed, limit := h.changed, h.rlimit
		var next time.Time
		switch {
		case h.closed:
			h.mu.Unlock()
			return 0, net.ErrClosed
		case past(limit):
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case cut: // not even the end comes through
			if h.err != nil && h.err != io.EOF {
				defer h.mu.Unlock()
				return 0, h.err
			}
		case len(h.queue) > 0:
			if next = h.queue[0].at; !next.After(time.Now()) {
				n := h.take(p)
				h.mu.Unlock()
				return n, nil
			}
		case h.err != nil:
			defer h.mu.Unlock()
			return 0, h.err
		}
		h.mu.Unlock()
		h.await(changed, limit, next)
	}
}

func (h *half) take(p []byte) int {
	n := 0
	now := time.Now()
	for n < len(p) && len(h.queue) > 0 && !h.queue[0].at.After(now) {
		q := &h.queue[0]
		m := copy(p[n:], q.b)
		q.b, h.begun = q.b[m:], true
		if n += m; len(q.b) == 0 {
			h.queue = h.queue[1:]
			h.begun = false
		}
	}
	h.size -= n
	h.change()
	return n
}

type conn struct{ in, out *half }

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *conn) Close() error {
	c.out.end(io.EOF)
	c.in.mu.Lock()
	c.in.closed = true
	c.in.queue, c.in.size = nil, 0
	c.in.change()
	c.in.mu.Unlock()
	c.out.wire.forget(c.in)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.rlimit = t
	c.in.change()
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.wlimit = t
	c.out.change()
	return nil
}

type addr struct{}

func (addr) Network() string { return "mem" }
func (addr) String() string  { return "memory" }

func (c *conn) LocalAddr() net.Addr  { return addr{} }
func (c *conn) RemoteAddr() net.Addr { return addr{} }
