package fsm

import (
	"iter"
	"slices"
	"sync/atomic"
)

// A queue is a persistent sequence that grows at its end and is trimmed at its
// front. Every version stays valid, shares nearly all of its memory with its
// neighbours, and costs the same to extend however long it is.
type queue[T any] struct {
	// The spine is not changed once it is part of a queue: another version may have
	// gone on from the same place.
	chunks []*chunk[T] // all but the last are full
	skip   int         // how many values at the front are trimmed
	n      int         // values, with those that are trimmed
}

const chunkSize = 32

// A chunk is shared by the versions of a queue. Each reads as many of its values as
// it has itself: what lies behind them is another's.
type chunk[T any] struct {
	used   atomic.Int32 // how many values some version has
	values [chunkSize]T
}

func (q queue[T]) len() int { return q.n - q.skip }

// at returns the i-th value that is still there.
func (q queue[T]) at(i int) T {
	i += q.skip
	return q.chunks[i/chunkSize].values[i%chunkSize]
}

// append adds a value in place for the first version that goes on from this one, and
// in a chunk of its own for others.
func (q queue[T]) append(v T) queue[T] {
	i := q.n % chunkSize
	q.n++
	if i == 0 {
		c := &chunk[T]{}
		c.used.Store(1)
		c.values[0] = v
		q.chunks = append(slices.Clip(q.chunks), c)
		return q
	}
	last := len(q.chunks) - 1
	c := q.chunks[last]
	if !c.used.CompareAndSwap(int32(i), int32(i+1)) {
		own := &chunk[T]{}
		own.used.Store(int32(i + 1))
		copy(own.values[:i], c.values[:i])
		c, q.chunks = own, slices.Clone(q.chunks)
		q.chunks[last] = own
	}
	c.values[i] = v
	return q
}

// trim drops the first n values.
func (q queue[T]) trim(n int) queue[T] {
	q.skip += n
	for q.skip >= chunkSize && len(q.chunks) > 1 {
		q.chunks, q.skip, q.n = q.chunks[1:], q.skip-chunkSize, q.n-chunkSize
	}
	return q
}

// all yields the values from the i-th on, oldest first.
func (q queue[T]) all(i int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for n := q.len(); i < n; i++ {
			if !yield(q.at(i)) {
				return
			}
		}
	}
}
