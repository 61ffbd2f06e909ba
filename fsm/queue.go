package fsm

import (
	"iter"
	"slices"
)

// A queue is a persistent sequence that grows at its end and is trimmed at its
// front. Every version stays valid, shares nearly all of its memory with its
// neighbours, and costs the same to extend however long it is.
type queue[T any] struct {
	// Neither the spine nor a chunk is changed once it is part of a queue:
	// another version may have gone on from the same place.
	chunks [][]T // full ones
	tail   []T   // fewer than chunkSize
	skip   int   // how many values at the front are trimmed
}

const chunkSize = 32

func (q queue[T]) len() int { return len(q.chunks)*chunkSize + len(q.tail) - q.skip }

// at returns the i-th value that is still there.
func (q queue[T]) at(i int) T {
	i += q.skip
	if c := i / chunkSize; c < len(q.chunks) {
		return q.chunks[c][i%chunkSize]
	}
	return q.tail[i%chunkSize]
}

func (q queue[T]) append(v T) queue[T] {
	tail := make([]T, len(q.tail)+1)
	tail[copy(tail, q.tail)] = v
	if len(tail) == chunkSize {
		return queue[T]{append(slices.Clip(q.chunks), tail), nil, q.skip}
	}
	return queue[T]{q.chunks, tail, q.skip}
}

// trim drops the first n values.
func (q queue[T]) trim(n int) queue[T] {
	q.skip += n
	for q.skip >= chunkSize && len(q.chunks) > 0 {
		q.chunks, q.skip = q.chunks[1:], q.skip-chunkSize
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
