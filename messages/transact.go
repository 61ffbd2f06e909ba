package messages

import (
	"errors"

	"go.etcd.io/bbolt"
)

var (
	errHalted    = errors.New("an earlier message of the stream was not handled")
	errNotHosted = errors.New("the server is not hosted here in the message's epoch")
)

// maxInTx bounds how many messages of one stream are handled in one go.
const maxInTx = 256

// transact has a stream's messages handled by a transactional handler, in order,
// as many in one transaction as there are. The caller holds mu.
func (n *Node) transact(q *inStream, h TxHandler) {
	for _, x := range q.waiting {
		if x.state != inPending || x.writing || x.running || q.inTx == maxInTx {
			break
		}
		x.running = true
		q.inTx++
		q.running = true
		q.service.running[x.env.priority]++
		n.transactOne(q, x, h)
	}
}

func (n *Node) transactOne(q *inStream, x *in, h TxHandler) {
	var result int
	hostedHere := func() error {
		if n.standing(&x.env) != hosted {
			return errNotHosted
		}
		return nil
	}
	n.commits.submit(x.env.priority, &op{
		do: func(tx *bbolt.Tx) (err error) {
			n.mu.Lock()
			halted := q.halted
			n.mu.Unlock()
			if halted {
				return errHalted
			}
			if err := hostedHere(); err != nil {
				return err
			}
			result, err = n.inTransaction(tx, x, h)
			return err
		},
		// The server may have moved while the handler and others of the same
		// transaction ran.
		verify: hostedHere,
		bytes:  512 + int(min(x.env.size, MaxInline)),
		book: func(err error) {
			q.inTx--
			q.service.running[x.env.priority]--
			x.running = false
			n.transacted(q, x, result, err)
			if q.inTx == 0 {
				q.halted, q.running = false, false
				n.kick(q)
				n.tidy(q)
			}
		},
	})
}

// inTransaction calls the handler and writes the completion beside its effect.
func (n *Node) inTransaction(tx *bbolt.Tx, x *in, h TxHandler) (size int, err error) {
	b, key := tx.Bucket(bucketIn), idKey(x.env.id)
	r, err := parseIn(b.Get(key), x.env.id.Filer)
	if err != nil {
		return 0, err
	}
	bucket, err := tx.Bucket(bucketApps).CreateBucketIfNotExists([]byte(x.env.to.Service))
	if err != nil {
		return 0, err
	}
	body := Bytes(append([]byte(nil), r.inline...))
	if x.env.spooled {
		body = Body{size: x.env.size, path: n.spool.path(x.file)}
	}
	m := x.env.message(body)
	m.Redelivered = x.redelivered
	result, err := n.protect(x, func() ([]byte, error) { return h(&Tx{bucket: bucket}, m) })
	v := verdictOf(result, err)
	if v.outcome != Done {
		if err == nil {
			err = errors.New(v.reason)
		}
		return 0, err // takes the effect with it
	}
	v.epoch = x.env.epoch
	done := inRecord{env: x.env, state: inCompleted, at: n.cfg.Clock.Now(), verdict: v}
	return len(result), b.Put(key, done.encode())
}

// transacted follows the end of one handler's transaction. After a failure the
// later ones of the stream that were on their way give up too, and are tried again
// when it is known what becomes of this one.
func (n *Node) transacted(q *inStream, x *in, result int, err error) {
	switch {
	case err == nil:
		n.retire(x)
		x.state, x.at, x.result = inCompleted, n.cfg.Clock.Now(), result
		n.handled(x)
	case errors.Is(err, errHalted), errors.Is(err, errNotHosted):
		q.halted = true
	case errors.Is(err, ErrDisk), errors.Is(err, ErrClosed):
		q.halted = true
	case errors.Is(err, ErrLater):
		q.halted = true
		n.giveBack(x)
	default:
		q.halted = true
		n.finish(x, verdictOf(nil, err), func(error) {})
	}
}
