package messages

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
)

// An outSession is the sender's end of one life of its streams with one peer: one
// for control, and one for bulk once there is some. Beside the connections its
// fields are under Node.mu.
type outSession struct {
	node    *Node
	peer    *peer
	number  uint64
	control net.Conn

	ready     bool            // the peer has told all that we missed
	active    [2][]*outStream // with messages to put, by priority
	notes     [2][]byte       // frames to write before any message
	transfers []*transfer     // bodies that the peer wants
	turn      int             // of a transfer or a message, on the bulk stream
	wake      [2]chan struct{}
}

// run works until the session ends, and says why it did.
func (s *outSession) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { s.control.Close() })()
	if err := s.greet(s.control, ClassControl); err != nil {
		s.control.Close()
		return err
	}
	g.Go(func() error { return s.read(ctx) })
	g.Go(func() error { return s.writeControl(ctx) })
	g.Go(func() error { return s.writeBulk(ctx) })
	err := g.Wait()
	s.control.Close()
	return err
}

func (s *outSession) greet(conn net.Conn, class Class) error {
	h := hello{version: wireVersion, incarnation: s.node.incarnation, number: s.number, class: class}
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(h.append(nil))
	return err
}

// begin follows the peer's welcome: everything for it is put, again if need be.
func (s *outSession) begin() error {
	if err := s.control.SetDeadline(time.Time{}); err != nil {
		return err
	}
	n := s.node
	n.mu.Lock()
	defer n.mu.Unlock()
	s.ready = true
	s.peer.failed, s.peer.err = time.Time{}, nil
	for line := range s.peer.lines {
		line.rewind()
		n.route(line)
	}
	return nil
}

// read takes what the peer says.
func (s *outSession) read(ctx context.Context) error {
	r := bufio.NewReaderSize(s.control, 32<<10)
	return readFrames(r, nil, s.take)
}

func (s *outSession) take(kind byte, p []byte) error {
	n := s.node
	self := n.cfg.Self
	switch kind {
	case frameWelcome:
		version, err := parseWelcome(p)
		if err == nil && version != wireVersion {
			err = fmt.Errorf("%w: the peer speaks version %d of messages", errFormat, version)
		}
		if err != nil {
			return err
		}
		return s.begin()
	case frameGoodbye:
		reason, err := parseGoodbye(p)
		if err == nil {
			err = errors.New("the filer refuses the session: " + reason)
		}
		return err
	case frameAccepted, frameBusy:
		id, attempt, err := parseNote(p, self)
		if err == nil && kind == frameAccepted {
			n.accepted(s.peer, id, attempt)
		} else if err == nil {
			n.busy(s.peer, id, attempt)
		}
		return err
	case frameReady:
		service, err := parseReady(p)
		if err == nil {
			n.unpark(s.peer, service)
		}
		return err
	case frameRefused:
		r, err := parseRefusal(p, self)
		if err == nil {
			n.refused(s.peer, r)
		}
		return err
	case frameCompleted:
		id, priority, v, err := parseCompleted(p, self)
		if err == nil {
			v.result = slices.Clone(v.result)
			n.told(s.peer, id, priority, v)
		}
		return err
	case frameWant:
		id, offset, err := parseWant(p, self)
		if err != nil {
			return err
		}
		return s.want(id, offset)
	}
	return fmt.Errorf("%w: a frame of kind %d", errFormat, kind)
}

// accepted: a message is on the peer's disk.
func (n *Node) accepted(p *peer, id ID, attempt uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.out(id); o != nil && o.at == p.id && o.env.attempt == attempt {
		o.accepted = true
		p.activate(o.line)
		if o.line.draining { // it came too late to be recalled with the others
			o.line.recalled = 0
			n.recall(o.line)
		}
	}
}

// busy: the peer has no room for a message, and does not have it.
func (n *Node) busy(p *peer, id ID, attempt uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.out(id)
	if o == nil || o.at != p.id || o.env.attempt != attempt || !o.sent || o.refused || o.moving || o.completing {
		return
	}
	o.sent, o.accepted = false, false
	if o.exposed {
		o.exposed = false
		o.line.held--
	}
	s := o.line
	s.parked = true
	if i := slices.Index(s.outs, o); i >= 0 && i < s.next {
		s.next = i
	}
	n.route(s)
}

// unpark: a service of the peer has room again.
func (n *Node) unpark(p *peer, service string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range p.lines {
		if s.key.to.Service == service && s.parked {
			s.parked = false
			p.activate(s)
		}
	}
}

// refused: the peer does not host a message's server, and never will handle this
// attempt.
func (n *Node) refused(p *peer, r refusal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.out(r.id)
	if o == nil {
		p.settle(r.id, r.priority, r.attempt)
		return
	}
	s := o.line
	n.learn(s.key.to.Server, r.place)
	if o.at != p.id || o.env.attempt != r.attempt || o.moving || o.refused || o.completing {
		if s.held == 0 || s.place.Filer != p.id { // nothing of the stream depends on it
			p.settle(r.id, r.priority, r.attempt)
		} else {
			s.owed = append(s.owed, owed{p.id, r.id, r.attempt})
		}
		return
	}
	s.resolve(o)
	o.refused = true
	s.refusals++
	s.retry = n.cfg.Clock.Now().Add(n.cfg.RetryMin)
	s.owed = append(s.owed, owed{p.id, r.id, r.attempt})
	n.route(s)
}

// told: the peer's handler has returned.
func (n *Node) told(p *peer, id ID, priority Priority, v verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.out(id)
	switch {
	case o == nil:
		p.settle(id, priority, 0)
	case !o.completing && o.durable:
		n.complete(o, p.id, v, func(error) {})
	}
}

// writeControl writes notes and control messages.
func (s *outSession) writeControl(ctx context.Context) error {
	idle := s.node.cfg.Clock.After(s.node.cfg.IdleAfter)
	for {
		b, err := s.collect(Control)
		if err != nil {
			return err
		}
		if len(b) > 0 {
			if _, err := s.control.Write(b); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake[Control]:
		case <-idle:
			s.node.mu.Lock()
			waiting := s.peer.waiting()
			s.node.mu.Unlock()
			if !waiting {
				return errIdle
			}
			idle = s.node.cfg.Clock.After(s.node.cfg.IdleAfter)
		}
	}
}

// collectSize is about how much is written at once.
const collectSize = 64 << 10

// collect encodes what goes next on a stream: one message of each stream in turn.
func (s *outSession) collect(p Priority) ([]byte, error) {
	n := s.node
	n.mu.Lock()
	var b []byte
	b, s.notes[p] = s.notes[p], nil
	var list []*out
	size := len(b)
	for size < collectSize && len(s.active[p]) > 0 {
		line := s.active[p][0]
		s.active[p] = s.active[p][1:]
		if line.queued != s {
			continue // it has moved to another filer
		}
		o := line.ready(s.peer.id)
		if o == nil {
			line.queued = nil
			continue
		}
		s.active[p] = append(s.active[p], line)
		if o.put {
			n.counts.Resent++
		}
		o.sent, o.put = true, true
		if !o.exposed {
			o.exposed = true
			line.held++
		}
		line.next++
		list = append(list, o)
		size += 256 + len(o.env.to.Service)
		if !o.env.spooled {
			size += int(o.env.size)
		}
	}
	envs := make([]envelope, len(list))
	for i, o := range list {
		envs[i] = o.env
	}
	n.mu.Unlock()
	if len(list) == 0 {
		return b, nil
	}
	err := n.db.View(func(tx *bbolt.Tx) error {
		for i := range envs {
			v := tx.Bucket(bucketOut).Get(idKey(envs[i].id))
			if v == nil {
				continue // it was completed meanwhile
			}
			r, err := parseOut(v, n.cfg.Self)
			if err != nil {
				return err
			}
			b = appendPut(b, &envs[i], r.inline)
		}
		return nil
	})
	return b, err
}

// errPeerClosed ends a session whose bulk stream the peer closed.
var errPeerClosed = fmt.Errorf("the bulk stream: %w", io.ErrUnexpectedEOF)
