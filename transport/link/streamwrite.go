package link

import (
	"net"
	"os"
)

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
		<-s.room
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
		f = newFrame(m, m.b[:dataHead+n])
		copy(f.b[dataHead:], p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	room := s.send.room()
	if err := s.writeError(); err != nil || room == 0 {
		if f != nil {
			f.done = true
			f.release()
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
		l.ordinary.mark(f)
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
