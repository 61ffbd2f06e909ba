package agent

import (
	"context"
	"sync"
	"time"
)

// A quorum knows whether anybody leads. Whoever waits for a leader that does not
// come is told after a while, instead of waiting until his own patience ends:
// elections take a few heartbeats, a lost majority takes an administrator.
type quorum struct {
	leads    func() bool
	interval time.Duration
	patience time.Duration
	now      func() time.Time

	mu     sync.Mutex
	seen   time.Time       // when somebody led, as far as known
	lost   context.Context // ends when nobody has led for as long as patience
	cancel context.CancelFunc
}

func newQuorum(leads func() bool, heartbeat time.Duration, now func() time.Time) *quorum {
	q := &quorum{leads: leads, interval: heartbeat, patience: 15 * heartbeat, now: now, seen: now()}
	q.lost, q.cancel = context.WithCancel(context.Background())
	return q
}

// Run watches until the context ends.
func (q *quorum) Run(ctx context.Context) error {
	ticker := time.NewTicker(q.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			q.mu.Lock()
			defer q.mu.Unlock()
			q.cancel()
			return ctx.Err()
		case <-ticker.C:
			q.look()
		}
	}
}

// look finds out whether there is a quorum, and returns the context that ends
// when there is none.
func (q *quorum) look() context.Context {
	leads, now := q.leads(), q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if leads {
		q.seen = now
	}
	switch {
	case now.Sub(q.seen) >= q.patience:
		q.cancel()
	case q.lost.Err() != nil:
		q.lost, q.cancel = context.WithCancel(context.Background())
	}
	return q.lost
}

// While is a store.While: the context that it returns ends with the given one, or
// when there has been no quorum for a while.
func (q *quorum) While(ctx context.Context) (context.Context, func()) {
	q.mu.Lock()
	lost := q.lost
	q.mu.Unlock()
	if lost.Err() != nil { // it may be back, and Run looks now and then only
		lost = q.look()
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(lost, cancel)
	return ctx, func() { stop(); cancel() }
}
