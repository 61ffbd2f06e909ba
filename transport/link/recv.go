package link

import "slices"

// A piece is received data that waits: to be read, or for what comes before it.
type piece struct {
	offset uint64
	b      []byte
	slab   *slab
	end    bool // the stream ends after it
}

// after is the offset after the piece, its end included.
func (p piece) after() uint64 {
	if p.end {
		return p.offset + uint64(len(p.b)) + 1
	}
	return p.offset + uint64(len(p.b))
}

// maxEarly bounds what waits in tiny pieces. What does not fit is sent again.
const maxEarly = 1024

// A receiver puts what arrives in order. What came before is dropped, what comes
// early waits.
type receiver struct {
	arrived uint64  // everything before it has
	taken   uint64  // by the reader
	limit   uint64  // as the peer knows it
	window  uint64  // how far the limit is ahead of taken
	ready   []piece // in order
	early   []piece // by offset; may overlap each other
	ended   bool    // the end has arrived
}

// accept trims a piece of what has arrived already. ok is false when nothing is
// left of it; duplicate is what was cut off.
func (r *receiver) accept(p *piece) (ok bool, duplicate int) {
	if p.after() <= r.arrived {
		return false, len(p.b)
	}
	if p.offset < r.arrived {
		cut := int(r.arrived - p.offset)
		p.b, p.offset = p.b[cut:], r.arrived
		return true, cut
	}
	return true, 0
}

// inOrder reports whether the piece can be given to a reader right away.
func (r *receiver) inOrder(p piece) bool { return p.offset == r.arrived && len(r.ready) == 0 }

// pass notes that a piece in order was received, and given on.
func (r *receiver) pass(p piece) {
	r.arrived = p.after()
	r.ended = r.ended || p.end
}

// add keeps an accepted piece, which lies in p.slab.
func (r *receiver) add(p piece) {
	if p.offset == r.arrived {
		r.queue(p, kept)
		r.promote()
		return
	}
	if len(r.early) >= maxEarly {
		return
	}
	i, found := slices.BinarySearchFunc(r.early, p.offset, func(e piece, at uint64) int {
		switch {
		case e.offset < at:
			return -1
		case e.offset > at:
			return 1
		}
		return 0
	})
	if found && r.early[i].after() >= p.after() {
		return
	}
	r.early = slices.Insert(r.early, i, kept(p))
}

// kept returns the piece to be kept: a large one where it lies, a small one
// copied, so that it does not keep a large slab from being used again.
func kept(p piece) piece {
	const large = maxFrame / 2
	switch {
	case len(p.b) == 0:
		p.slab = nil
	case p.slab != nil && len(p.b) >= large:
		p.slab.hold()
	default:
		p.slab = newSlab(len(p.b))
		p.slab.used = copy(p.slab.b, p.b)
		p.b = p.slab.b[:p.slab.used]
	}
	return p
}

// queue appends a piece that is in order. Small ones share memory: otherwise a
// window of single bytes would be many windows of memory.
func (r *receiver) queue(p piece, keep func(piece) piece) {
	r.pass(p)
	if len(p.b) == 0 {
		return
	}
	if n := len(r.ready); n > 0 && len(p.b) <= 2<<10 {
		if t := &r.ready[n-1]; t.slab.used > 0 && t.slab.used+len(p.b) <= len(t.slab.b) {
			copy(t.slab.b[t.slab.used:], p.b)
			t.slab.used += len(p.b)
			t.b = t.slab.b[t.slab.used-len(t.b)-len(p.b) : t.slab.used]
			return
		}
	}
	r.ready = append(r.ready, keep(p))
}

// promote moves what waited for its turn.
func (r *receiver) promote() {
	for len(r.early) > 0 && r.early[0].offset <= r.arrived {
		p := r.early[0]
		r.early = slices.Delete(r.early, 0, 1)
		if ok, _ := r.accept(&p); ok {
			r.queue(p, func(p piece) piece { p.slab.hold(); return p })
		}
		p.slab.release()
	}
}

// read notes that the reader has taken n bytes. It reports whether the peer
// should hear of it now: when it can be given so much more room.
func (r *receiver) read(n int, worth uint64) bool {
	r.taken += uint64(n)
	return r.taken+r.window >= r.limit+worth
}

// ack returns what the peer is to be told.
func (r *receiver) ack() (offset, limit uint64) {
	r.limit = max(r.limit, r.taken+r.window)
	return r.arrived, r.limit
}

// drop forgets what was not read.
func (r *receiver) drop() {
	for _, p := range r.ready {
		p.slab.release()
	}
	for _, p := range r.early {
		p.slab.release()
	}
	r.ready, r.early = nil, nil
}
