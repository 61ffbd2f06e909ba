package fsm

import (
	"iter"
	"slices"
)

// A queue is a persistent sequence that grows at its end and is trimmed at its
// front. Every version stays valid, shares nearly all of its memory with its
// neighbours, and costs the same to extend however long it is.
type queue[T any] struct {
	// chunks are full, but for the last; the first skip values are trimmed.
	// Neither the spine nor a chunk is changed once it is part of a queue.
	chunks [][]T
	skip   int
	n      int
}

const chunkSize = 64

func (q queue[T]) len() int { return q.n }

// at returns the i-th value that is still there.
func (q queue[T]) at(i int) T {
	i += q.skip
	return q.chunks[i/chunkSize][i%chunkSize]
}

func (q queue[T]) append(v T) queue[T] {
	spine := slices.Clone(q.chunks)
	if last := len(spine) - 1; last >= 0 && len(spine[last]) < chunkSize {
		// Clipped, so that append copies: another version of this queue may
		// already have put something else at the same place.
		spine[last] = append(slices.Clip(spine[last]), v)
	} else {
		spine = append(spine, []T{v})
	}
	return queue[T]{spine, q.skip, q.n + 1}
}

// trim drops the first n values.
func (q queue[T]) trim(n int) queue[T] {
	q.skip, q.n = q.skip+n, q.n-n
	for q.skip >= chunkSize {
		q.chunks, q.skip = q.chunks[1:], q.skip-chunkSize
	}
	return q
}

// all yields the values from the i-th on, oldest first.
func (q queue[T]) all(i int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for ; i < q.n; i++ {
			if !yield(q.at(i)) {
				return
			}
		}
	}
}
