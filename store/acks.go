package store

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// acks are when each filer was last asked something that it then answered as this
// one's follower.
//
// The library confirms a leader by the next answer of a quorum, whenever the
// question was asked: an answer that was on its way for a while, or in a goroutine
// that did not run, would let a leader confirm itself that has a successor by now.
type acks struct {
	mu    sync.Mutex
	last  map[raft.ServerID]ack
	noted chan struct{} // closed at the next one; nil when nobody waits for it
}

type ack struct {
	term  uint64
	asked time.Time
}

func (a *acks) note(id raft.ServerID, k ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last = map[raft.ServerID]ack{}
	}
	if old := a.last[id]; old.term == k.term && old.asked.After(k.asked) {
		return // an append may take longer than a heartbeat that was sent after it
	}
	a.last[id] = k
	if a.noted != nil {
		close(a.noted)
		a.noted = nil
	}
}

// await returns when so many of the given filers have acknowledged the term, asked
// after the given time.
func (a *acks) await(ctx context.Context, of []raft.ServerID, needed int, term uint64, after time.Time) error {
	for {
		a.mu.Lock()
		have := 0
		for _, id := range of {
			if k := a.last[id]; k.term == term && k.asked.After(after) {
				have++
			}
		}
		if have >= needed {
			a.mu.Unlock()
			return nil
		}
		if a.noted == nil {
			a.noted = make(chan struct{})
		}
		noted := a.noted
		a.mu.Unlock()
		select {
		case <-noted:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
