package store

import (
	"errors"
	"net"
	"sync"
	"time"
)

// acceptor takes raft's streams from the network for as long as the store is
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
