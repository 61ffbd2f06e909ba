package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// A desk knows which messages are in the hands of consumers.
type desk struct {
	mu     sync.Mutex
	held   map[string]*held
	closed bool
}

// A held is a message that a consumer has: until its time is over, or for as long
// as the consumer's stream stands.
type held struct {
	Delivery
	token string
	desk  *desk
	ended func() // called once, after it is out of the desk

	// under desk.mu
	timer *time.Timer // nil without a time
	until time.Time
	round uint64 // of the timer: one that fired before it was extended is late
}

// take enters a delivery. A hold of zero has no end of its own.
func (d *desk) take(m Delivery, hold time.Duration, ended func()) (*held, error) {
	h := &held{Delivery: m, token: uuid.NewString(), desk: d, ended: ended}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		m.Release()
		return nil, Refuse(ErrUnreachable, "the daemon is stopping", nil)
	}
	if d.held == nil {
		d.held = map[string]*held{}
	}
	d.held[h.token] = h
	if hold > 0 {
		h.extend(hold)
	}
	return h, nil
}

// extend sets the end of the hold anew. The caller holds desk.mu.
func (h *held) extend(hold time.Duration) {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.round++
	round := h.round
	h.until = time.Now().Add(hold)
	h.timer = time.AfterFunc(hold, func() { h.expire(round) })
}

// expire gives a message back whose time is over.
func (h *held) expire(round uint64) {
	h.desk.mu.Lock()
	late := h.round != round || h.desk.held[h.token] != h
	if !late {
		delete(h.desk.held, h.token)
	}
	h.desk.mu.Unlock()
	if !late {
		h.Release()
		h.ended()
	}
}

// find returns a delivery that stays in the desk.
func (d *desk) find(token string) (*held, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.held[token]; h != nil {
		return h, nil
	}
	return nil, notHeld(token)
}

func notHeld(token string) error {
	return Refuse(ErrNotFound, fmt.Sprintf("the delivery %.64q is not held: it was ended, its time was over or its stream has ended; the message is given to another consumer unless it was completed", token), nil)
}

// remove takes a delivery out of the desk: it is the caller's to end.
func (d *desk) remove(token string) (*held, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[token]
	if h == nil {
		return nil, notHeld(token)
	}
	delete(d.held, token)
	if h.timer != nil {
		h.timer.Stop()
	}
	return h, nil
}

// end ends a delivery in a way that may fail. Then the message is not the
// consumer's any more all the same: whether it was ended is not known.
func (d *desk) end(token string, how func(Delivery) error) error {
	h, err := d.remove(token)
	if err != nil {
		return err
	}
	defer h.ended()
	return how(h.Delivery)
}

// release gives a message back; it does nothing when it was ended already.
func (d *desk) release(token string) error {
	h, err := d.remove(token)
	if err == nil {
		h.Release()
		h.ended()
	}
	return err
}

// prolong gives a delivery with a time another one.
func (d *desk) prolong(token string, hold time.Duration) (time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[token]
	switch {
	case h == nil:
		return time.Time{}, notHeld(token)
	case h.timer == nil:
		return time.Time{}, usage("the message is held for as long as its stream stands: there is nothing to extend")
	}
	h.extend(hold)
	return h.until, nil
}

// message is what the consumer is told.
func (h *held) message() (MessageDelivery, error) {
	out := MessageDelivery{Delivery: h.token, Message: h.Message()}
	if out.Message.Size <= MaxInlineBody {
		var err error
		if out.Body, err = readAll(h.Delivery); err != nil {
			return out, err
		}
	}
	h.desk.mu.Lock()
	defer h.desk.mu.Unlock()
	if h.timer != nil {
		until := h.until.UTC()
		out.Until = &until
	}
	return out, nil
}

// close gives everything back, for good.
func (d *desk) close() {
	d.mu.Lock()
	d.closed = true
	var all []string
	for token := range d.held {
		all = append(all, token)
	}
	d.mu.Unlock()
	for _, token := range all {
		_ = d.release(token) // ended meanwhile: as good
	}
}

// lingering is how long a consumer that polls still counts as there between two
// polls.
const lingering = 15 * time.Second

// linger ends an attendance some time after ctx did.
func linger(ctx context.Context, leave func()) {
	context.AfterFunc(ctx, func() { time.AfterFunc(lingering, leave) })
}
