package link

import (
	"io"
	"net"
	"os"
	"time"
)

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
		<-s.data
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
	if n > 0 {
		s.taken(pieces, n)
	}
	return n
}

// taken gives back the memory of unread pieces, and notes that the reader has n bytes
// more.
func (s *Stream) taken(pieces, n int) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	for _, u := range s.unread[:pieces] {
		u.slab.release()
	}
	left := copy(s.unread, s.unread[pieces:])
	clear(s.unread[left:])
	s.unread = s.unread[:left]
	s.consumed(n)
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
	// An acknowledgement wakes two goroutines of a bulk writer. One that uses
	// TryWrite may need most of the window at once.
	worth := s.recv.window / 4
	if s.class == Bulk {
		worth = s.recv.window / 3
	}
	tell := s.recv.read(n, worth)
	// Whether or not this is told now: on a long way the timer tells of room before a
	// third of the window is free, and a window that did not grow then never would.
	if s.class == Bulk && s.recv.taken-s.grownFrom >= s.recv.window/4 {
		s.grow(l.now())
	}
	if !tell || s.recv.ended || s.err != nil || s.closed {
		return
	}
	l.owe(s, 0)
	l.ackNow = true
	l.ordinary.kick(true)
}

// grow doubles the window of a stream whose reader takes more than half of it in
// the time that a round trip takes without queues: then the window is what holds
// the stream up. A larger one than that would only fill queues and the
// processor's caches: on loopback 4 MiB cost half as much again.
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
