package calls

import (
	"io"
	"runtime"
	"sync"
)

// An outbox writes frames. Whoever adds one when nobody writes becomes the writer,
// of its own frame and of all that others add meanwhile: a single caller writes at
// once, and many share a write.
type outbox struct {
	w   io.Writer
	try func([]byte) error // writes all or nothing, and never waits; may be nil

	mu      sync.Mutex
	room    *sync.Cond // pending became shorter, the writing ended, or err was set
	pending []byte
	spare   []byte
	writing bool
	err     error
	flushes sync.WaitGroup // goroutines that post started
}

// Bounds of what waits to be written: whoever adds more waits, so that a peer
// that does not read holds up its callers and not the memory. maxSpare is what is
// kept of the space for the next.
const (
	maxPending = 1 << 20
	maxSpare   = 64 << 10
)

func newOutbox(w io.Writer) *outbox {
	o := &outbox{w: w}
	if t, ok := w.(interface{ TryWrite([]byte) error }); ok {
		o.try = t.TryWrite
	}
	o.room = sync.NewCond(&o.mu)
	return o
}

// add sends a frame. It returns when that was written or another caller has taken
// it over; an error is final for the connection. others says that other calls are under
// way.
func (o *outbox) add(kind byte, call uint32, head, body []byte, others bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.pending) > maxPending && o.err == nil {
		o.room.Wait()
	}
	if o.err != nil {
		return o.err
	}
	o.pending = appendFrame(o.pending, kind, call, head, body)
	if o.writing {
		return nil
	}
	o.writing = true
	if others {
		// They may be ready to run and have frames too: those go with this one. A
		// lonely call must not do so, since it wakes an idle processor for nothing.
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	o.flush()
	return o.err
}

// flush writes all that waits. o.mu is held, and o.writing set by the caller.
func (o *outbox) flush() {
	for len(o.pending) > 0 && o.err == nil {
		now := o.pending
		o.pending, o.spare = o.spare[:0], nil
		o.mu.Unlock()
		_, err := o.w.Write(now)
		o.mu.Lock()
		if o.err == nil {
			o.err = err
		}
		if cap(now) <= maxSpare {
			o.spare = now[:0]
		}
		o.room.Broadcast()
	}
	o.writing = false
	o.room.Broadcast()
}

// drain waits until all that was added is written, or cannot be.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.room.Wait()
	}
}

// post sends a frame, and never waits: it is for those who read the connection. It
// reports how much waits to be written.
func (o *outbox) post(kind byte, call uint32, head, body []byte) (waiting int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	o.pending = appendFrame(o.pending, kind, call, head, body)
	if o.writing {
		return len(o.pending), nil
	}
	if o.try != nil && o.try(o.pending) == nil {
		o.pending = o.pending[:0]
		if cap(o.pending) > maxSpare {
			o.pending = nil
		}
		return 0, nil
	}
	o.writing = true // what the trouble is, if any, the writer finds out
	o.flushes.Go(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.flush()
	})
	return len(o.pending), nil
}

// fail ends the outbox: nothing more is sent.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.room.Broadcast()
}
