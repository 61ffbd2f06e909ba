package messages

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A reception is a Receive that waits.
type reception struct{ got chan *Delivery }

// A Delivery is a message in the hands of a handler outside of this process.
// Whoever received it must end it: when the handler's process goes away without
// an answer, by Release.
type Delivery struct {
	Message *Message

	node *Node
	in   *in
	over bool // under Node.mu
}

// Receive waits for the next message of a service, for a handler outside of this
// process. The message is held by the delivery until that is acknowledged or
// released. Several may receive from one service; each message goes to one.
func (n *Node) Receive(ctx context.Context, service string) (*Delivery, error) {
	if err := checkName("service", service); err != nil {
		return nil, err
	}
	r := &reception{got: make(chan *Delivery, 1)}
	n.mu.Lock()
	sv := n.service(service)
	if sv.server != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("service %s: %w", service, ErrServed)
	}
	sv.wanted = append(sv.wanted, r)
	n.pump(sv)
	n.mu.Unlock()
	var err error
	select {
	case d := <-r.got:
		return d.read()
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-n.life.Done():
		err = n.closed()
	}
	n.mu.Lock()
	if i := slices.Index(sv.wanted, r); i >= 0 {
		sv.wanted = slices.Delete(sv.wanted, i, i+1)
	}
	n.mu.Unlock()
	select {
	case d := <-r.got: // given in the last moment
		d.Release()
	default:
	}
	return nil, err
}

// deliver hands a message to the first Receive that waits. The caller holds mu and
// has seen that there is one.
func (n *Node) deliver(sv *service, q *inStream, x *in) {
	r := sv.wanted[0]
	sv.wanted = sv.wanted[1:]
	q.running, x.running = true, true
	sv.held++
	sv.running[x.env.priority]++
	r.got <- &Delivery{node: n, in: x}
}

func (d *Delivery) read() (*Delivery, error) {
	body, err := d.node.bodyOf(d.in)
	if err != nil {
		d.Release()
		return nil, err
	}
	d.Message = d.in.env.message(body)
	d.Message.Redelivered = d.in.redelivered
	return d, nil
}

// Ack completes the message: the handler has returned this result. It is on disk
// when Ack returns.
func (d *Delivery) Ack(ctx context.Context, result []byte) error {
	if len(result) > MaxResult {
		return fmt.Errorf("a result of %d bytes where %d are allowed: %w", len(result), MaxResult, ErrTooLarge)
	}
	return d.end(ctx, verdict{outcome: Done, result: slices.Clone(result)})
}

// Fail completes the message with an error.
func (d *Delivery) Fail(ctx context.Context, reason string) error {
	return d.end(ctx, verdictOf(nil, errors.New(reason)))
}

func (d *Delivery) end(ctx context.Context, v verdict) error {
	done := make(chan error, 1)
	n := d.node
	n.mu.Lock()
	if d.over {
		n.mu.Unlock()
		return fmt.Errorf("message %s: %w", d.in.env.id, ErrGone)
	}
	d.leave()
	n.finish(d.in, v, func(err error) { done <- err })
	n.pump(d.in.queue.service)
	n.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release gives the message back: it is delivered again, to whoever asks, and
// before all later ones of its stream. It does nothing after Ack or Fail.
func (d *Delivery) Release() {
	n := d.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if d.over {
		return
	}
	d.leave()
	d.in.running, d.in.redelivered = false, true
	n.kick(d.in.queue)
}

// leave ends the delivery's hold. The caller holds mu.
func (d *Delivery) leave() {
	d.over = true
	q := d.in.queue
	q.running = false
	q.service.held--
	q.service.running[d.in.env.priority]--
}
