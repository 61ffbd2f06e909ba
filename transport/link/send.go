package link

import "sync"

// A frame is a piece of a stream as it goes out. Its bytes do not change once
// they were given to a carrier: they may be sent again, and by several at once.
type frame struct {
	slab   *slab
	b      []byte // head and payload
	offset uint64
	end    uint64   // the offset after it; its end, if it has one, included
	on     *Carrier // where it was sent last; nil when it is to be sent
	seq    uint64   // its place among what was sent there
	held   int      // carriers that still need b
	done   bool     // acknowledged, or of no interest any more
	again  bool     // sent more than once: its ack proves nothing about a carrier
	spread bool     // sent on all carriers at once, so likewise
}

// frames are those that nobody has: one is made for nearly every Write.
var frames = sync.Pool{New: func() any { return new(frame) }}

// newFrame returns a frame whose bytes lie in the slab, which is held for it.
func newFrame(s *slab, b []byte) *frame {
	f := frames.Get().(*frame)
	f.slab, f.b = s, b
	return f
}

func (f *frame) kind() byte { return f.b[4] }

// release gives the memory back, that of the frame too, when nobody needs it.
func (f *frame) release() {
	if f.done && f.held == 0 {
		f.slab.release()
		*f = frame{}
		frames.Put(f)
	}
}

// A sender is what one side of a stream has to send: everything that the peer
// has not acknowledged, as frames.
type sender struct {
	stream uint64
	frames []*frame
	first  int // the first frame that may have to be sent
	tail   *slab
	end    uint64 // the offset after what was written
	limit  uint64 // up to which the peer takes data
	window uint64 // what it takes beyond what its reader has taken, at least
	small  int    // the most that a frame has, head included
	ended  bool   // an end was written
}

// begin notes the window that the peer begins with.
func (q *sender) begin(window uint64) {
	q.limit, q.window = max(q.limit, window), window
}

// tooEarly reports whether there is data for which the peer has no room yet.
func (q *sender) tooEarly() bool {
	end := q.end
	if q.ended {
		end-- // which takes no room
	}
	return end > q.limit
}

// room is how much may be written. What is written but cannot be sent would be
// memory beyond the window. Many tiny frames count as more than their bytes.
func (q *sender) room() int {
	const maxFrames = 4096
	if q.end >= q.limit || len(q.frames) >= maxFrames && !q.mergeable(1) {
		return 0
	}
	return int(min(q.limit-q.end, 1<<30))
}

func (q *sender) last() *frame {
	if len(q.frames) == 0 {
		return nil
	}
	return q.frames[len(q.frames)-1]
}

// mergeable reports whether n bytes more fit into the last frame, which nobody
// has seen yet.
func (q *sender) mergeable(n int) bool {
	f := q.last()
	return f != nil && f.on == nil && !f.again && f.held == 0 && f.slab == q.tail && f.kind() == kindData &&
		len(f.b)+n <= q.small && q.tail.used+n <= len(q.tail.b)
}

// write appends a copy of p, in as many frames as it takes.
func (q *sender) write(p []byte) {
	for len(p) > 0 {
		if q.mergeable(1) {
			f := q.last()
			n := min(len(p), q.small-len(f.b), len(q.tail.b)-q.tail.used)
			f.b = f.b[:len(f.b)+n]
			copy(f.b[len(f.b)-n:], p)
			q.tail.used += n
			q.end += uint64(n)
			f.end = q.end
			setDataHead(f.b, kindData, q.stream, f.offset, len(f.b)-dataHead)
			p = p[n:]
			continue
		}
		n := min(len(p), q.small-dataHead)
		f := q.add(kindData, n)
		copy(f.b[dataHead:], p[:n])
		p = p[n:]
	}
}

// add makes a frame for n bytes of payload, to be filled in, at the end of the
// stream.
func (q *sender) add(kind byte, n int) *frame {
	size := dataHead + n
	if q.tail != nil && len(q.tail.b)-q.tail.used < size && q.tail.alone() {
		q.tail.used = 0 // all its frames are acknowledged
	}
	if q.tail == nil || len(q.tail.b)-q.tail.used < size {
		if f := q.last(); f != nil && f.on == nil {
			size = max(size, q.small) // it does not go out at once: more will join it
		}
		q.tail.release()
		q.tail = newSlab(size)
		size = dataHead + n
	}
	s := q.tail
	f := newFrame(s, s.b[s.used:s.used+size:len(s.b)])
	s.used += size
	s.hold()
	q.push(f, kind, n)
	return f
}

// push appends a frame whose payload of n bytes is in place.
func (q *sender) push(f *frame, kind byte, n int) {
	f.offset = q.end
	q.end += uint64(n)
	f.end = q.end
	if kind == kindEnd {
		q.end++
		f.end = q.end
		q.ended = true
	}
	setDataHead(f.b, kind, q.stream, f.offset, n)
	q.frames = append(q.frames, f)
}

// finish writes the stream's end.
func (q *sender) finish() {
	if !q.ended {
		q.add(kindEnd, 0)
	}
}

// next returns the first frame to be sent now, or nil. The end goes out even if
// the window is full: it takes no room.
func (q *sender) next() *frame {
	for q.first < len(q.frames) {
		f := q.frames[q.first]
		if f.on == nil {
			if f.end > q.limit && (f.kind() != kindEnd || f.end > q.limit+1) {
				return nil
			}
			return f
		}
		q.first++
	}
	return nil
}

// acked takes the peer's word that it has everything up to the offset, and may
// be sent data up to the limit. It calls gone for each frame of which that is
// news, and reports whether the offset could be.
func (q *sender) acked(offset, limit uint64, gone func(*frame)) bool {
	if offset > q.end {
		return false
	}
	q.limit = max(q.limit, limit)
	n := 0
	for n < len(q.frames) && q.frames[n].end <= offset {
		gone(q.frames[n])
		n++
	}
	q.forget(n)
	return true
}

func (q *sender) forget(n int) {
	if n == 0 {
		return
	}
	for _, f := range q.frames[:n] {
		f.done = true
		f.release()
	}
	left := copy(q.frames, q.frames[n:])
	clear(q.frames[left:])
	q.frames = q.frames[:left]
	q.first = max(0, q.first-n)
}

// drop forgets everything: the stream is over.
func (q *sender) drop(gone func(*frame)) {
	for _, f := range q.frames {
		gone(f)
	}
	q.forget(len(q.frames))
	q.tail.release()
	q.tail = nil
}

// rewind has everything sent again for which lost is true, and returns how many
// bytes that are.
func (q *sender) rewind(lost func(*frame) bool) int {
	n := 0
	for i, f := range q.frames {
		if f.on != nil && lost(f) {
			f.on, f.again = nil, true
			q.first = min(q.first, i)
			n += len(f.b)
		}
	}
	return n
}
