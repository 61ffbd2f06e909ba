package link

import (
	"sync"
	"sync/atomic"
	"time"
)

// A deadline is a channel that is closed when a time has come; the time may
// change.
type deadline struct {
	mu    *sync.Mutex
	timer *time.Timer
	over  chan struct{}
	armed atomic.Bool // there is a time: most streams never have one
}

func newDeadline() deadline { return deadline{mu: &sync.Mutex{}, over: make(chan struct{})} }

// set changes the time; zero is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // its function has run or is about to: the channel must not be replaced before
	}
	d.timer = nil
	d.armed.Store(!t.IsZero())
	over := false
	select {
	case <-d.over:
		over = true
	default:
	}
	if t.IsZero() {
		if over {
			d.over = make(chan struct{})
		}
		return
	}
	left := time.Until(t)
	if left <= 0 {
		if !over {
			close(d.over)
		}
		return
	}
	if over {
		d.over = make(chan struct{})
	}
	ch := d.over
	d.timer = time.AfterFunc(left, func() { close(ch) })
}

// wait returns the channel.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *deadline) passed() bool {
	if !d.armed.Load() {
		return false
	}
	select {
	case <-d.wait():
		return true
	default:
		return false
	}
}
