package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/sctpio"
)

// A keeper keeps the link to one other filer: it makes one when somebody asks or
// the peer calls, and sees to it that the link has a carrier on each path.
type keeper struct {
	endpoint *Endpoint
	id       netquorum.FilerID
	wake     chan struct{} // something changed: look what there is to do

	mu        sync.Mutex
	peer      person
	link      *link.Link // nil while there is none
	made      bool       // the link has had a carrier: it may be used
	attaching int        // connections on their way into the link
	carriers  []*carrier
	trials    map[path]trial
	attempts  map[path]chan struct{} // those that run; closed when they are over
	failures  map[path]error         // why each path failed last
	lost      time.Time              // when a carrier was lost
	since     time.Time              // when the link was made
	mute      mute                   // whether all paths of it are silent
	both      bool                   // both filers have SCTP
	call      *call                  // under way, for those who wait for a link
}

// keeper returns the one for a filer.
func (e *Endpoint) keeper(id netquorum.FilerID) (*keeper, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	k := e.keepers[id]
	if k == nil {
		k = &keeper{endpoint: e, id: id, wake: make(chan struct{}, 1), peer: person{id: id}, trials: map[path]trial{},
			attempts: map[path]chan struct{}{}, failures: map[path]error{}}
		e.keepers[id] = k
	}
	return k, nil
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// usable returns the link when there is one. The caller holds the lock.
func (k *keeper) usable() *link.Link {
	if k.link == nil || !k.made || ended(k.link) {
		return nil
	}
	return k.link
}

func ended(l *link.Link) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// enter returns the link that a connection is to be attached to, a new one if
// need be. leave must follow.
func (k *keeper) enter() (*link.Link, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link == nil || ended(k.link) {
		l := link.New(k.endpoint.linkConfig(k.id, k.rouse))
		if !k.endpoint.start(func() { k.keep(l) }) {
			l.End(errClosed)
			return nil, errClosed
		}
		k.link, k.made, k.attaching, k.carriers, k.lost, k.mute = l, false, 0, nil, time.Time{}, mute{}
	}
	k.attaching++
	return k.link, nil
}

// leave ends a link that came to nothing: those who open streams would wait
// for its first carrier.
func (k *keeper) leave(l *link.Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != l {
		return
	}
	if k.attaching--; k.attaching == 0 && !k.made {
		k.link = nil
		l.End(errNoCarrier)
	}
}

var errNoCarrier = errors.New("no connection was made")

// attach makes a proven connection a carrier of the link.
func (k *keeper) attach(ctx context.Context, p proven, dialled path, ours bool) error {
	sctp, _ := p.raw.Conn.(*sctpio.Conn)
	bulk := p.protocol() == serviceLinkBulk
	if sctp != nil && bulk && !ours { // the port takes all as those of control
		if err := sctp.Become(sctpio.Bulk()); err != nil {
			p.raw.Close()
			return err
		}
	}
	l, err := k.enter()
	if err != nil {
		p.raw.Close()
		return err
	}
	defer k.leave(l)
	c := &carrier{of: l, generation: p.generation}
	c.sctp = sctp
	c.held = held{path: dialled, ours: ours, sctp: sctp != nil, bulk: bulk, from: p.raw.from, local: addrPort(p.raw.LocalAddr()).Addr(), remote: addrPort(p.raw.RemoteAddr()).Addr()}
	c.path = p.linkPath(rank(k.endpoint.paths(k.id), c.held))
	if c.link, err = l.Attach(ctx, severed{p.conn}, c.path); err != nil {
		p.raw.Close()
		return err
	}
	c.since = time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != l {
		return link.ErrPeerLost // ended while this was on its way, and its carriers with it
	}
	if !k.made {
		k.made, k.since = true, c.since
	}
	k.peer = p.peer
	if sctp == nil {
		k.both = p.protocol() == serviceLinkSCTP
	}
	k.carriers = append(k.carriers, c)
	if k.call != nil {
		k.call.answer(l, nil)
		k.call = nil
	}
	k.rouse()
	return nil
}

// try dials a path, or waits for whoever does so already, and remembers what came
// of it.
func (k *keeper) try(ctx context.Context, p path) error {
	k.mu.Lock()
	if over := k.attempts[p]; over != nil {
		k.mu.Unlock()
		<-over
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.failures[p]
	}
	over := make(chan struct{})
	defer close(over)
	k.attempts[p] = over
	t := k.trials[p]
	t.running = true
	k.trials[p] = t
	k.mu.Unlock()

	made, err := k.endpoint.connect(ctx, k.id, p)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, k.endpoint.cfg.HandshakeTimeout)
		defer cancel()
		err = k.attach(ctx, made, p, true)
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.attempts, p)
	delete(k.failures, p)
	t = trial{}
	if err != nil {
		t.failures = k.trials[p].failures + 1
		t.after = time.Now().Add(backOff(t.failures, rand.Float64()))
		k.failures[p] = err
	}
	k.trials[p] = t
	if final(err) && !p.sctp && k.usable() != nil && !works(k.link) {
		k.link.End(err)
	}
	k.rouse()
	return err
}

// final reports whether a failed attempt leaves nothing to be patient for: the
// host answers and nobody listens there, so the process is dead; or the process
// is there, and will have none of us.
func final(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrNotServed) || errors.As(err, &op) && op.Op == "remote error"
}

// works reports whether any carrier does.
func works(l *link.Link) bool {
	for _, c := range l.Status().Carriers {
		if c.State == link.Up {
			return true
		}
	}
	return false
}

// keep does what there is to do for a link until it ends.
func (k *keeper) keep(l *link.Link) {
	defer k.rouse() // for the keeper of the next link
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := k.tend(l, time.Now())
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-k.wake:
		case <-timer.C:
		case <-l.Done():
			k.forget(l)
			return
		case <-k.endpoint.ctx.Done():
			l.End(errClosed)
			_ = l.Close() // which waits for its goroutines
			k.forget(l)
			return
		}
	}
}

// dismiss ends the link to a filer that is not allowed.
func (k *keeper) dismiss() {
	k.endpoint.mu.Lock()
	delete(k.endpoint.keepers, k.id)
	k.endpoint.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != nil {
		k.link.End(&PeerError{Reason: NotAllowed, Filer: k.id, Name: k.peer.name})
	}
}

// forget is for a link that has ended.
func (k *keeper) forget(l *link.Link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != l {
		return
	}
	if err := l.Err(); k.made && !errors.Is(err, errClosed) {
		k.endpoint.log.Info("the link to a filer has ended", "peer", k.id, "name", k.peer.name, "err", err)
	}
	k.link, k.made, k.carriers = nil, false, nil
}

// tend carries out what view.tend decides, and returns when to look again.
func (k *keeper) tend(l *link.Link, now time.Time) time.Time {
	e := k.endpoint
	paths, associated := e.paths(k.id), e.associationsTo(k.id)
	k.mu.Lock()
	if k.link != l || !k.made {
		k.mu.Unlock()
		return time.Time{}
	}
	v := k.look(l, now)
	look, fell := k.mute.look(v, now, e.giveUp())
	var silent error
	if fell {
		silent = k.silent(now, true)
	}
	v.wanted = paths
	if !v.alive() {
		v.wanted = e.allPaths(k.id)
	}
	if k.both {
		if v.associated() {
			v.wanted = nil // what the association has instead
		}
		v.wanted = append(associated, v.wanted...)
	}
	t := v.tend(now)
	t.later(look, now)
	for p, was := range k.trials {
		if !was.running && !slices.Contains(v.wanted, p) {
			delete(k.trials, p)
			delete(k.failures, p)
		}
	}
	drop := make([]*link.Carrier, 0, len(t.drop))
	for _, i := range t.drop {
		drop = append(drop, k.carriers[i].link)
	}
	k.mu.Unlock()
	if fell {
		e.requests.interrupt(k.id, silent)
	}
	for _, c := range drop {
		_ = c.Close()
	}
	if !e.allowed(k.id) {
		return t.next
	}
	for _, p := range t.dial {
		e.start(func() { _ = k.try(e.ctx, p) })
	}
	return t.next
}

// look brings what is known of the carriers up to date. The caller holds the
// lock.
func (k *keeper) look(l *link.Link, now time.Time) view {
	states := map[link.Path]link.CarrierStatus{}
	for _, c := range l.Status().Carriers {
		states[c.Path] = c
	}
	v := view{ping: k.endpoint.ping(), first: k.endpoint.self() < k.id, tried: k.trials}
	kept := k.carriers[:0]
	generation := k.endpoint.generation.Load()
	for _, c := range k.carriers {
		s, there := states[c.path]
		if !there {
			k.lost = now
			continue
		}
		c.stale = c.generation != generation
		switch {
		case s.State == link.Up:
			c.down = time.Time{}
		case c.down.IsZero():
			c.down = s.Since
		}
		kept = append(kept, c)
		v.have = append(v.have, c.held)
	}
	clear(k.carriers[len(kept):])
	k.carriers, v.lost = kept, k.lost
	return v
}

// wakeAll lets every keeper look again; fresh also ends the rest of paths that
// failed.
func (e *Endpoint) wakeAll(fresh bool) {
	for _, k := range e.allKeepers() {
		if fresh {
			k.mu.Lock()
			for p, t := range k.trials {
				k.trials[p] = trial{running: t.running}
			}
			k.mu.Unlock()
		}
		k.rouse()
	}
}

func (e *Endpoint) allKeepers() []*keeper {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*keeper, 0, len(e.keepers))
	for _, k := range e.keepers {
		out = append(out, k)
	}
	return out
}
