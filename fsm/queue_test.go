package fsm

import (
	"sync"
	"testing"
)

// TestQueuesGrowAtOnce: a dry run goes on from the same history as what is applied
// meanwhile, and neither sees the other's.
func TestQueuesGrowAtOnce(t *testing.T) {
	for n := range 2*chunkSize + 2 {
		var base queue[int]
		for i := range n {
			base = base.append(i)
		}
		var grown [4]queue[int]
		var wait sync.WaitGroup
		for g := range grown {
			wait.Go(func() {
				q := base
				for i := range chunkSize + 1 {
					q = q.append(1000*(g+1) + i)
				}
				grown[g] = q
			})
		}
		wait.Wait()
		for g, q := range grown {
			i := 0
			for v := range q.all(0) {
				want := i
				if i >= n {
					want = 1000*(g+1) + i - n
				}
				if v != want {
					t.Fatalf("of %d values, grown by %d: value %d is %d, want %d", n, g, i, v, want)
				}
				i++
			}
			if i != n+chunkSize+1 || q.len() != i {
				t.Fatalf("%d values of %d", i, q.len())
			}
		}
	}
}

// TestAQueueGrowsInPlace: what nobody else has gone on from is not copied.
func TestAQueueGrowsInPlace(t *testing.T) {
	base := queue[int]{}.append(0)
	first := base.append(1)
	if first.chunks[0] != base.chunks[0] {
		t.Error("the first version that goes on copies")
	}
	if second := base.append(2); second.chunks[0] == base.chunks[0] || first.at(1) != 1 || second.at(1) != 2 {
		t.Error("the second version writes where the first has")
	}
	if testing.AllocsPerRun(10, func() {
		q := queue[int]{}
		for range chunkSize {
			q = q.append(0)
		}
	}) > 2 {
		t.Error("a chunk takes more than itself and its place")
	}
}
