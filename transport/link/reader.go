package link

import "io"

// A reader reads frames where they lie: in slabs, of which a stream may keep
// one rather than copy what it contains.
type reader struct {
	r          io.Reader
	slab       *slab
	start, end int // of what was read and not taken
}

func (r *reader) buffered() int { return r.end - r.start }

// peek returns the next n bytes, at most maxFrame, without taking them.
func (r *reader) peek(n int) ([]byte, error) {
	for r.buffered() < n {
		if err := r.fill(n); err != nil {
			if err == io.EOF && r.buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return r.slab.b[r.start : r.start+n], nil
}

// fill reads once, into a slab with room for n bytes from the first that was not
// taken.
func (r *reader) fill(n int) error {
	if r.slab == nil {
		r.slab = slabOf(readSlabs)
	}
	if r.start == r.end && r.slab.alone() {
		r.start, r.end = 0, 0
	}
	if r.start+n > len(r.slab.b) {
		next := slabOf(readSlabs)
		r.end = copy(next.b, r.slab.b[r.start:r.end])
		r.start = 0
		r.slab.release()
		r.slab = next
	}
	m, err := r.r.Read(r.slab.b[r.end:])
	r.end += m
	if m > 0 {
		return nil
	}
	return err
}

func (r *reader) take(n int) { r.start += n }

func (r *reader) close() {
	r.slab.release()
	r.slab = nil
}
