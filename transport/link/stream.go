package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
		writable: newDeadline(), readable: newDeadline(),
	}
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

// Write gives p to the link, which keeps it until the peer has it. It waits
// while the peer's window has no room. p may be used again when it returns.
func (s *Stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n := 0
	for n < len(p) {
		if s.writable.passed() {
			return n, s.fault("write", os.ErrDeadlineExceeded)
		}
		m, err := s.write(p[n:])
		if err != nil {
			return n, err
		}
		if n += m; m > 0 {
			continue
		}
		select {
		case <-s.room:
		case <-s.writable.wait():
		}
	}
	return n, nil
}

// write takes what there is room for.
func (s *Stream) write(p []byte) (int, error) {
	l := s.link
	// What fills a frame is copied before the lock is taken.
	const large = 4 << 10
	var f *frame
	n := min(len(p), s.send.small-dataHead)
	if n > large {
		m := newSlab(n + dataHead)
		f = &frame{slab: m, b: m.b[:dataHead+n]}
		copy(f.b[dataHead:], p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	room := s.send.room()
	if err := s.writeError(); err != nil || room == 0 {
		if f != nil {
			f.slab.release()
		}
		s.waits = err == nil
		return 0, err
	}
	s.waits, s.starved = false, 0
	n = min(n, room)
	if f != nil {
		f.b = f.b[:dataHead+n]
		s.send.push(f, kindData, n)
	} else {
		s.send.write(p[:n])
	}
	s.dispatch()
	return n, nil
}

// TryWrite is Write for those who must not wait, such as Handle callbacks: it
// takes all of p, or nothing and returns ErrFull.
func (s *Stream) TryWrite(p []byte) error {
	if !s.writing.TryLock() {
		return ErrFull
	}
	defer s.writing.Unlock()
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if err := s.writeError(); err != nil {
		return err
	}
	if s.send.room() < len(p) {
		return ErrFull
	}
	s.send.write(p)
	s.dispatch()
	return nil
}

// dispatch has sent what was written just now.
func (s *Stream) dispatch() {
	l := s.link
	if s.class == Urgent {
		s.spread()
	}
	l.queue(s)
	if s.class == Bulk {
		l.bulk.kick(false)
	} else {
		l.ordinary.kick(true)
	}
}

// spread gives urgent frames to every carrier that answers.
func (s *Stream) spread() {
	const most = 256 // frames that a carrier may have waiting
	l := s.link
	for f := s.send.next(); f != nil && l.ordinary != nil; f = s.send.next() {
		l.ordinary.mark(f, time.Now())
		f.spread = true
		for _, c := range l.carriers {
			if c != l.ordinary && (c.state == Down || len(c.urgent) >= most) {
				continue
			}
			c.urgent = append(c.urgent, f)
			f.held++
			if c != l.ordinary {
				c.nudge()
			}
		}
	}
}

func (s *Stream) writeError() error {
	switch {
	case s.closed, s.send.ended && s.err == nil:
		return s.fault("write", net.ErrClosed)
	case s.err != nil:
		return s.fault("write", s.err)
	case s.stopped:
		return s.fault("write", ErrStopped)
	}
	return nil
}

// Read reads what has arrived, or waits.
func (s *Stream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for {
		if s.readable.passed() {
			return 0, s.fault("read", os.ErrDeadlineExceeded)
		}
		if n := s.readUnread(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		if err := s.fetch(p); err != nil {
			return 0, err
		}
		if len(s.unread) > 0 {
			continue
		}
		select {
		case <-s.data:
		case <-s.readable.wait():
		}
		if n := s.filled(); n > 0 {
			return n, nil
		}
	}
}

// filled ends the time in which what arrives goes to Read's buffer, and returns
// how much has.
func (s *Stream) filled() int {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	n := s.got
	s.into, s.got = nil, 0
	return n
}

// fill gives a piece that is in order to a Read that waits, as far as it fits.
// While it is read it is in the processor's cache; for a reader that comes later
// it may have to be brought again.
func (s *Stream) fill(p piece) {
	n := copy(s.into[s.got:], p.b)
	s.got += n
	first, rest := p, p
	first.b, first.end = p.b[:n], p.end && n == len(p.b)
	rest.b, rest.offset = p.b[n:], p.offset+uint64(n)
	s.recv.pass(first)
	if rest.after() > s.recv.arrived {
		s.recv.add(rest)
	}
	s.recv.promote()
	s.wakeReader()
	s.consumed(n)
}

func (s *Stream) readUnread(p []byte) int {
	n, pieces := 0, 0
	for n < len(p) && pieces < len(s.unread) {
		u := &s.unread[pieces]
		m := copy(p[n:], u.b)
		u.b = u.b[m:]
		if n += m; len(u.b) > 0 {
			break
		}
		pieces++
	}
	if n == 0 {
		return 0
	}
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	for _, u := range s.unread[:pieces] {
		u.slab.release()
	}
	left := copy(s.unread, s.unread[pieces:])
	clear(s.unread[left:])
	s.unread = s.unread[:left]
	s.consumed(n)
	return n
}

// fetch takes over what has arrived. If that is nothing, what arrives goes to the
// buffer from then on.
func (s *Stream) fetch(into []byte) error {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if s.closed {
		return s.fault("read", net.ErrClosed)
	}
	s.unread, s.recv.ready = s.recv.ready, s.unread[:0]
	if len(s.unread) > 0 {
		return nil
	}
	if err := s.readError(); err != nil {
		if err == io.EOF {
			return err
		}
		return s.fault("read", err)
	}
	s.into, s.got = into, 0
	return nil
}

// readError is what reading ends with once nothing is left to be read.
func (s *Stream) readError() error {
	switch {
	case s.recv.ended:
		return io.EOF
	case s.err != nil:
		return s.err
	case s.closed:
		return net.ErrClosed
	}
	return nil
}

// consumed notes that the reader has taken n bytes, and lets the peer send more
// when that is worth telling.
func (s *Stream) consumed(n int) {
	l := s.link
	tell := s.recv.read(n)
	if s.class == Bulk && tell {
		s.grow(time.Now())
	}
	if !tell || s.recv.ended || s.err != nil || s.closed {
		return
	}
	l.owe(s)
	l.ackNow = true
	l.ordinary.kick(true)
}

// grow doubles the window of a stream whose reader takes more than half of it in
// the time that a round trip takes without queues: then the window is what holds
// the stream up. A larger one than that would only fill queues and the
// processor's caches: on loopback 4 MiB cost half as much again as 512 KiB.
func (s *Stream) grow(now time.Time) {
	const measure = 5 * time.Millisecond
	c := s.link.bulk
	if c == nil || s.recv.window >= uint64(s.link.cfg.MaxBulkWindow) {
		return
	}
	took, in := s.recv.taken-s.grownFrom, now.Sub(s.grown)
	if in < max(measure, 4*c.rtt.least) {
		return
	}
	if float64(took)*c.rtt.least.Seconds()/in.Seconds() > float64(s.recv.window)/2 {
		s.recv.window = min(2*s.recv.window, uint64(s.link.cfg.MaxBulkWindow))
	}
	s.grown, s.grownFrom = now, s.recv.taken
}

// Handle replaces Read: from now on data is called with what arrives, in order
// and one call at a time, where the carrier is read, so without waking another
// goroutine. It must not block, nor keep p. An error from data aborts the
// stream. When nothing more comes, end is called once: with io.EOF after a clean
// end, otherwise with what Read would return; also when this side ended the
// stream. What arrived earlier is given before Handle returns.
func (s *Stream) Handle(data func(p []byte) error, end func(error)) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.onData, s.onEnd = data, end
	if len(s.unread) > 0 {
		s.recv.ready = append(s.unread, s.recv.ready...)
		s.unread = nil
	}
	s.pump()
}

// pass gives a piece that is in order to the handler where it lies.
func (s *Stream) pass(p piece) {
	s.recv.pass(p)
	p.slab = nil // which is the reader's
	if len(p.b) > 0 {
		s.pumping = true
		s.handle(p)
		s.pumping = false
	}
	s.recv.promote()
	s.pump()
}

// handle calls the handler, without the link's lock.
func (s *Stream) handle(p piece) {
	l := s.link
	l.mu.Unlock()
	err := s.onData(p.b)
	l.mu.Lock()
	p.slab.release()
	if err != nil {
		s.abort(err)
		return
	}
	s.consumed(len(p.b))
}

// pump gives the handler what waits for it, and its end.
func (s *Stream) pump() {
	if s.onData == nil || s.pumping {
		return
	}
	s.pumping = true
	defer func() { s.pumping = false }()
	for !s.told {
		if len(s.recv.ready) > 0 {
			p := s.recv.ready[0]
			left := copy(s.recv.ready, s.recv.ready[1:])
			s.recv.ready[left] = piece{}
			s.recv.ready = s.recv.ready[:left]
			s.handle(p)
			continue
		}
		err := s.readError()
		if err == nil {
			return
		}
		s.told = true
		s.link.mu.Unlock()
		s.onEnd(err)
		s.link.mu.Lock()
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
