package store

import (
	"sync/atomic"
	"time"
)

// histogramBounds are upper bounds of write durations: from a good solid-state
// disk to one that is about to be given up.
var histogramBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
}

// A Histogram counts durations. It may be written and read concurrently.
type Histogram struct {
	counts [len(histogramBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *Histogram) observe(d time.Duration) {
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Buckets returns how many durations there were, their sum, and for each upper
// bound how many did not exceed it: the form that Prometheus expects.
func (h *Histogram) Buckets() (count uint64, sum time.Duration, upTo map[time.Duration]uint64) {
	upTo = make(map[time.Duration]uint64, len(histogramBounds))
	for i, bound := range histogramBounds {
		count += h.counts[i].Load()
		upTo[bound] = count
	}
	count += h.counts[len(histogramBounds)].Load()
	return count, time.Duration(h.sum.Load()), upTo
}
