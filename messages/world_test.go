package messages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

// A world is a few filers in one process: a network that can be cut, and
// placements that a test moves.
type world struct {
	t  testing.TB
	mu sync.Mutex
	// accept has each filer's streams, down the pairs that are cut.
	accept  map[netquorum.FilerID]chan incoming
	down    map[[2]netquorum.FilerID]bool
	streams map[*memConn][2]netquorum.FilerID
	past    []recording // of streams that were opened, when record is set
	record  bool

	places  map[string]Place
	epochs  map[string]uint64
	moves   []move
	lag     map[netquorum.FilerID]time.Duration // how late a filer hears of placements
	gate    chan struct{}                       // what is written to bulk streams waits for it
	changed chan struct{}
	gone    map[netquorum.FilerID]bool

	dirs  map[netquorum.FilerID]string
	tune  func(*Config)
	nodes map[netquorum.FilerID]*life
}

// A move is one placement.
type move struct {
	at     time.Time
	server string
	place  Place
}

type incoming struct {
	conn net.Conn
	from netquorum.FilerID
}

// A life is one run of a node.
type life struct {
	*Node
	stop context.CancelFunc
	done chan error
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, accept: map[netquorum.FilerID]chan incoming{}, down: map[[2]netquorum.FilerID]bool{},
		streams: map[*memConn][2]netquorum.FilerID{}, places: map[string]Place{}, epochs: map[string]uint64{},
		lag: map[netquorum.FilerID]time.Duration{}, changed: make(chan struct{}), gone: map[netquorum.FilerID]bool{}, dirs: map[netquorum.FilerID]string{},
		tune: func(*Config) {}, nodes: map[netquorum.FilerID]*life{},
	}
	t.Cleanup(func() {
		for id := range w.nodes {
			w.halt(id)
		}
	})
	return w
}

// start opens and runs a filer's node, with the directory that it had before.
func (w *world) start(id netquorum.FilerID) *Node {
	w.t.Helper()
	n := w.open(id)
	w.run(id)
	return n
}

func (w *world) open(id netquorum.FilerID) *Node {
	w.t.Helper()
	if w.dirs[id] == "" {
		w.dirs[id] = w.t.TempDir()
	}
	w.mu.Lock()
	w.accept[id] = make(chan incoming, 64)
	w.mu.Unlock()
	cfg := Config{
		Dir: w.dirs[id], Self: id, Network: &memNetwork{world: w, self: id, end: make(chan struct{})}, Hosts: &memHosts{w, id},
		RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, GoneAfter: 300 * time.Millisecond,
	}
	if os.Getenv("MESSAGES_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("on", id)
	}
	w.tune(&cfg)
	n, err := Open(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.nodes[id] = &life{Node: n}
	w.mu.Unlock()
	return n
}

func (w *world) run(id netquorum.FilerID) {
	l := w.nodes[id]
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.done = stop, make(chan error, 1)
	go func() { l.done <- l.Run(ctx) }()
}

// halt ends a filer's node in good order.
func (w *world) halt(id netquorum.FilerID) {
	w.t.Helper()
	l := w.nodes[id]
	if l == nil {
		return
	}
	w.mu.Lock()
	delete(w.nodes, id)
	w.mu.Unlock()
	w.cut(id)
	if l.stop != nil {
		l.stop()
		if err := <-l.done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run of %s: %v", id, err)
		}
	}
	if err := l.Close(); err != nil {
		w.t.Errorf("closing %s: %v", id, err)
	}
	w.heal(id)
}

// place moves a virtual server, as the cluster does: with a higher epoch.
func (w *world) place(server string, id netquorum.FilerID) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epochs[server]++
	w.places[server] = Place{id, w.epochs[server]}
	w.moves = append(w.moves, move{time.Now(), server, w.places[server]})
	close(w.changed)
	w.changed = make(chan struct{})
	return w.epochs[server]
}

// cut separates a filer from all others.
func (w *world) cut(id netquorum.FilerID) {
	w.mu.Lock()
	w.down[[2]netquorum.FilerID{id, id}] = true
	w.mu.Unlock()
	w.breakStreams(func(a, b netquorum.FilerID) bool { return a == id || b == id })
}

func (w *world) heal(id netquorum.FilerID) {
	w.mu.Lock()
	delete(w.down, [2]netquorum.FilerID{id, id})
	w.mu.Unlock()
}

// breakStreams ends streams as a broken path does.
func (w *world) breakStreams(which func(a, b netquorum.FilerID) bool) {
	w.mu.Lock()
	var list []*memConn
	for c, ends := range w.streams {
		if which(ends[0], ends[1]) {
			list = append(list, c)
		}
	}
	w.mu.Unlock()
	for _, c := range list {
		c.Close()
	}
}

type memNetwork struct {
	world *world
	self  netquorum.FilerID
	end   chan struct{}
	once  sync.Once
}

var errCut = errors.New("the path is cut")

func (m *memNetwork) Open(ctx context.Context, to netquorum.FilerID, class Class) (net.Conn, error) {
	w := m.world
	w.mu.Lock()
	defer w.mu.Unlock()
	cut := w.down[[2]netquorum.FilerID{m.self, m.self}] || w.down[[2]netquorum.FilerID{to, to}]
	if w.accept[to] == nil || w.nodes[to] == nil || cut {
		return nil, fmt.Errorf("opening a stream to %s: %w", to, errCut)
	}
	near, far := memPipe(w)
	w.streams[near] = [2]netquorum.FilerID{m.self, to}
	if class == ClassBulk {
		near.gate = w.gate
	}
	if w.record {
		near.said = &memBuffer{}
		w.past = append(w.past, recording{m.self, to, near.said})
	}
	select {
	case w.accept[to] <- incoming{far, m.self}:
		return near, nil
	default:
		return nil, errCut
	}
}

func (m *memNetwork) Accept() (net.Conn, netquorum.FilerID, error) {
	m.world.mu.Lock()
	c := m.world.accept[m.self]
	m.world.mu.Unlock()
	select {
	case in := <-c:
		return in.conn, in.from, nil
	case <-m.end:
		return nil, "", net.ErrClosed
	}
}

func (m *memNetwork) Close() error {
	m.once.Do(func() { close(m.end) })
	return nil
}

// A memConn is one end of a stream with a buffer, as a kernel's has.
type memConn struct {
	net.Conn
	world *world
	in    *memBuffer
	out   *memBuffer
	said  *memBuffer // a copy of all that was written, or nil
	gate  chan struct{}
}

// A recording is what one side of a stream has said.
type recording struct {
	from, to netquorum.FilerID
	said     *memBuffer
}

// replay says it all again over a new stream, as an attacker or a mad switch
// might.
func (w *world) replay(r recording) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes[r.to] == nil {
		return
	}
	near, far := memPipe(w)
	r.said.mu.Lock()
	near.out.b = append(near.out.b, r.said.b...)
	near.out.closed = true
	r.said.mu.Unlock()
	select {
	case w.accept[r.to] <- incoming{far, r.from}:
	default: // it has enough to do
	}
}

type memBuffer struct {
	mu     sync.Mutex
	cond   *sync.Cond
	b      []byte
	closed bool
}

const memBufferSize = 256 << 10

func memPipe(w *world) (*memConn, *memConn) {
	a, b := &memBuffer{}, &memBuffer{}
	a.cond, b.cond = sync.NewCond(&a.mu), sync.NewCond(&b.mu)
	return &memConn{world: w, in: a, out: b}, &memConn{world: w, in: b, out: a}
}

func (c *memConn) Read(p []byte) (int, error) {
	b := c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.b) == 0 {
		if b.closed {
			return 0, io.EOF
		}
		b.cond.Wait()
	}
	n := copy(p, b.b)
	b.b = b.b[n:]
	b.cond.Broadcast()
	return n, nil
}

func (c *memConn) Write(p []byte) (int, error) {
	if c.gate != nil {
		<-c.gate
	}
	b := c.out
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.b) > memBufferSize && !b.closed {
		b.cond.Wait()
	}
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	b.b = append(b.b, p...)
	b.cond.Broadcast()
	if c.said != nil {
		c.said.mu.Lock()
		c.said.b = append(c.said.b, p...)
		c.said.mu.Unlock()
	}
	return len(p), nil
}

// Close ends both directions; what was written can still be read at the other
// end.
func (c *memConn) Close() error {
	for _, b := range []*memBuffer{c.in, c.out} {
		b.mu.Lock()
		b.closed = true
		b.cond.Broadcast()
		b.mu.Unlock()
	}
	c.world.mu.Lock()
	delete(c.world.streams, c)
	c.world.mu.Unlock()
	return nil
}

func (c *memConn) SetDeadline(time.Time) error { return nil }

type memHosts struct {
	*world
	self netquorum.FilerID
}

func (h *memHosts) Host(server string) (Place, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.known(server)
	return p, p.Filer != ""
}

// known is the newest placement that this filer has heard of.
func (h *memHosts) known(server string) Place {
	lag := h.lag[h.self]
	if lag == 0 {
		return h.places[server]
	}
	for _, m := range slices.Backward(h.moves) {
		if m.server == server && time.Since(m.at) >= lag {
			return m.place
		}
	}
	return Place{}
}

func (h *memHosts) Hosting(server string) (uint64, bool) {
	p, _ := h.Host(server)
	return p.Epoch, p.Filer == h.self
}

func (h *memHosts) Epoch(server string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lag[h.self] > 0 {
		return h.known(server).Epoch
	}
	return h.epochs[server]
}

func (h *memHosts) Member(id netquorum.FilerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.world.gone[id]
}

func (h *memHosts) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// soon is a context for what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// await waits until a condition holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s in vain until %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func box(t testing.TB, n *Node, client string) *Box {
	t.Helper()
	b, err := n.Box(client)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
