package link

import (
	"sync"
	"sync/atomic"
)

// A slab is memory for frames. It goes back when nobody holds it.
type slab struct {
	b    []byte
	used int // bytes taken, of a slab that is filled bit by bit
	refs atomic.Int32
	pool *sync.Pool
}

func slabs(size int) *sync.Pool {
	p := &sync.Pool{}
	p.New = func() any { return &slab{b: make([]byte, size), pool: p} }
	return p
}

var slabPools = [...]*sync.Pool{slabs(2 << 10), slabs(maxSmall), slabs(maxFrame)}

// newSlab returns a slab of at least n bytes, at most maxFrame, held once.
func newSlab(n int) *slab {
	i := 0
	switch {
	case n > maxSmall:
		i = 2
	case n > 2<<10:
		i = 1
	}
	return slabOf(slabPools[i])
}

// readSlabs are apart from slabs to be sent. Those come back a window later, when no
// cache has them any more; what is read to is free again as soon as it was taken.
var readSlabs = slabs(maxFrame)

func slabOf(pool *sync.Pool) *slab {
	s := pool.Get().(*slab)
	s.used = 0
	s.refs.Store(1)
	return s
}

func (s *slab) hold() { s.refs.Add(1) }

func (s *slab) release() {
	if s != nil && s.refs.Add(-1) == 0 {
		s.pool.Put(s)
	}
}

// alone reports whether the asker's hold is the only one.
func (s *slab) alone() bool { return s.refs.Load() == 1 }
