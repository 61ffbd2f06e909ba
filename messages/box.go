package messages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// A Box is where one named client of this filer sends from and finds its
// completions. It outlives the client's process and the daemon's.
type Box struct {
	node   *Node
	client string
}

// Box returns the client's box. The name is the client's for ever: two programs
// that share one share their completions.
func (n *Node) Box(client string) (*Box, error) {
	if err := checkName("client", client); err != nil {
		return nil, err
	}
	return &Box{node: n, client: client}, nil
}

// Send sends a message. It is on this filer's disk when Send returns, and will be
// delivered whatever happens to processes and paths. While the outbox is full Send
// waits for room, and returns ErrFull when the context ends before; a context that
// has ended already asks not to wait at all.
func (b *Box) Send(ctx context.Context, m Message) (ID, error) {
	o, err := b.node.send(ctx, b.client, m, nil)
	if err != nil {
		return ID{}, fmt.Errorf("sending to %s: %w", m.To, err)
	}
	return o.env.id, nil
}

// Call sends a message and waits for its completion, which it takes out of the
// box. When the context ends before, the error wraps ErrPending, the completion
// has the id and nothing else, and stays in the box when it comes. A completion
// that is not Done is returned with its Err.
func (b *Box) Call(ctx context.Context, m Message) (Completion, error) {
	n := b.node
	wait := make(chan Completion, 1)
	o, err := n.send(ctx, b.client, m, wait)
	if err != nil {
		return Completion{}, fmt.Errorf("calling %s: %w", m.To, err)
	}
	id := o.env.id
	select {
	case c := <-wait:
		return c, c.Err()
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-n.life.Done():
		err = n.closed()
	}
	n.mu.Lock()
	waiting := n.calls[id] == wait
	delete(n.calls, id)
	n.mu.Unlock()
	if !waiting { // it is being completed, for us and for nobody else
		select {
		case c := <-wait:
			return c, c.Err()
		case <-n.life.Done():
		}
	}
	return Completion{ID: id}, fmt.Errorf("calling %s: %w: %s: %w", m.To, ErrPending, id, err)
}

// Completions returns up to max completions of the client after a position, in
// the order in which they came; the position 0 is before all. While there are none
// it waits. They stay in the box until they are forgotten, so that a client that
// comes back after a crash begins at 0 and misses none.
func (b *Box) Completions(ctx context.Context, after uint64, max int) ([]Completion, error) {
	n := b.node
	for {
		n.mu.Lock()
		c := n.client(b.client)
		arrived := c.arrived
		from, _ := slices.BinarySearchFunc(c.kept, after, func(k *kept, p uint64) int {
			if k.position <= p {
				return -1
			}
			return 1
		})
		var keys [][]byte
		for _, k := range c.kept[from:] {
			if len(keys) == max {
				break
			}
			if !k.gone {
				keys = append(keys, doneKey(b.client, k.position))
			}
		}
		n.mu.Unlock()
		out, err := n.readDone(keys)
		if len(out) > 0 || err != nil {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-n.life.Done():
			return nil, n.closed()
		case <-arrived:
		}
	}
}

// readDone reads completions; one that was forgotten meanwhile is left out.
func (n *Node) readDone(keys [][]byte) (out []Completion, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	err = n.db.View(func(tx *bbolt.Tx) error {
		for _, k := range keys {
			v := tx.Bucket(bucketDone).Get(k)
			if v == nil {
				continue
			}
			r, err := parseDone(v, n.cfg.Self)
			if err != nil {
				return err
			}
			out = append(out, r.completion(k))
		}
		return nil
	})
	return out, err
}

// Forget takes completions out of the box. Those that are not in it are ignored.
func (b *Box) Forget(ctx context.Context, ids ...ID) error {
	n := b.node
	n.mu.Lock()
	c := n.clients[b.client]
	if c == nil {
		n.mu.Unlock()
		return nil
	}
	var list []*kept
	for _, id := range ids {
		if k := c.bySeq[id.Seq]; k != nil && k.id == id && !k.gone {
			list = append(list, k)
		}
	}
	done := n.drop(c, list)
	n.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drop deletes completions from a box.
func (n *Node) drop(c *client, list []*kept) <-chan error {
	done := make(chan error, 1)
	if len(list) == 0 {
		done <- nil
		return done
	}
	for _, k := range list {
		k.gone = true
	}
	n.commits.submit(Control, &op{
		do: func(tx *bbolt.Tx) error {
			for _, k := range list {
				if err := tx.Bucket(bucketDone).Delete(doneKey(c.name, k.position)); err != nil {
					return err
				}
			}
			return nil
		},
		book: func(err error) {
			if err != nil {
				return
			}
			for _, k := range list {
				delete(c.bySeq, k.id.Seq)
				c.bytes -= k.size
			}
			c.kept = slices.DeleteFunc(c.kept, func(k *kept) bool { return k.gone && c.bySeq[k.id.Seq] != k })
		},
		done:  func(err error) { done <- err },
		bytes: 32 * len(list),
	})
	return done
}

// A PendingMessage is one that has no completion yet.
type PendingMessage struct {
	ID       ID        `json:"id"`
	To       Target    `json:"to"`
	Stream   string    `json:"stream,omitempty"`
	Priority Priority  `json:"priority"`
	Size     int64     `json:"size"`
	Sent     time.Time `json:"sent"`
	State    string    `json:"state"`             // waiting, sent, accepted
	At       string    `json:"at,omitempty"`      // the filer that it was last sent to
	Attempt  uint32    `json:"attempt,omitempty"` // how often it was given a target
	Waiting  string    `json:"waiting,omitempty"` // what it waits for
}

// Pending returns up to max messages of the client that have no completion yet,
// the oldest first; all when max is 0.
func (b *Box) Pending(max int) []PendingMessage {
	n := b.node
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []PendingMessage
	if c := n.clients[b.client]; c != nil {
		for _, o := range c.outs {
			if max > 0 && len(out) == max {
				break
			}
			if o.durable {
				out = append(out, n.pendingOf(o))
			}
		}
	}
	return out
}

// Resend asks the targets of all pending messages again what became of them.
// Nothing needs it: a reconnect does the same.
func (b *Box) Resend() {
	n := b.node
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, s := range n.lines {
		if key.client == b.client {
			s.rewind()
			n.route(s)
		}
	}
}

// Withdraw gives a pending message up. Its completion has the outcome Withdrawn;
// whether a handler saw it is not known.
func (b *Box) Withdraw(ctx context.Context, id ID) error {
	n := b.node
	n.mu.Lock()
	o := n.out(id)
	if o == nil || id.Client != b.client || o.completing || !o.durable {
		n.mu.Unlock()
		return fmt.Errorf("withdrawing %s: %w", id, ErrUnknown)
	}
	done := make(chan error, 1)
	n.complete(o, "", verdict{outcome: Withdrawn}, func(err error) { done <- err })
	n.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// admit waits until the client may have one more message.
func (n *Node) admit(ctx context.Context, name string) (*client, error) {
	for first := true; ; first = false {
		n.mu.Lock()
		c := n.client(name)
		if c.pending < n.cfg.Limits.MaxPending {
			c.pending++
			n.mu.Unlock()
			return c, nil
		}
		if first {
			n.counts.Full++
		}
		freed := c.freed
		n.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %d messages of %s have no completion yet: %w", ErrFull, n.cfg.Limits.MaxPending, name, context.Cause(ctx))
		case <-n.life.Done():
			return nil, n.closed()
		}
	}
}

// errSpool tells what of the outbox is full.
var errSpool = errors.New("the spool is full")
