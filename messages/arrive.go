package messages

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

// An in is a message at its receiver, less its body and result. It is under
// Node.mu.
type in struct {
	env   envelope
	state inState
	file  string // of a spooled body
	at    time.Time
	place Place
	queue *inStream

	writing     bool // its state is not on disk yet
	erasing     bool // it is settled
	running     bool // a handler has it, or its refusal is being written
	redelivered bool
	result      int // bytes
	upload      *upload
	got         int64 // bytes of the upload
	opening     bool  // the upload is being opened
	sealing     bool  // all has arrived and is being synced
}

// ended reports whether nothing will be done with the message any more.
func (x *in) ended() bool { return x.state >= inRefused }

// waits reports whether the message is still to be handled.
func (x *in) waits() bool { return x.state == inPartial || x.state == inPending }

// An inKey names a stream at its receiver.
type inKey struct {
	filer       netquorum.FilerID
	incarnation Incarnation
	outKey
}

// An inStream is what is handled in order: its messages by number, with those
// that were refused while their sender has not settled them.
type inStream struct {
	key       inKey
	service   *service
	waiting   []*in // partial and pending
	refused   []*in
	running   bool      // the first is with a handler
	inTx      int       // that many, in transactions that are not over
	halted    bool      // one of those failed: those after it do not run
	listed    bool      // in its service's list
	blocked   []uint64  // numbers that were turned away; others must not pass them
	epoch     uint64    // in which they were
	postponed bool      // by the handler, or because it is not known who hosts the server
	until     time.Time // when to look again
	since     time.Time // since when it is not known who hosts the server
}

func (n *Node) queueOf(e *envelope) *inStream {
	key := inKey{e.id.Filer, e.id.Incarnation, outKey{e.id.Client, e.to, e.stream, e.priority}}
	q := n.queues[key]
	if q == nil {
		q = &inStream{key: key, service: n.service(e.to.Service)}
		n.queues[key] = q
	}
	return q
}

func bySeq(x *in, seq uint64) int {
	switch {
	case x.env.id.Seq < seq:
		return -1
	case x.env.id.Seq > seq:
		return 1
	}
	return 0
}

func insert(list []*in, x *in) []*in {
	i, _ := slices.BinarySearchFunc(list, x.env.id.Seq, bySeq)
	return slices.Insert(list, i, x)
}

func remove(list []*in, x *in) []*in {
	if i, ok := slices.BinarySearchFunc(list, x.env.id.Seq, bySeq); ok && list[i] == x {
		if i == 0 {
			list[0] = nil
			return list[1:]
		}
		return slices.Delete(list, i, i+1)
	}
	return list
}

// tidy forgets a stream that holds nothing.
func (n *Node) tidy(q *inStream) {
	if len(q.waiting)+len(q.refused) == 0 && len(q.blocked) == 0 && !q.running && n.queues[q.key] == q {
		delete(n.queues, q.key)
	}
}

// remember enters a message into the books. The caller holds mu.
func (n *Node) remember(x *in) {
	id := x.env.id
	n.ins[id] = x
	if n.from[id.Filer] == nil {
		n.from[id.Filer] = map[ID]*in{}
	}
	n.from[id.Filer][id] = x
	switch {
	case x.waits():
		x.queue = n.queueOf(&x.env)
		x.queue.waiting = insert(x.queue.waiting, x)
		x.queue.service.waiting++
	case x.state == inRefused:
		x.queue = n.queueOf(&x.env)
		x.queue.refused = insert(x.queue.refused, x)
	}
}

// forget takes a message out of the books, but for its place among those that
// wait, which it leaves when it ends.
func (n *Node) forget(x *in) {
	id := x.env.id
	if n.ins[id] == x {
		delete(n.ins, id)
		delete(n.from[id.Filer], id)
	}
	if x.state == inRefused {
		x.queue.refused = remove(x.queue.refused, x)
		n.tidy(x.queue)
	}
}

func (n *Node) loadIn(k, v []byte, named map[string]bool) error {
	id, err := parseIDKey(k)
	if err != nil {
		return err
	}
	r, err := parseIn(v, id.Filer)
	if err != nil {
		return err
	}
	x := &in{env: r.env, state: r.state, file: r.file, at: r.at, place: r.place, result: len(r.result), redelivered: true}
	if x.waits() && r.env.spooled {
		named[r.file] = true
		n.spool.in.Add(r.env.size)
	}
	n.remember(x)
	return nil
}

// put takes a message that arrives. What is known already is answered with what
// became of it.
func (s *inSession) put(e envelope, inline []byte) error {
	n := s.node
	if e.to.Filer != "" && e.to.Filer != n.cfg.Self {
		return fmt.Errorf("%w: a message for filer %s", errFormat, e.to.Filer)
	}
	cost := int64(len(inline) + 256)
	if err := n.room[e.priority].Acquire(n.life, cost); err != nil {
		return n.closed()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if x := n.ins[e.id]; x != nil && !n.again(x, &e) {
		n.room[e.priority].Release(cost)
		return nil
	}
	q := n.queueOf(&e)
	if e.epoch > q.epoch { // the stream comes anew: what was turned away went elsewhere
		q.blocked, q.epoch = nil, e.epoch
	}
	x := &in{env: e, state: inPending, at: n.cfg.Clock.Now(), writing: true}
	r := inRecord{env: e, inline: inline}
	switch {
	case len(q.refused) > 0 && q.refused[0].env.id.Seq < e.id.Seq || n.standing(&e) == elsewhere:
		x.state, x.place = inRefused, n.placeOf(e.to.Server)
		n.counts.Refused++
	case len(q.blocked) > 0 && e.id.Seq > q.blocked[0] || !n.roomFor(q, &e):
		if i, there := slices.BinarySearch(q.blocked, e.id.Seq); !there {
			q.blocked = slices.Insert(q.blocked, i, e.id.Seq)
		}
		s.note(func(b []byte) []byte { return appendNote(b, frameBusy, e.id, e.attempt) })
		if !q.service.full {
			// There is room by now for what was turned away before it. The sender has
			// heard of that already, and would wait for ever after this.
			s.note(func(b []byte) []byte { return appendReady(b, e.to.Service) })
		}
		n.room[e.priority].Release(cost)
		return nil
	case e.spooled && e.size > n.cfg.Limits.MaxBody:
		x.state = inCompleted
		r.verdict = verdict{outcome: Failed, reason: fmt.Sprintf("a body of %d bytes: %v", e.size, ErrTooLarge)}
	case e.spooled:
		x.state, x.file = inPartial, n.spool.newName()
		n.spool.in.Add(e.size)
	}
	if len(q.blocked) > 0 && e.id.Seq == q.blocked[0] {
		q.blocked = q.blocked[1:]
	}
	r.state, r.at, r.file, r.place = x.state, x.at, x.file, x.place
	n.remember(x)
	n.tidy(q)
	n.write(x, &r, int(cost), func() {
		n.room[e.priority].Release(cost)
		n.arrived(x)
	})
	return nil
}

// write puts a message's record into the file, and then calls done with mu held.
// The caller holds mu and has set writing.
func (n *Node) write(x *in, r *inRecord, cost int, done func()) {
	n.commits.submit(x.env.priority, &op{
		do: func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketIn).Put(idKey(r.env.id), r.encode())
		},
		bytes: cost,
		book: func(err error) {
			if err != nil {
				return // the disk has failed: nothing is answered any more
			}
			x.writing = false
			done()
		},
	})
}

// arrived follows a new message that is on disk.
func (n *Node) arrived(x *in) {
	switch x.state {
	case inPartial:
		n.openUpload(x)
	case inPending:
		n.answer(x)
		n.kick(x.queue)
	default:
		n.answer(x)
	}
}

// again decides about a message that is known. It reports whether the message is to
// be taken as a new one.
func (n *Node) again(x *in, e *envelope) bool {
	n.counts.Duplicates++
	switch {
	case x.erasing, x.state == inRefused && !x.writing && e.attempt > x.env.attempt:
		n.counts.Duplicates--
		n.forget(x) // the new record takes the place of the old one
		return true
	case x.writing: // the answer comes when it is on disk
	case x.waits() && e.attempt > x.env.attempt && !x.running:
		n.renew(x, e)
	case x.state == inPartial:
		n.openUpload(x)
	default:
		n.answer(x)
	}
	return false
}

// renew gives a message that waits here its newer attempt: the sender had given
// this filer up, and has come back to it.
func (n *Node) renew(x *in, e *envelope) {
	x.env.attempt, x.env.epoch = e.attempt, e.epoch
	x.writing = true
	epoch, attempt := e.epoch, e.attempt
	n.commits.submit(x.env.priority, &op{
		do: func(tx *bbolt.Tx) error {
			b, key := tx.Bucket(bucketIn), idKey(x.env.id)
			r, err := parseIn(b.Get(key), x.env.id.Filer)
			if err != nil {
				return err
			}
			r.env.epoch, r.env.attempt = epoch, attempt
			return b.Put(key, r.encode())
		},
		bytes: 256,
		book: func(err error) {
			if err != nil {
				return
			}
			x.writing = false
			n.arrived(x)
		},
	})
}

// roomFor reports whether a service's queue and the spool can take the message. If
// not, the senders are told when they can.
func (n *Node) roomFor(q *inStream, e *envelope) bool {
	l := n.cfg.Limits
	if q.service.waiting >= l.MaxInbox || e.spooled && e.size <= l.MaxBody && n.spool.in.Load()+e.size > l.MaxSpool {
		q.service.full = true
		return false
	}
	return true
}

// placeOf is what a refusal says about a server.
func (n *Node) placeOf(server string) Place {
	if p, ok := n.cfg.Hosts.Host(server); ok {
		return p
	}
	return Place{Epoch: n.cfg.Hosts.Epoch(server)}
}

// settle: the sender has on its disk how a message ended.
func (n *Node) settle(id ID, attempt uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x := n.ins[id]
	if x == nil {
		n.unblock(id)
	}
	if x == nil || x.writing || !x.ended() || x.state == inRefused && x.env.attempt != attempt {
		return
	}
	n.erase(x)
}

// unblock lets pass what waits for a message that was turned away and will not
// come again.
func (n *Node) unblock(id ID) {
	for key, q := range n.queues {
		if key.filer != id.Filer || key.client != id.Client || key.incarnation != id.Incarnation {
			continue
		}
		if i, there := slices.BinarySearch(q.blocked, id.Seq); there {
			q.blocked = slices.Delete(q.blocked, i, i+1)
			if s := n.sessions[id.Filer]; s != nil {
				s.note(func(b []byte) []byte { return appendReady(b, key.to.Service) })
			}
			n.tidy(q)
		}
	}
}

// erase deletes an ended message from the file and the books.
func (n *Node) erase(x *in) {
	x.writing, x.erasing = true, true
	n.commits.submit(x.env.priority, &op{
		do:    func(tx *bbolt.Tx) error { return tx.Bucket(bucketIn).Delete(idKey(x.env.id)) },
		bytes: 64,
		book: func(err error) {
			if err == nil {
				n.forget(x)
			}
		},
	})
}

// recalled: the sender knows of a placement with a later epoch. What has not begun
// is refused; to refuse is always safe.
func (n *Node) recalled(from netquorum.FilerID, server string, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, q := range n.queues {
		if key.filer == from && key.to.Server == server {
			n.refuseWaiting(q, epoch)
		}
	}
}
