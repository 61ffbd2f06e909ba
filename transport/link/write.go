package link

// write is the carrier's own writing goroutine: it writes what callers of Write
// do not write themselves.
func (c *Carrier) write() {
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		c.link.mu.Lock()
		for !c.busy && c.err == nil && c.link.waiting(c) {
			c.writeOnce()
		}
		c.link.mu.Unlock()
	}
}

func (c *Carrier) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// kick has written what waits for the carrier. With the link's lock held, which
// it gives up while it writes. A caller that may not wait, or a carrier that may
// make it wait, leaves it to the carrier's goroutine; if somebody writes already,
// that one takes it along.
func (c *Carrier) kick(inline bool) {
	if c == nil || c.busy || c.err != nil {
		return
	}
	for tries := 0; inline && tries < 4 && c.inflight < inlineMost; tries++ {
		c.inline = true
		c.writeOnce()
		c.inline = false
		if c.busy || c.err != nil || !c.link.waiting(c) {
			return
		}
		if !c.link.waitingSmall(c) {
			break
		}
	}
	if c.link.waiting(c) {
		c.nudge()
	}
}

// writeOnce writes one batch, with the link's lock held, which it gives up
// meanwhile.
func (c *Carrier) writeOnce() {
	l := c.link
	c.busy = true
	c.writes++
	large := l.fill(c)
	batch := c.batch
	l.mu.Unlock()
	var err error
	if len(batch) > 0 {
		_, err = c.conn.Write(batch)
	}
	if large != nil && err == nil {
		_, err = c.conn.Write(large.b)
	}
	l.mu.Lock()
	c.sent += uint64(len(batch))
	if large != nil {
		c.sent += uint64(len(large.b))
		large.held--
		large.release()
	}
	c.busy = false
	if err != nil {
		c.fail(err)
	}
}

// waiting reports whether something waits to leave by the carrier.
func (l *Link) waiting(c *Carrier) bool {
	return l.waitingSmall(c) || c == l.bulk && l.ready[Bulk].any()
}

// waitingSmall is waiting for anything but bulk data.
func (l *Link) waitingSmall(c *Carrier) bool {
	if len(c.out) > 0 || len(c.urgent) > 0 {
		return true
	}
	return c == l.ordinary && (l.ackNow && len(l.dirty) > 0 || l.ready[Urgent].any() || l.ready[Control].any())
}

// fill collects into c.batch what leaves next by the carrier: first its own and
// urgent frames, then small ones that fill a TLS record, then acknowledgements.
// A large frame is not copied but returned, to be written after the batch.
func (l *Link) fill(c *Carrier) (large *frame) {
	c.batch = append(c.batch[:0], c.out...)
	c.out = c.out[:0]
	for len(c.urgent) > 0 {
		f := c.urgent[0]
		if len(c.batch) > 0 && len(c.batch)+len(f.b) > maxSmall {
			return nil
		}
		if !f.done {
			c.batch = append(c.batch, f.b...)
		}
		f.held--
		f.release()
		c.urgent = append(c.urgent[:0], c.urgent[1:]...)
	}
	full := false
	if c == l.ordinary {
		large, full = l.gather(c, Urgent)
		if large == nil && !full {
			large, full = l.gather(c, Control)
		}
	}
	if c == l.bulk && !c.inline && large == nil && !full {
		large, _ = l.gather(c, Bulk)
	}
	if (c == l.ordinary || c == l.bulk) && (l.ackNow || large != nil || len(c.batch) > 0 && l.worthAcknowledging()) {
		c.batch = l.acknowledge(c.batch)
	}
	return large
}

// gather takes frames of the streams of one class by turns. It stops at a large
// frame, which it returns, or when the batch is full.
func (l *Link) gather(c *Carrier, class Class) (large *frame, full bool) {
	const copied = 4 << 10 // a larger frame costs more to copy than a write of its own
	ready := &l.ready[class]
	for ready.any() {
		s := ready.front()
		f := s.send.next()
		if f == nil {
			ready.pop()
			continue
		}
		if len(f.b) > copied {
			c.mark(f)
			f.held++
			ready.turn()
			return f, false
		}
		if len(c.batch)+len(f.b) > maxSmall {
			return nil, true
		}
		c.mark(f)
		c.batch = append(c.batch, f.b...)
		ready.turn()
	}
	return nil, false
}

// mark notes that a frame leaves by the carrier.
func (c *Carrier) mark(f *frame) {
	f.on = c
	c.seq++
	f.seq = c.seq
	c.inflight += len(f.b)
	if c.owes.IsZero() {
		c.owes = c.link.now()
	}
}

// A turns is a list of streams that have something to send, by turns.
type turns struct{ all []*Stream }

func (t *turns) any() bool      { return len(t.all) > 0 }
func (t *turns) front() *Stream { return t.all[0] }

func (t *turns) add(s *Stream) {
	if !s.queued {
		s.queued = true
		t.all = append(t.all, s)
	}
}

func (t *turns) pop() {
	t.all[0].queued = false
	left := copy(t.all, t.all[1:])
	t.all[left] = nil
	t.all = t.all[:left]
}

func (t *turns) turn() {
	if len(t.all) > 1 {
		s := t.all[0]
		copy(t.all, t.all[1:])
		t.all[len(t.all)-1] = s
	}
}
