package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// acceptor takes raft connections from the network for as long as the store is
// open and hands them to whichever raft node runs: a node that is opened again
// in the same process needs no new listener.
type acceptor struct {
	listener net.Listener
	conns    chan net.Conn
	closed   chan struct{}
	once     sync.Once
	done     sync.WaitGroup
}

func newAcceptor(l net.Listener) *acceptor {
	a := &acceptor{listener: l, conns: make(chan net.Conn), closed: make(chan struct{})}
	a.done.Go(a.run)
	return a
}

func (a *acceptor) run() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: without the pause this loop
			// would keep a processor busy until some are free.
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-a.closed:
				return
			}
		}
		select {
		case a.conns <- conn:
		case <-a.closed:
			conn.Close()
			return
		}
	}
}

func (a *acceptor) Close() error {
	a.once.Do(func() { close(a.closed) })
	err := a.listener.Close()
	a.done.Wait()
	return err
}

// streams is a stream layer of one raft node. A server's address is its filer
// id: raft compares addresses for identity, and where a filer listens is the
// network's affair and may change.
type streams struct {
	id      netquorum.FilerID
	network Network
	accept  <-chan net.Conn // nil for a layer that only dials
	ended   func()          // called when a connection that a peer opened ends

	ctx   context.Context // ends when the layer is closed
	close context.CancelFunc

	mu    sync.Mutex
	paths map[raft.ServerAddress]path
}

// A path is all connections to one filer.
type path struct {
	ctx context.Context
	cut context.CancelFunc
}

func newStreams(id netquorum.FilerID, n Network, accept <-chan net.Conn, ended func()) *streams {
	ctx, cancel := context.WithCancel(context.Background())
	return &streams{id: id, network: n, accept: accept, ended: ended, ctx: ctx, close: cancel, paths: map[raft.ServerAddress]path{}}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accept:
		return newStream(s.ctx, conn, s.ended), nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (s *streams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	p := s.path(to)
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	conn, err := s.network.DialRaft(ctx, netquorum.FilerID(to))
	if err != nil {
		return nil, err
	}
	return newStream(p.ctx, conn, nil), nil
}

func (s *streams) path(to raft.ServerAddress) path {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.paths[to]
	if !ok {
		p.ctx, p.cut = context.WithCancel(s.ctx)
		s.paths[to] = p
	}
	return p
}

// breakOff ends every connection to a filer, and every attempt at one.
func (s *streams) breakOff(to raft.ServerAddress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.paths[to]; ok {
		p.cut()
		delete(s.paths, to)
	}
}

// Close implements net.Listener.
func (s *streams) Close() error { s.close(); return nil }

// Addr implements net.Listener.
func (s *streams) Addr() net.Addr { return filerAddr(s.id) }

type filerAddr netquorum.FilerID

func (filerAddr) Network() string  { return "netquorum" }
func (a filerAddr) String() string { return string(a) }

// A stream is closed with its layer or path: raft's transport leaves the
// connections that are in use open when it is closed, and a peer would go on
// waiting on them.
type stream struct {
	net.Conn
	ctx    context.Context
	ended  func()
	once   sync.Once
	forget func() bool
}

func newStream(ctx context.Context, conn net.Conn, ended func()) *stream {
	return &stream{Conn: conn, ctx: ctx, ended: ended, forget: context.AfterFunc(ctx, func() { conn.Close() })}
}

func (st *stream) Read(b []byte) (int, error) {
	n, err := st.Conn.Read(b)
	if err != nil {
		st.end()
	}
	return n, err
}

// end tells once that the peer's connection has ended, unless we ended it.
func (st *stream) end() {
	if st.ended != nil && st.ctx.Err() == nil {
		st.once.Do(st.ended)
	}
}

func (st *stream) Close() error {
	st.end()
	st.forget()
	return st.Conn.Close()
}
