package store

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
)

// wires are the network between filers.
type wires struct {
	mu    sync.Mutex
	at    map[netquorum.FilerID]*labNetwork
	cuts  map[[2]netquorum.FilerID]bool
	conns map[*wire]struct{}
	wrap  func(net.Conn) net.Conn // put around raft's streams where they are opened
}

func newWires() *wires {
	return &wires{at: map[netquorum.FilerID]*labNetwork{}, cuts: map[[2]netquorum.FilerID]bool{}, conns: map[*wire]struct{}{}}
}

// cut makes the network between two filers swallow everything, both ways.
func (w *wires) cut(a, b netquorum.FilerID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts[pair(a, b)] = true
	for c := range w.conns {
		if c.ends == pair(a, b) {
			c.swallow()
		}
	}
}

// isolate cuts a filer off from all others.
func (w *wires) isolate(f netquorum.FilerID) {
	w.mu.Lock()
	others := []netquorum.FilerID{}
	for id := range w.at {
		if id != f {
			others = append(others, id)
		}
	}
	w.mu.Unlock()
	for _, id := range others {
		w.cut(f, id)
	}
}

// heal undoes all cuts. Connections that lost something are reset, as TCP would.
func (w *wires) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cuts)
	for c := range w.conns {
		if c.lost() {
			c.reset()
		}
	}
}

func pair(a, b netquorum.FilerID) [2]netquorum.FilerID {
	if a > b {
		a, b = b, a
	}
	return [2]netquorum.FilerID{a, b}
}

// labNetwork is one filer's Network.
type labNetwork struct {
	wires *wires
	id    netquorum.FilerID
	raft  net.Listener
	asked net.Listener

	mu      sync.Mutex
	callers map[netquorum.FilerID]*calls.Client
	stop    context.CancelFunc // ends what serves
	serving sync.WaitGroup
}

var _ Network = (*labNetwork)(nil)

func (w *wires) attach(id netquorum.FilerID) *labNetwork {
	n := &labNetwork{wires: w, id: id, raft: listen(), asked: listen(), callers: map[netquorum.FilerID]*calls.Client{}, stop: func() {}}
	w.mu.Lock()
	w.at[id] = n
	w.mu.Unlock()
	return n
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return l
}

func (n *labNetwork) serve(p calls.Program) {
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	server := calls.Server{Programs: []calls.Program{p}, MaxBody: 3 * MaxRestore, Log: slog.New(slog.DiscardHandler)}
	n.serving.Go(func() {
		for {
			conn, err := n.asked.Accept()
			if err != nil {
				return
			}
			n.serving.Go(func() { _ = server.Serve(ctx, ctx, conn, nil) })
		}
	})
}

// detach ends everything that the filer has to do with the network.
func (n *labNetwork) detach() {
	n.raft.Close()
	n.asked.Close()
	n.stop()
	n.mu.Lock()
	callers := n.callers
	n.callers = nil
	n.mu.Unlock()
	for _, c := range callers {
		c.Close()
	}
	defer n.serving.Wait()
	w := n.wires
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		if c.ends[0] == n.id || c.ends[1] == n.id {
			c.reset()
		}
	}
}

func (n *labNetwork) Raft() net.Listener { return n.raft }

func (n *labNetwork) OpenRaft(ctx context.Context, to netquorum.FilerID, _ Class) (net.Conn, error) {
	conn, err := n.wires.dial(ctx, n.id, to, func(n *labNetwork) net.Listener { return n.raft })
	n.wires.mu.Lock()
	defer n.wires.mu.Unlock()
	if err == nil && n.wires.wrap != nil {
		conn = n.wires.wrap(conn)
	}
	return conn, err
}

func (n *labNetwork) Call(ctx context.Context, to netquorum.FilerID, q calls.Request) (calls.Answer, error) {
	n.mu.Lock()
	if n.callers == nil {
		n.mu.Unlock()
		return calls.Answer{}, fmt.Errorf("%w: %w", calls.ErrNotSent, net.ErrClosed)
	}
	c := n.callers[to]
	if c == nil {
		c = &calls.Client{MaxBody: 3 * MaxRestore, Dial: func(ctx context.Context) (net.Conn, error) {
			return n.wires.dial(ctx, n.id, to, func(n *labNetwork) net.Listener { return n.asked })
		}}
		n.callers[to] = c
	}
	n.mu.Unlock()
	return c.Call(ctx, q)
}

func (w *wires) dial(ctx context.Context, from, to netquorum.FilerID, listener func(*labNetwork) net.Listener) (net.Conn, error) {
	w.mu.Lock()
	n, cut := w.at[to], w.cuts[pair(from, to)]
	w.mu.Unlock()
	if n == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
	}
	if cut {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", listener(n).Addr().String())
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: conn, wires: w, ends: pair(from, to), swallowed: make(chan struct{}), closed: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
	if w.cuts[c.ends] {
		c.swallow()
	}
	return c, nil
}

// A wire is the dialling end of a connection. Once cut it takes what is written
// and delivers nothing, until a deadline passes or the network is healed.
type wire struct {
	net.Conn
	wires     *wires
	ends      [2]netquorum.FilerID
	swallowed chan struct{}
	closed    chan struct{}
	swallow1  sync.Once
	close1    sync.Once
	mu        sync.Mutex
	deadline  time.Time
}

func (c *wire) swallow() { c.swallow1.Do(func() { close(c.swallowed) }) }

func (c *wire) lost() bool {
	select {
	case <-c.swallowed:
		return true
	default:
		return false
	}
}

func (c *wire) reset() {
	c.close1.Do(func() { close(c.closed) })
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Conn.Close()
}

func (c *wire) Close() error {
	c.close1.Do(func() { close(c.closed) })
	c.wires.mu.Lock()
	delete(c.wires.conns, c)
	c.wires.mu.Unlock()
	return c.Conn.Close()
}

func (c *wire) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *wire) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

func (c *wire) Write(b []byte) (int, error) {
	if c.lost() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *wire) Read(b []byte) (int, error) {
	if !c.lost() {
		n, err := c.Conn.Read(b)
		if !c.lost() {
			return n, err
		}
	}
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, io.ErrClosedPipe
	}
}
