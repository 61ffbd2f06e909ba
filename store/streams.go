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

// streams is the stream layer of one raft node. A server's address is its filer
// id: raft compares addresses for identity, and where a filer listens is the
// network's affair and may change.
type streams struct {
	id       netquorum.FilerID
	network  Network
	acceptor *acceptor
	broken   func() // called when a connection that a peer opened ends

	ctx   context.Context // ends when the node closes its transport
	close context.CancelFunc

	mu   sync.Mutex
	open map[*stream]struct{}
}

func newStreams(id netquorum.FilerID, n Network, a *acceptor, broken func()) *streams {
	ctx, cancel := context.WithCancel(context.Background())
	return &streams{id: id, network: n, acceptor: a, broken: broken, ctx: ctx, close: cancel, open: map[*stream]struct{}{}}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.acceptor.conns:
		return s.track(conn, s.broken)
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (s *streams) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	conn, err := s.network.DialRaft(ctx, netquorum.FilerID(to))
	if err != nil {
		return nil, err
	}
	return s.track(conn, nil)
}

// track remembers a connection until it is closed: raft's transport leaves its
// connections open when it is closed, and a peer would go on waiting on them.
func (s *streams) track(conn net.Conn, ended func()) (net.Conn, error) {
	st := &stream{Conn: conn, owner: s, ended: ended}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	s.open[st] = struct{}{}
	return st, nil
}

// Close implements net.Listener.
func (s *streams) Close() error {
	s.mu.Lock()
	s.close()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for st := range open {
		st.Conn.Close()
	}
	return nil
}

// Addr implements net.Listener.
func (s *streams) Addr() net.Addr { return filerAddr(s.id) }

type filerAddr netquorum.FilerID

func (filerAddr) Network() string  { return "netquorum" }
func (a filerAddr) String() string { return string(a) }

type stream struct {
	net.Conn
	owner *streams
	ended func()
	once  sync.Once
}

func (st *stream) Read(b []byte) (int, error) {
	n, err := st.Conn.Read(b)
	if err != nil && st.ended != nil && st.owner.ctx.Err() == nil {
		st.once.Do(st.ended)
	}
	return n, err
}

func (st *stream) Close() error {
	st.owner.mu.Lock()
	delete(st.owner.open, st)
	st.owner.mu.Unlock()
	return st.Conn.Close()
}
