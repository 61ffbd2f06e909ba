package messages

import (
	"context"

	"go.etcd.io/bbolt"
)

// A Handler handles one message. When it returns, the message is completed with
// its result or its error. It is called again when the filer stops before that is
// on disk: at least once. An error that wraps ErrLater has it called again too.
//
// The context ends when the node closes. The body can be read until the handler
// returns.
type Handler func(ctx context.Context, m *Message) (result []byte, err error)

// A TxHandler handles one message inside a transaction: what it writes through tx
// and the completion are on disk together or not at all, so the effect happens
// exactly once. It may be called more than once, each time without any effect of
// the earlier calls; one that returns an error has none. It must be quick and must
// not wait: others' transactions wait for it.
type TxHandler func(tx *Tx, m *Message) (result []byte, err error)

// A Tx is what a TxHandler may write to.
type Tx struct {
	tx     *bbolt.Tx
	bucket *bbolt.Bucket
}

// Bucket is the service's own part of the inbox's file. It outlives restarts.
func (t *Tx) Bucket() *bbolt.Bucket { return t.bucket }

// Serve handles a service's messages from now on, those that already wait first.
// The returned function ends that and waits for the handlers that run.
func (n *Node) Serve(service string, h Handler) (stop func(), err error) { return nil, ErrClosed }

// ServeTx is Serve for a transactional handler.
func (n *Node) ServeTx(service string, h TxHandler) (stop func(), err error) { return nil, ErrClosed }

// View reads a service's own bucket, which is nil before anything was written.
func (n *Node) View(service string, read func(*bbolt.Bucket) error) error { return ErrClosed }

// Receive waits for the next message of a service, for a handler outside of this
// process. The message is held by the delivery until that is acknowledged or
// released. Several may receive from one service; each message goes to one.
func (n *Node) Receive(ctx context.Context, service string) (*Delivery, error) {
	return nil, ErrClosed
}

// A Delivery is a message in the hands of a handler outside of this process.
// Whoever received it must end it: when the handler's process goes away without
// an answer, by Release.
type Delivery struct {
	Message *Message
}

// Ack completes the message: the handler has returned this result. It is on disk
// when Ack returns.
func (d *Delivery) Ack(ctx context.Context, result []byte) error { return ErrClosed }

// Fail completes the message with an error.
func (d *Delivery) Fail(ctx context.Context, reason string) error { return ErrClosed }

// Release gives the message back: it is delivered again, to whoever asks, and
// before all later ones of its stream. It does nothing after Ack or Fail.
func (d *Delivery) Release() {}
