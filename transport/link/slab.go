package link

import "sync"

// A slab is memory for frames. It goes back when nothing refers to it; the
// count is guarded by the link's lock.
type slab struct {
	b    []byte
	used int // bytes taken, of a slab that is filled bit by bit
	refs int
	pool *sync.Pool
}

func slabs(size int) *sync.Pool {
	p := &sync.Pool{}
	p.New = func() any { return &slab{b: make([]byte, size), pool: p} }
	return p
}

var slabPools = [...]*sync.Pool{slabs(2 << 10), slabs(maxSmall), slabs(maxFrame)}

// newSlab returns a slab of at least n bytes, at most maxFrame, with one
// reference.
func newSlab(n int) *slab {
	i := 0
	switch {
	case n > maxSmall:
		i = 2
	case n > 2<<10:
		i = 1
	}
	s := slabPools[i].Get().(*slab)
	s.used, s.refs = 0, 1
	return s
}

func (s *slab) release() {
	if s == nil {
		return
	}
	if s.refs--; s.refs == 0 {
		s.pool.Put(s)
	}
}
