package messages

import (
	"context"
	"fmt"
	"sync"

	"go.etcd.io/bbolt"
)

// A Handler handles one message. When it returns, the message is completed with
// its result or its error. It is called again when the filer stops before that is
// on disk: at least once. An error that wraps ErrLater has it called again too.
//
// The context ends when the node closes or the service is stopped; an error after
// that does not complete the message. The body can be read until the handler
// returns.
type Handler func(ctx context.Context, m *Message) (result []byte, err error)

// A TxHandler handles one message inside a transaction: what it writes through tx
// and the completion are on disk together or not at all, so the effect happens
// exactly once. It may be called more than once, each time without any effect of
// the earlier calls; one that returns an error has none. It must be quick and must
// not wait: others' transactions wait for it. It must not use the node.
type TxHandler func(tx *Tx, m *Message) (result []byte, err error)

// A Tx is what a TxHandler may write to.
type Tx struct{ bucket *bbolt.Bucket }

// Bucket is the service's own part of the inbox's file. It outlives restarts.
func (t *Tx) Bucket() *bbolt.Bucket { return t.bucket }

// A service is a name on this filer to which messages are sent, served or not.
type service struct {
	name    string
	server  *serving       // nil while it has no handler
	wanted  []*reception   // Receive calls that wait
	held    int            // deliveries that are not ended
	waiting int            // messages without an end
	running [2]int         // of those in a handler, by priority
	list    [2][]*inStream // whose first message may be handled, by priority
	full    bool           // a sender was turned away
}

// A serving is one call of Serve or ServeTx.
type serving struct {
	handler Handler
	tx      TxHandler
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// service returns the books of a service. The caller holds mu.
func (n *Node) service(name string) *service {
	sv := n.services[name]
	if sv == nil {
		sv = &service{name: name}
		n.services[name] = sv
	}
	return sv
}

// Serve handles a service's messages from now on, those that already wait first.
// The returned function ends that and waits for the handlers that run.
func (n *Node) Serve(service string, h Handler) (stop func(), err error) {
	return n.serveWith(service, &serving{handler: h})
}

// ServeTx is Serve for a transactional handler.
func (n *Node) ServeTx(service string, h TxHandler) (stop func(), err error) {
	return n.serveWith(service, &serving{tx: h})
}

func (n *Node) serveWith(name string, s *serving) (stop func(), err error) {
	if err := checkName("service", name); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	sv := n.service(name)
	if sv.server != nil || len(sv.wanted)+sv.held > 0 {
		return nil, fmt.Errorf("service %s: %w", name, ErrServed)
	}
	s.ctx, s.cancel = context.WithCancel(n.life)
	sv.server = s
	n.pump(sv)
	return func() {
		n.mu.Lock()
		if sv.server == s {
			sv.server = nil
		}
		n.mu.Unlock()
		s.cancel()
		s.wg.Wait()
	}, nil
}

// View reads a service's own bucket, which is nil before anything was written.
func (n *Node) View(service string, read func(*bbolt.Bucket) error) error {
	return n.db.View(func(tx *bbolt.Tx) error { return read(tx.Bucket(bucketApps).Bucket([]byte(service))) })
}

// mayRun reports whether a handler may be called for a message of a priority.
// Bulk leaves a quarter of the workers to control.
func (sv *service) mayRun(p Priority, workers int) bool {
	all := sv.running[Control] + sv.running[Bulk]
	if p == Bulk && sv.running[Bulk] >= max(1, workers-workers/4) {
		return false
	}
	return all < workers
}

// pump gives a service's messages to whoever handles them, control first. The
// caller holds mu.
func (n *Node) pump(sv *service) {
	for p := Control; p <= Bulk; p++ {
		for len(sv.list[p]) > 0 && n.taker(sv, p) {
			q := sv.list[p][0]
			sv.list[p] = sv.list[p][1:]
			q.listed = false
			n.hand(sv, q)
		}
	}
}

// taker reports whether somebody would take a message now.
func (n *Node) taker(sv *service, p Priority) bool {
	switch s := sv.server; {
	case s == nil:
		return len(sv.wanted) > 0
	case s.tx != nil:
		return true
	}
	return sv.mayRun(p, n.cfg.Limits.Workers)
}

// hand gives the first message of a stream away. That it is hosted here is looked
// at in the last moment: it has been in a list.
func (n *Node) hand(sv *service, q *inStream) {
	if q.running || len(q.waiting) == 0 || n.stopping {
		return
	}
	x := q.waiting[0]
	if x.state != inPending || x.writing || x.running {
		return
	}
	if n.standing(&x.env) != hosted {
		n.kick(q)
		return
	}
	switch s := sv.server; {
	case s == nil:
		n.deliver(sv, q, x)
	case s.tx != nil:
		n.transact(q, s.tx)
	default:
		q.running, x.running = true, true
		sv.running[x.env.priority]++
		s.wg.Add(1)
		n.wg.Go(func() {
			defer s.wg.Done()
			n.handle(s.ctx, s.handler, x)
		})
	}
}
