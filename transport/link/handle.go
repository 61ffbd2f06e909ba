package link

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
