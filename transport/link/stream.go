package link

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
)

// A Stream is an ordered stream of bytes in each direction: a net.Conn. It ends
// cleanly with io.EOF when the peer has closed it or its writing side; with an
// error that wraps io.ErrUnexpectedEOF when the peer aborted it, and with one
// that wraps ErrPeerLost when the link has ended.
type Stream struct {
	link    *Link
	id      uint64
	class   Class
	service string
	offered []string      // by us
	opened  chan struct{} // closed when the peer has answered our offer

	writing  sync.Mutex // held by the one caller of Write whose turn it is
	room     chan struct{}
	writable deadline

	reading  sync.Mutex
	data     chan struct{}
	readable deadline
	unread   []piece // taken from recv; guarded by reading

	// All below is guarded by the link's lock.
	send    sender
	recv    receiver
	err     error // what both directions ended with
	closed  bool  // Close was called
	stopped bool  // the peer reads no more
	queued  bool  // in the link's turns
	dirty   bool  // owes an acknowledgement
	starved int   // ticks for which Write has waited for room
	waits   bool  // Write waits for room

	into []byte // the buffer of a Read that waits
	got  int    // bytes that were put there

	onData  func([]byte) error
	onEnd   func(error)
	pumping bool // one of them is running
	told    bool // onEnd was called

	grown     time.Time // when the window was looked at last
	grownFrom uint64    // and how much had been taken then
}

var _ net.Conn = (*Stream)(nil)

// newStream enters a stream into the link.
func (l *Link) newStream(id uint64, c Class, window int) *Stream {
	s := &Stream{
		link: l, id: id, class: c,
		room: make(chan struct{}, 1), data: make(chan struct{}, 1),
	}
	s.readable.wake, s.writable.wake = s.wakeReader, s.wakeWriter
	s.send = sender{stream: id, small: maxSmall}
	if c == Bulk {
		s.send.small = maxFrame
	}
	s.recv = receiver{window: uint64(window), limit: uint64(window)}
	l.streams[id] = s
	return s
}

// Service returns the service that the stream was accepted as.
func (s *Stream) Service() string { return s.service }

// Class returns the stream's class.
func (s *Stream) Class() Class { return s.class }

// Peer returns the filer at the other end.
func (s *Stream) Peer() netquorum.FilerID { return s.link.cfg.Peer }

func (s *Stream) wakeReader() {
	select {
	case s.data <- struct{}{}:
	default:
	}
}

func (s *Stream) wakeWriter() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// fault is an error as package net gives them.
func (s *Stream) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: s.service, Addr: Addr(s.link.cfg.Peer), Err: err}
}

// LocalAddr returns an address that names this filer.
func (s *Stream) LocalAddr() net.Addr { return Addr(s.link.cfg.Local) }

// RemoteAddr returns an address that names the peer.
func (s *Stream) RemoteAddr() net.Addr { return Addr(s.link.cfg.Peer) }

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline is as for every net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { s.readable.set(t); return nil }

// SetWriteDeadline is as for every net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { s.writable.set(t); return nil }

// An Addr names a filer where package net wants an address.
type Addr netquorum.FilerID

// Network is that of links: it is none of package net's.
func (Addr) Network() string { return "netquorum" }

func (a Addr) String() string { return string(a) }

func (s *Stream) String() string { return fmt.Sprintf("stream %d of %s", s.id, s.service) }
