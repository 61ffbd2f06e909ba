package link

import "fmt"

// takeData takes a frame of a stream.
func (l *Link) takeData(c *Carrier, h head, p piece) error {
	c.received += uint64(dataHead + len(p.b))
	s := l.streams[h.stream]
	if s == nil { // it is over here: the peer has missed the last acknowledgement
		if len(c.out) < maxSmall && c.err == nil {
			c.out = putAck(c.out, h.stream, p.after(), p.after())
		}
		return nil
	}
	if h.offset+uint64(len(p.b)) > s.recv.limit || s.recv.ended && p.after() > s.recv.arrived {
		return fmt.Errorf("%w: stream %d has data beyond its window or end", ErrProtocol, h.stream)
	}
	ok, duplicate := s.recv.accept(&p)
	l.duplicates += uint64(duplicate)
	l.owe(s, headSize+h.n)
	switch {
	case !ok:
	case s.closed:
		s.recv.add(p)
		s.discard()
	case s.onData != nil && !s.pumping && s.recv.inOrder(p):
		s.pass(p)
	case s.got < len(s.into) && s.recv.inOrder(p):
		s.fill(p)
	default:
		s.recv.add(p)
		s.wakeReader()
		s.pump()
	}
	s.retire()
	return nil
}

// owe notes that a stream's acknowledgement is to be sent for so many bytes more,
// with the next data that leaves or some time later.
func (l *Link) owe(s *Stream, bytes int) {
	if !s.dirty {
		s.dirty = true
		l.dirty = append(l.dirty, s)
	}
	few := l.owed < manyOwed
	l.owed += bytes
	switch many := l.owed >= manyOwed; {
	case many && (few || !l.ackArmed):
		l.ackTimer.Reset(l.cfg.AckDelay)
	case !l.ackArmed:
		l.ackTimer.Reset(l.cfg.AckPatience)
	}
	l.ackArmed = true
}

// manyOwed is for how many bytes an acknowledgement waits no longer than AckDelay:
// a peer that has much under way is slowed down by waiting for it.
const manyOwed = 8 << 10

// worthAcknowledging reports whether acknowledgements should travel with data that
// leaves now. Where short questions and answers follow each other closely, one with
// each of them would be work for both sides; nobody waits for it, and the timer sees
// to it in the end.
func (l *Link) worthAcknowledging() bool { return l.spared < sparedMost || l.owed >= manyOwed }

// acknowledge appends every acknowledgement that is owed.
func (l *Link) acknowledge(b []byte) []byte {
	for _, s := range l.dirty {
		s.dirty = false
		offset, limit := s.recv.ack()
		b = putAck(b, s.id, offset, limit)
	}
	clear(l.dirty)
	l.dirty, l.owed, l.ackNow = l.dirty[:0], 0, false
	if l.ackArmed && l.spared < sparedMost {
		l.spared++
		l.ackArmed = false
		l.ackTimer.Stop()
	}
	return b
}

// sparedMost is how often between two pings acknowledgements of little data leave with
// other data, and their timer is stopped. On an idle machine that spares a wakeup each
// time; on a busy one it would take a tenth of a round trip.
const sparedMost = 16

// sendAcks is some time later.
func (l *Link) sendAcks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ackArmed = false
	if len(l.dirty) > 0 && l.err == nil {
		l.ackNow = true
		l.ordinary.kick(true)
	}
}

// takeAck takes what the peer says of a stream that we send.
func (l *Link) takeAck(c *Carrier, h head) error {
	c.received += ackSize
	s := l.streams[h.stream]
	if s == nil {
		return nil
	}
	var proven *Carrier
	ok := s.send.acked(h.offset, h.limit, func(f *frame) {
		f.leave()
		if f.on != nil && !f.again && !f.spread {
			proven = f.on
		}
	})
	if !ok {
		return fmt.Errorf("%w: stream %d acknowledges what was not sent", ErrProtocol, h.stream)
	}
	if proven != nil {
		proven.heard()
	}
	s.wakeWriter()
	l.queue(s)
	s.retire()
	return nil
}

// leave takes a frame out of its carrier's account.
func (f *frame) leave() {
	if f.on != nil {
		f.on.inflight -= len(f.b)
	}
}

// queue enters a stream that may have something to send.
func (l *Link) queue(s *Stream) {
	if !s.queued && s.send.next() != nil {
		l.ready[s.class].add(s)
	}
}

// flush has sent what came up while the carrier's frames were taken.
func (l *Link) flush(c *Carrier) {
	for _, o := range [...]*Carrier{l.ordinary, l.bulk, c} {
		if o != nil && l.waiting(o) {
			o.kick(o != l.bulk || o == l.ordinary)
		}
	}
}

// rewind has all that was sent on a carrier sent again.
func (l *Link) rewind(c *Carrier) {
	for _, s := range l.streams {
		l.resent += uint64(s.send.rewind(func(f *frame) bool {
			if f.on != c {
				return false
			}
			f.leave()
			return true
		}))
		l.queue(s)
	}
}
