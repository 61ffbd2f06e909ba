package messages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

// An out is a message in the outbox, less its body. All is under Node.mu.
type out struct {
	env  envelope
	file string            // of a spooled body
	at   netquorum.FilerID // the target of this attempt; empty while it has none
	line *outStream
	key  string // of SendOnce, until it is on disk

	reserves   uint64 // numbers below it, in the transaction that writes the message
	durable    bool   // on disk
	moving     bool   // another target is being written
	exposed    bool   // at may have it
	refused    bool   // by at
	sent       bool   // over this session
	put        bool   // over any session since the start
	accepted   bool   // on at's disk
	completing bool   // its completion is being written
}

// ends are the channels over which senders hear of their messages: each is sent one
// value and read once.
var ends = sync.Pool{New: func() any { return make(chan error, 1) }}

// send puts a message into the outbox and returns when it is on disk. wait, when
// given, receives the completion instead of the box.
func (n *Node) send(ctx context.Context, name string, m Message, wait chan Completion) (*out, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	c, err := n.admit(ctx, name)
	if err != nil {
		return nil, err
	}
	o := &out{key: m.key, env: envelope{
		to: m.To, stream: m.Stream, priority: m.Priority, discard: m.Discard, trace: m.Trace,
		sent: n.cfg.Clock.Now(), size: m.Body.size,
	}}
	inline, err := n.fill(ctx, o, m.Body)
	if err != nil {
		n.mu.Lock()
		c.release()
		n.mu.Unlock()
		return nil, err
	}
	cost := int64(len(inline) + 256)
	if err := n.acquire(ctx, m.Priority, cost); err != nil {
		n.mu.Lock()
		c.release()
		n.mu.Unlock()
		n.discardBody(o)
		return nil, err
	}
	priority, done := m.Priority, ends.Get().(chan error)
	n.commits.submit(priority, &op{
		begin: func() {
			o.env.id = ID{Filer: n.cfg.Self, Client: name, Incarnation: c.incarnation, Seq: c.next}
			c.next++
			c.outs = append(c.outs, o)
			if wait != nil {
				n.calls[o.env.id] = wait
			}
			n.enter(o)
		},
		do:    func(tx *bbolt.Tx) error { return n.writeOut(tx, c, o, inline) },
		bytes: int(cost),
		book: func(err error) {
			n.room[priority].Release(cost)
			if err != nil {
				if o.line != nil {
					delete(n.calls, o.env.id)
					n.leave(o)
				}
				c.release()
				return
			}
			o.durable = true
			c.reserved = max(c.reserved, o.reserves)
			n.counts.Sent++
			n.route(o.line)
		},
		done: func(err error) { done <- err },
	})
	err = <-done // the disk takes no longer than it must
	ends.Put(done)
	if err != nil {
		n.discardBody(o)
		return nil, err
	}
	return o, nil
}

// acquire waits for room among what is on its way to the disk.
func (n *Node) acquire(ctx context.Context, p Priority, cost int64) error {
	if n.room[p].TryAcquire(cost) {
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(n.life, func() { stop(n.closed()) })()
	if err := n.room[p].Acquire(ctx, cost); err != nil {
		if cause := n.closed(); cause != nil {
			return cause
		}
		return fmt.Errorf("%w: the disk is slower than the senders: %w", ErrFull, context.Cause(ctx))
	}
	return nil
}

// fill takes a message's body: small ones into memory, others into the spool.
func (n *Node) fill(ctx context.Context, o *out, b Body) (inline []byte, err error) {
	limit := n.cfg.Limits.MaxBody
	if b.size > limit {
		return nil, fmt.Errorf("a body of %d bytes where %d are allowed: %w", b.size, limit, ErrTooLarge)
	}
	if b.size >= 0 && b.size <= MaxInline {
		inline, err = b.Bytes(b.size)
		if err == nil && int64(len(inline)) != b.size {
			err = fmt.Errorf("a body of %d bytes ended after %d", b.size, len(inline))
		}
		return inline, err
	}
	asked := b.size
	if asked < 0 {
		asked = limit
	}
	if free := n.cfg.Limits.MaxSpool - n.spool.out.Load(); b.size < 0 {
		asked = min(asked, max(free, 0))
	}
	if !reserve(&n.spool.out, asked, n.cfg.Limits.MaxSpool) {
		return nil, fmt.Errorf("%w: %w: it holds %d of %d bytes", ErrFull, errSpool, n.spool.out.Load(), n.cfg.Limits.MaxSpool)
	}
	r, err := b.Open()
	if err != nil {
		n.spool.out.Add(-asked)
		return nil, err
	}
	defer r.Close()
	o.env.spooled = true
	o.file, o.env.size, o.env.sum, err = n.spool.write(interruptible{ctx, r}, b.size, asked)
	n.spool.out.Add(o.env.size - asked)
	return nil, err
}

// interruptible ends a reader's reading with a context, between two reads.
type interruptible struct {
	ctx context.Context
	r   interface{ Read([]byte) (int, error) }
}

func (i interruptible) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.r.Read(p)
}

func (n *Node) discardBody(o *out) {
	if o.env.spooled {
		n.spool.remove(o.file)
		n.spool.out.Add(-o.env.size)
	}
}

// out returns a message without a completion, nil when there is none. The caller
// holds mu.
func (n *Node) out(id ID) *out {
	if c := n.clients[id.Client]; c != nil {
		if i, ok := findOut(c.outs, id.Seq); ok && c.outs[i].env.id == id {
			return c.outs[i]
		}
	}
	return nil
}

// writeOut writes a new message with its first target: until that is on disk
// nothing about the message changes.
func (n *Node) writeOut(tx *bbolt.Tx, c *client, o *out, inline []byte) error {
	r := outRecord{env: o.env, at: o.at, file: o.file, inline: inline}
	if r.env.id.Seq >= c.reserved {
		bound, err := c.reserve(tx, r.env.id.Seq, 0)
		if err != nil {
			return err
		}
		o.reserves = bound
	}
	return errors.Join(rising(tx, bucketOut).Put(idKey(r.env.id), r.encode()), writeKey(tx, o))
}

func (n *Node) loadOut(v []byte, named map[string]bool) error {
	r, err := parseOut(v, n.cfg.Self)
	if err != nil {
		return err
	}
	o := &out{env: r.env, file: r.file, at: r.at, durable: true, exposed: r.at != ""}
	if r.env.spooled {
		named[r.file] = true
		n.spool.out.Add(r.env.size)
	}
	c := n.client(r.env.id.Client)
	c.pending++
	c.outs = append(c.outs, o) // they are loaded in this order
	n.enter(o)
	return nil
}

// complete writes how a message ended and takes it out of the outbox. The caller
// holds mu.
func (n *Node) complete(o *out, by netquorum.FilerID, v verdict, then func(error)) {
	if o.completing {
		then(fmt.Errorf("%s: %w", o.env.id, ErrUnknown))
		return
	}
	o.completing = true
	o.line.resolve(o)
	id, c := o.env.id, n.client(o.env.id.Client)
	r := doneRecord{id: id, by: by, at: n.cfg.Clock.Now(), verdict: v}
	wait := n.calls[id]
	delete(n.calls, id)
	keep := !o.env.discard && wait == nil
	var position uint64
	n.commits.submit(o.env.priority, &op{
		do: func(tx *bbolt.Tx) error {
			if err := tx.Bucket(bucketOut).Delete(idKey(id)); err != nil || !keep {
				return err
			}
			n.mu.Lock()
			position = c.position
			c.position++
			n.mu.Unlock()
			if _, err := c.reserve(tx, 0, position); err != nil {
				return err
			}
			return tx.Bucket(bucketDone).Put(doneKey(id.Client, position), r.encode())
		},
		bytes: 128 + len(v.result),
		book: func(err error) {
			if err != nil {
				return // the disk has failed
			}
			n.completed(o, c, by)
			if keep {
				c.keep(&kept{position: position, id: id, size: int64(len(v.result)) + keptOverhead, at: r.at})
				c.announce()
				n.expire(c)
			}
		},
		done: func(err error) {
			if err == nil {
				n.discardBody(o)
				if wait != nil {
					wait <- r.completion(nil)
				}
			}
			then(err)
		},
	})
}

// completed follows a completion that is on disk.
func (n *Node) completed(o *out, c *client, by netquorum.FilerID) {
	n.counts.Completed++
	n.leave(o)
	c.release()
	n.route(o.line)
	if by == "" { // whoever turned it away must not wait for it
		by = o.at
	}
	if p := n.peers[by]; p != nil {
		p.settle(o.env.id, o.env.priority, o.env.attempt)
	}
}

func (r *doneRecord) completion(key []byte) Completion {
	var position uint64
	for _, b := range key[max(0, len(key)-8):] {
		position = position<<8 | uint64(b)
	}
	return Completion{
		Position: position, ID: r.id, Outcome: r.outcome, Result: slices.Clone(r.result), Error: r.reason,
		By: r.by, Epoch: r.epoch, At: r.at,
	}
}
