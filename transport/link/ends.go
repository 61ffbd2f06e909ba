package link

import (
	"net"
)

// CloseWrite ends this side's writing: the peer reads io.EOF after the data.
func (s *Stream) CloseWrite() error {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	switch {
	case s.closed:
		return s.fault("close", net.ErrClosed)
	case s.err != nil:
		return s.fault("close", s.err)
	}
	s.finish()
	return nil
}

// finish sends the stream's end after what was written.
func (s *Stream) finish() {
	if s.send.ended || s.stopped {
		s.retire()
		return
	}
	s.send.finish()
	s.wakeWriter()
	s.dispatch()
	s.retire()
}

// Close ends both directions. What was written still goes to the peer, which
// then reads io.EOF; what the peer writes from now on it learns is not read.
func (s *Stream) Close() error {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.closed {
		return s.fault("close", net.ErrClosed)
	}
	s.closed = true
	s.discard()
	s.wakeReader()
	s.wakeWriter()
	if s.err == nil {
		if !s.recv.ended {
			l.tell(idMessage(messageStop, s.id, ""))
		}
		s.finish()
		l.ordinary.kick(true) // the stop, if the end did not take it along
	}
	s.pump()
	return nil
}

// discard drops what was not read and will not be.
func (s *Stream) discard() { s.recv.drop() }

// Abort ends both directions at once; the peer gets ErrAborted with the text of
// the cause.
func (s *Stream) Abort(cause error) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.abort(cause)
	s.link.ordinary.kick(true)
	s.pump()
}

func (s *Stream) abort(cause error) {
	l := s.link
	if s.err != nil || l.streams[s.id] != s || s == l.control {
		return
	}
	why := ""
	if cause != nil {
		why = cause.Error()
	} else {
		cause = net.ErrClosed
	}
	l.tell(idMessage(messageReset, s.id, why))
	s.fail(cause)
	s.discard()
}

// fail ends the stream here, without a word to the peer.
func (s *Stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.send.drop((*frame).leave)
	s.forget()
	s.wakeReader()
	s.wakeWriter()
}

// retire forgets the stream when nothing more is to be said about it in either
// direction. What was not read yet can still be read.
func (s *Stream) retire() {
	if s == s.link.control || !s.recv.ended && !s.closed || !s.stopped && (!s.send.ended || len(s.send.frames) > 0) {
		return
	}
	s.send.drop((*frame).leave)
	if s.link.streams[s.id] == s && s.recv.ended {
		// The peer waits for the last acknowledgement, and may not ask again soon.
		s.lastAck()
	}
	s.forget()
}

// lastAck has the acknowledgement sent although the stream is forgotten.
func (s *Stream) lastAck() {
	l := s.link
	if l.ordinary == nil {
		return // the peer sends again, and is answered then
	}
	offset, limit := s.recv.ack()
	l.ordinary.out = putAck(l.ordinary.out, s.id, offset, limit)
	l.ordinary.nudge()
}

func (s *Stream) forget() {
	l := s.link
	if l.streams[s.id] == s {
		delete(l.streams, s.id)
	}
	if s.dirty {
		s.dirty = false
		for i, o := range l.dirty {
			if o == s {
				l.dirty = append(l.dirty[:i], l.dirty[i+1:]...)
				break
			}
		}
	}
	if s.opened != nil {
		select {
		case <-s.opened:
		default:
			close(s.opened)
		}
	}
}
