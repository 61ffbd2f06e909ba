package link

import (
	"io"
	"os"
)

// ReadFrom writes what r has until it ends: io.Copy to a stream. It is read to where
// the link keeps it until the peer has it; what is given to Write has to be copied
// there. The error is r's or the stream's.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	var m *slab // to be read to
	defer func() { m.release() }()
	for {
		n, err := s.awaitRoom()
		if err != nil {
			return total, err
		}
		if m == nil {
			m = newSlab(dataHead + n)
		}
		n, end := r.Read(m.b[dataHead : dataHead+n])
		switch {
		case n == 0:
		case dataHead+n > len(m.b)/2:
			err = s.give(m, n)
			m = nil
		default: // it would hold much more memory than it has bytes
			n, err = s.Write(m.b[dataHead : dataHead+n])
		}
		if total += int64(n); err != nil {
			return total, err
		}
		if end == io.EOF {
			return total, nil
		}
		if end != nil {
			return total, end
		}
	}
}

// awaitRoom waits until something may be written, and returns how much ReadFrom should
// read: with half a window, the peer makes room for all of it as soon as its reader
// has what came before.
func (s *Stream) awaitRoom() (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	for {
		if s.writable.passed() {
			return 0, s.fault("write", os.ErrDeadlineExceeded)
		}
		if n, err := s.roomForCopy(); n > 0 || err != nil {
			return n, err
		}
		<-s.room
	}
}

func (s *Stream) roomForCopy() (int, error) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.writeError(); err != nil {
		return 0, err
	}
	if s.send.room() == 0 {
		s.waits = true
		return 0, nil
	}
	s.waits, s.starved = false, 0
	return min(s.send.small-dataHead, max(1, int(min(s.send.window/2, maxFrame)))), nil
}

// give writes n bytes that lie in a slab behind the room for a frame's head. The
// last of them may be beyond the peer's window: they wait.
func (s *Stream) give(m *slab, n int) error {
	f := newFrame(m, m.b[:dataHead+n])
	s.writing.Lock()
	defer s.writing.Unlock()
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	if err := s.writeError(); err != nil {
		f.done = true
		f.release()
		return err
	}
	s.send.push(f, kindData, n)
	s.dispatch()
	return nil
}

// WriteTo writes to w what arrives until the stream ends: io.Copy from a stream. It is
// written from where it arrived; Read has to copy it. What w did not take can be read.
func (s *Stream) WriteTo(w io.Writer) (total int64, err error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for {
		if s.readable.passed() {
			return total, s.fault("read", os.ErrDeadlineExceeded)
		}
		for len(s.unread) > 0 {
			n, err := s.hand(w)
			if total += int64(n); err != nil {
				return total, err
			}
		}
		if err := s.fetch(nil); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		if len(s.unread) == 0 {
			<-s.data
		}
	}
}

// hand gives the first unread piece to a writer.
func (s *Stream) hand(w io.Writer) (int, error) {
	u := &s.unread[0]
	n, err := w.Write(u.b)
	if err == nil && n < len(u.b) {
		err = io.ErrShortWrite
	}
	pieces := 0
	if u.b = u.b[n:]; len(u.b) == 0 {
		pieces = 1
	}
	s.taken(pieces, n)
	return n, err
}
