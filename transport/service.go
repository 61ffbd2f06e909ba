package transport

import (
	"net"
	"sync"
)

// A Service is what a stream is for, or a connection in ALPN: a name with a
// version. Two versions of a service are two services, and a filer may offer both.
type Service string

const (
	// ServiceRaft carries raft's own protocol.
	ServiceRaft Service = "netquorum-raft/2"
	// ServiceRequests carries requests between filers: the frames of package calls.
	ServiceRequests Service = "netquorum-calls/1"

	// ServiceJoin is a connection's, the only one for which the caller has no
	// certificate yet.
	ServiceJoin Service = "netquorum-join/1"
	// serviceLink is that of connections which become carriers of links.
	serviceLink Service = "netquorum-link/1"
	// serviceLinkSCTP is that of both filers having SCTP as well: the handshake of
	// a connection by TCP finds it out on the way.
	serviceLinkSCTP Service = "netquorum-link/1+sctp"
	// serviceLinkBulk is that of carriers for bulk data.
	serviceLinkBulk Service = "netquorum-link/1+bulk"
)

// backlog is how many streams may wait for Accept.
const backlog = 64

// A serviceListener hands out the streams of one service. Closing it
// withdraws the service; the port and the other services stay.
type serviceListener struct {
	service  Service
	endpoint *Endpoint
	conns    chan net.Conn
	done     chan struct{}
	once     sync.Once
}

func newServiceListener(e *Endpoint, s Service) *serviceListener {
	return &serviceListener{
		service: s, endpoint: e,
		conns: make(chan net.Conn, backlog),
		done:  make(chan struct{}),
	}
}

// Accept waits for the next stream that a filer opens: a *link.Stream.
func (l *serviceListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, l.closedError()
	}
}

// Close withdraws the service and closes the streams that nobody accepted.
// Those that were accepted belong to who accepted them.
func (l *serviceListener) Close() error {
	l.endpoint.withdraw(l)
	l.once.Do(func() { close(l.done) })
	for {
		select {
		case c := <-l.conns:
			c.Close()
		default:
			return nil
		}
	}
}

// Addr returns the address of the port that all services share.
func (l *serviceListener) Addr() net.Addr { return l.endpoint.Addr() }

// full reports whether nobody has accepted for too long.
func (l *serviceListener) full() bool { return len(l.conns) == cap(l.conns) }

// offer queues a stream for Accept. It never waits: an owner that does not
// accept must not hold up the streams of others.
func (l *serviceListener) offer(c net.Conn) bool {
	l.endpoint.mu.Lock() // against Close, which empties the queue for the last time
	defer l.endpoint.mu.Unlock()
	if l.endpoint.services[l.service] != l {
		return false
	}
	select {
	case l.conns <- c:
		return true
	default:
		return false
	}
}

func (l *serviceListener) closedError() error {
	return &net.OpError{Op: "accept", Net: string(l.service), Addr: l.Addr(), Err: net.ErrClosed}
}
