package messages

// openUpload goes on with a body: its sender is asked for what is missing. The
// caller holds mu.
func (n *Node) openUpload(x *in) {
	switch {
	case x.opening || x.sealing:
		return
	case x.upload != nil:
		n.answer(x)
		return
	}
	x.opening = true
	n.spawn(func() { // what has arrived before a restart is summed up again
		u, err := n.spool.resume(x.file, x.env.size)
		n.mu.Lock()
		defer n.mu.Unlock()
		x.opening = false
		if err != nil {
			n.log.Error("a body cannot be spooled", "message", x.env.id, "error", err)
			return // the sender asks again with its next session
		}
		if !x.waits() {
			u.file.Close()
			return
		}
		if x.upload, x.got = u, u.got; u.got == x.env.size {
			n.seal(x)
			return
		}
		n.answer(x)
	})
}

// chunk takes a part of a body. What comes twice is dropped.
func (s *inSession) chunk(id ID, offset int64, data []byte) error {
	n := s.node
	n.mu.Lock()
	x := n.ins[id]
	if x == nil || x.state != inPartial || x.upload == nil || x.sealing || offset < x.got {
		n.mu.Unlock()
		return nil
	}
	if offset > x.got || x.got+int64(len(data)) > x.env.size {
		n.answer(x)
		n.mu.Unlock()
		return nil
	}
	u := x.upload
	n.mu.Unlock()
	// Only the reader of a session's bulk stream gets here, and a session begins
	// when that of the one before has returned: nobody else uses the upload.
	if err := u.write(data); err != nil {
		n.log.Error("a body cannot be spooled", "message", id, "error", err)
		n.mu.Lock()
		x.upload = nil
		n.mu.Unlock()
		u.file.Close()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts.BodyBytes += uint64(len(data))
	if x.got = u.got; !x.waits() {
		u.file.Close() // refused meanwhile
	} else if x.got == x.env.size {
		n.seal(x)
	}
	return nil
}

// seal makes a body that has arrived part of the inbox, if it is what its sender
// announced. The caller holds mu.
func (n *Node) seal(x *in) {
	x.sealing = true
	u := x.upload
	n.spawn(func() {
		ok, err := u.seal(x.env.sum, n.spool.dir)
		n.mu.Lock()
		defer n.mu.Unlock()
		x.sealing = false
		if ok || err != nil {
			x.upload = nil
		}
		switch {
		case !x.waits(): // refused meanwhile
		case err != nil:
			n.log.Error("a body cannot be spooled", "message", x.env.id, "error", err)
		case !ok:
			n.counts.Corrupt++
			n.log.Warn("a body does not match its sum and is fetched again", "message", x.env.id)
			x.got = 0
			n.answer(x)
		default:
			x.writing, x.state, x.at = true, inPending, n.cfg.Clock.Now()
			r := inRecord{env: x.env, state: inPending, file: x.file, at: x.at}
			n.write(x, &r, 256, func() { n.arrived(x) })
		}
	})
}

// release removes the body of a message that has an end. Any service may have been
// waiting for its room.
func (n *Node) release(x *in) {
	if !x.env.spooled || x.file == "" {
		return
	}
	n.spool.remove(x.file)
	n.spool.in.Add(-x.env.size)
	for _, sv := range n.services {
		n.roomAgain(sv)
	}
	x.file = ""
	if u := x.upload; u != nil && !x.sealing {
		u.file.Close()
		x.upload = nil
	}
}

// closeUploads ends what is arriving when the node closes.
func (n *Node) closeUploads() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.ins {
		if x.upload != nil {
			x.upload.file.Close()
			x.upload = nil
		}
	}
}
