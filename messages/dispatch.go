package messages

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// patience is how long a message waits here while this filer does not know
// whether it hosts the server. Then it goes back: its sender may know more.
const patience = 10 * time.Second

// laterAfter is how long a handler that asked to be called later is left alone.
const laterAfter = 250 * time.Millisecond

// kick has the first message of a stream handled, if it may be now. The caller
// holds mu.
func (n *Node) kick(q *inStream) {
	if q.running || n.running == nil || n.life.Err() != nil || len(q.waiting) == 0 {
		return
	}
	x := q.waiting[0]
	if x.state != inPending || x.writing || x.running {
		return
	}
	if len(q.refused) > 0 && q.refused[0].env.id.Seq < x.env.id.Seq {
		n.refuseWaiting(q, x.env.epoch+1) // an earlier one goes elsewhere, and these after it
		return
	}
	now := n.cfg.Clock.Now()
	switch n.standing(&x.env) {
	case elsewhere:
		n.refuseWaiting(q, n.cfg.Hosts.Epoch(q.key.to.Server))
		return
	case unsettled:
		if q.since.IsZero() {
			q.since = now
		}
		if q.postponed = true; now.Sub(q.since) >= patience {
			n.refuseWaiting(q, x.env.epoch+1)
		}
		return
	}
	q.since = time.Time{}
	if now.Before(q.until) {
		return
	}
	q.postponed = false
	if !q.listed {
		q.listed = true
		list := &q.service.list[q.key.priority]
		*list = append(*list, q)
	}
	n.pump(q.service)
}

// refuseWaiting refuses what waits in a stream for an epoch before the given one
// and has not begun. The caller holds mu.
func (n *Node) refuseWaiting(q *inStream, epoch uint64) {
	for _, x := range append([]*in(nil), q.waiting...) {
		if !x.running && !x.writing && !x.sealing && x.env.epoch < epoch {
			n.refuse(x)
		}
	}
}

// refuse makes sure on disk that this attempt of a message will not be handled
// here. Only then its sender hears of it.
func (n *Node) refuse(x *in) {
	q := x.queue
	n.retire(x)
	x.state, x.writing, x.at, x.place = inRefused, true, n.cfg.Clock.Now(), n.placeOf(q.key.to.Server)
	q.refused = insert(q.refused, x)
	q.since = time.Time{}
	n.counts.Refused++
	r := inRecord{env: x.env, state: inRefused, at: x.at, place: x.place}
	n.write(x, &r, 256, func() {
		n.release(x)
		n.answer(x)
	})
}

// retire takes a message from those that wait.
func (n *Node) retire(x *in) {
	q := x.queue
	q.waiting = remove(q.waiting, x)
	q.service.waiting--
	n.roomAgain(q.service)
}

// roomAgain tells senders that wait for a service's queue, when half of it is
// free.
func (n *Node) roomAgain(sv *service) {
	if !sv.full || sv.waiting > n.cfg.Limits.MaxInbox/2 {
		return
	}
	sv.full = false
	for _, s := range n.sessions {
		s.note(func(b []byte) []byte { return appendReady(b, sv.name) })
	}
}

// finish completes a message that a handler has had. The caller holds mu; then is
// called when it is on disk, without it.
func (n *Node) finish(x *in, v verdict, then func(error)) {
	q := x.queue
	n.retire(x)
	v.epoch = x.env.epoch
	x.state, x.writing, x.running, x.at, x.result = inCompleted, true, false, n.cfg.Clock.Now(), len(v.result)
	r := inRecord{env: x.env, state: inCompleted, at: x.at, verdict: v}
	n.commits.submit(x.env.priority, &op{
		do:    func(tx *bbolt.Tx) error { return tx.Bucket(bucketIn).Put(idKey(r.env.id), r.encode()) },
		bytes: 256 + len(v.result),
		book: func(err error) {
			if err == nil {
				x.writing = false
				n.handled(x)
			}
		},
		done: then,
	})
	n.kick(q)
	n.tidy(q)
}

// handled follows a completion that is on disk.
func (n *Node) handled(x *in) {
	n.counts.Handled++
	n.release(x)
	n.answer(x)
}

// verdictOf makes a completion of what a handler returned.
func verdictOf(result []byte, err error) verdict {
	switch {
	case err != nil:
		return verdict{outcome: Failed, reason: clip(err.Error())}
	case len(result) > MaxResult:
		return verdict{outcome: Failed, reason: fmt.Sprintf("the handler's result of %d bytes: %v", len(result), ErrTooLarge)}
	}
	return verdict{outcome: Done, result: result}
}

// bodyOf returns what a handler reads.
func (n *Node) bodyOf(x *in) (Body, error) {
	if x.env.spooled {
		return Body{size: x.env.size, path: n.spool.path(x.file)}, nil
	}
	var b Body
	err := n.db.View(func(tx *bbolt.Tx) error {
		r, err := parseIn(tx.Bucket(bucketIn).Get(idKey(x.env.id)), x.env.id.Filer)
		b = Bytes(append([]byte(nil), r.inline...))
		return err
	})
	return b, err
}

// handle runs a handler for one message.
func (n *Node) handle(ctx context.Context, h Handler, x *in) {
	body, err := n.bodyOf(x)
	var result []byte
	if err == nil {
		m := x.env.message(body)
		m.Redelivered = x.redelivered
		result, err = n.protect(x, func() ([]byte, error) { return h(ctx, m) })
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	q := x.queue
	q.running = false
	q.service.running[x.env.priority]--
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrLater)) {
		n.giveBack(x)
	} else {
		n.finish(x, verdictOf(result, err), func(error) {})
	}
	n.pump(q.service)
}

// giveBack lets a message be handled again, a little later. The caller holds mu.
func (n *Node) giveBack(x *in) {
	q := x.queue
	x.running, x.redelivered = false, true
	q.postponed, q.until = true, n.cfg.Clock.Now().Add(laterAfter)
}

// protect makes an error of a handler's panic: one message must not end the daemon
// again and again.
func (n *Node) protect(x *in, f func() ([]byte, error)) (result []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			n.log.Error("a handler panicked", "service", x.env.to.Service, "message", x.env.id, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("the handler panicked: %v", v)
		}
	}()
	return f()
}
