package link

import (
	"sync"
	"sync/atomic"
	"time"
)

// A deadline is a time, which may change, at which a call that waits is woken. The
// call waits at one channel for all that it can be woken for: that costs half of
// waiting at two.
type deadline struct {
	wake func()
	over atomic.Bool // it has come

	mu    sync.Mutex
	timer *time.Timer
	turn  int // of set: an earlier one's timer may be late
}

// set changes the time; zero is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.over.Store(false)
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.over.Store(true)
		d.wake()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(left, func() { d.come(turn) })
}

func (d *deadline) come(turn int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if turn == d.turn {
		d.over.Store(true)
		d.wake()
	}
}

func (d *deadline) passed() bool { return d.over.Load() }
