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
	lost   context.Context // ends when nobody has led for as long as patience
	cancel context.CancelFunc
}

func newQuorum(leads func() bool, heartbeat time.Duration, now func() time.Time) *quorum {
	q := &quorum{leads: leads, interval: heartbeat, patience: 15 * heartbeat, now: now}
	q.lost, q.cancel = context.WithCancel(context.Background())
	return q
}

// Run watches until the context ends.
func (q *quorum) Run(ctx context.Context) error {
	ticker := time.NewTicker(q.interval)
	defer ticker.Stop()
	since := q.now()
	for {
		select {
		case <-ctx.Done():
			q.cancel()
			return ctx.Err()
		case <-ticker.C:
		}
		if q.leads() {
			since = q.now()
		}
		q.update(q.now().Sub(since) < q.patience)
	}
}

func (q *quorum) update(there bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !there:
		q.cancel()
	case q.lost.Err() != nil:
		q.lost, q.cancel = context.WithCancel(context.Background())
	}
}

// While returns a context that ends with the given one, or when there has been
// no quorum for a while. The second result releases it.
func (q *quorum) While(ctx context.Context) (context.Context, func()) {
	q.mu.Lock()
	lost := q.lost
	q.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(lost, cancel)
	return ctx, func() { stop(); cancel() }
}
