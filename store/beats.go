package store

import (
	"sync"
	"time"
)

// beats remembers when each filer's last heartbeat came.
type beats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (b *beats) note(from []byte, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = map[string]time.Time{}
	}
	b.last[string(from)] = at
}

func (b *beats) of(from []byte) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[string(from)]
}
