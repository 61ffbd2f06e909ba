package messages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/netquorum/netquorum"
)

// A peer is a filer as a target. Its fields are under Node.mu.
type peer struct {
	node    *Node
	id      netquorum.FilerID
	wake    chan struct{}
	lines   map[*outStream]bool // that have messages for it
	session *outSession         // nil while there is none
	failed  time.Time           // since when it cannot be reached; zero while it can
	err     error               // of the last attempt
	hurry   bool                // somebody has seen it: do not wait
	started bool
}

// peer returns the target, which begins to be reached when there is something for
// it. The caller holds mu.
func (n *Node) peer(id netquorum.FilerID) *peer {
	p := n.peers[id]
	if p == nil {
		p = &peer{node: n, id: id, wake: make(chan struct{}, 1), lines: map[*outStream]bool{}}
		n.peers[id] = p
		n.start(p)
	}
	return p
}

func (n *Node) start(p *peer) {
	if ctx := n.running; ctx != nil && !p.started {
		p.started = n.spawn(func() { p.run(ctx) })
	}
}

// gone reports whether the peer has been out of reach for long.
func (p *peer) gone() bool {
	return !p.failed.IsZero() && p.node.cfg.Clock.Now().Sub(p.failed) >= p.node.cfg.GoneAfter
}

// waiting reports whether there is a message for the peer.
func (p *peer) waiting() bool {
	for s := range p.lines {
		if len(s.outs) > 0 && s.place.Filer == p.id {
			return true
		}
		delete(p.lines, s)
	}
	return false
}

// activate has what is ready in a stream put over the peer's session, or one made.
func (p *peer) activate(s *outStream) {
	if p.session == nil {
		poke(p.wake)
		return
	}
	if p.session.ready && s.queued != p.session && s.ready(p.id) != nil {
		s.queued = p.session
		p.session.active[s.key.priority] = append(p.session.active[s.key.priority], s)
		poke(p.session.wake[s.key.priority])
	}
}

// settle lets the peer forget how a message ended. It goes on the message's own
// stream: it must not overtake the message, which would then be taken for a new
// one. Without a session the peer is told when it asks, in the next one.
func (p *peer) settle(id ID, priority Priority, attempt uint32) {
	if s := p.session; s != nil {
		s.notes[priority] = appendNote(s.notes[priority], frameSettle, id, attempt)
		poke(s.wake[priority])
	}
}

// errIdle ends a session over which nothing goes.
var errIdle = errors.New("nothing to send")

// run keeps a session with the peer while there is something to send. After a
// failure it waits longer each time, by chance a little more or less, so that many
// filers do not come at once to one that has just started.
func (p *peer) run(ctx context.Context) {
	n := p.node
	wait := n.cfg.RetryMin
	for {
		n.mu.Lock()
		waiting := p.waiting()
		n.mu.Unlock()
		if !waiting {
			select {
			case <-ctx.Done():
				return
			case <-p.wake:
			}
			continue
		}
		began := n.cfg.Clock.Now()
		err := p.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errIdle) {
			wait = n.cfg.RetryMin
			continue
		}
		if n.cfg.Clock.Now().Sub(began) > n.cfg.RetryMax {
			wait = n.cfg.RetryMin // it had worked
		}
		n.log.Debug("no session with the filer", "filer", p.id, "error", err, "again in", wait)
		p.pause(ctx, wait/2+rand.N(wait))
		wait = min(2*wait, n.cfg.RetryMax)
	}
}

// pause waits, or until somebody has seen the peer.
func (p *peer) pause(ctx context.Context, d time.Duration) {
	n := p.node
	timer := n.cfg.Clock.After(d)
	for {
		n.mu.Lock()
		hurry := p.hurry
		p.hurry = false
		n.mu.Unlock()
		if hurry {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
			return
		case <-p.wake: // perhaps only another message
		}
	}
}

// connectTimeout bounds the way to a session: a filer that is there answers in
// milliseconds.
const connectTimeout = 5 * time.Second

// connect makes a session and keeps it until it ends.
func (p *peer) connect(ctx context.Context) error {
	n := p.node
	conn, err := n.open(ctx, p.id, ClassControl)
	if err != nil {
		err = fmt.Errorf("reaching filer %s: %w", p.id, err)
		n.mu.Lock()
		p.lost(err)
		n.mu.Unlock()
		return err
	}
	n.mu.Lock()
	n.session++
	s := &outSession{
		node: n, peer: p, control: conn, number: n.session,
		wake: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)},
	}
	p.session = s
	n.mu.Unlock()
	err = s.run(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	p.session = nil
	for line := range p.lines {
		line.rewind()
	}
	for _, t := range s.transfers {
		t.close()
	}
	if errors.Is(err, errIdle) {
		p.err = nil
		return err
	}
	err = fmt.Errorf("session with filer %s: %w", p.id, err)
	p.lost(err)
	return err
}

// lost notes that the peer is out of reach.
func (p *peer) lost(err error) {
	p.err = err
	if p.failed.IsZero() {
		p.failed = p.node.cfg.Clock.Now()
	}
}

// open opens a stream to a filer; to this one by a pipe.
func (n *Node) open(ctx context.Context, to netquorum.FilerID, class Class) (net.Conn, error) {
	if to != n.cfg.Self {
		ctx, stop := context.WithTimeout(ctx, connectTimeout)
		defer stop()
		return n.cfg.Network.Open(ctx, to, class)
	}
	near, far := net.Pipe()
	n.mu.Lock()
	running := n.running
	n.mu.Unlock()
	n.wg.Go(func() { n.serve(running, far, n.cfg.Self) })
	return near, nil
}
