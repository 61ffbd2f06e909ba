package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// A Link is what two processes share as long as both live.
type Link struct {
	cfg         Config
	log         *slog.Logger
	incarnation uint64
	began       time.Time
	met         chan struct{} // closed when the peer's incarnation is known
	done        chan struct{}
	wake        chan struct{} // the goroutine that keeps time
	wg          sync.WaitGroup

	mu       sync.Mutex
	err      error
	peer     uint64 // incarnation; 0 until there was a carrier
	carriers []*Carrier
	ordinary *Carrier // of urgent and control data, and acknowledgements
	bulk     *Carrier
	streams  map[uint64]*Stream
	nextID   uint64
	control  *Stream
	partial  []byte // of a message on the control stream
	ready    [3]turns
	dirty    []*Stream // whose acknowledgement is to be sent
	owed     int       // how many bytes arrived since acknowledgements left
	ackNow   bool
	ackTimer *time.Timer
	ackArmed bool
	spared   int       // see sparedMost
	answered time.Time // when the peer last proved to be there
	due      time.Time // when keepTime is to look next
	looked   time.Time // when it last did
	changed  bool

	switches, resent, duplicates uint64
}

// New makes a link without carriers. It gives up after Patience if none comes.
// Every link has an incarnation of its own: a new link is never taken for an
// earlier one.
func New(cfg Config) *Link {
	cfg = cfg.withDefaults()
	l := &Link{
		cfg: cfg, log: cfg.Log,
		incarnation: newIncarnation(), began: time.Now(),
		met: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
		streams:  map[uint64]*Stream{},
		answered: time.Now(),
	}
	l.control = l.newStream(0, Control, controlWindow)
	l.control.send.begin(controlWindow)
	l.control.onData, l.control.onEnd = l.takeControl, func(error) {}
	l.ackTimer = time.AfterFunc(time.Hour, l.sendAcks)
	l.ackTimer.Stop()
	l.wg.Go(l.keepTime)
	return l
}

// now is time.Now for half its price: only the monotonic clock is read. It is for
// what happens with each frame.
func (l *Link) now() time.Time { return l.began.Add(time.Since(l.began)) }

func newIncarnation() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.BigEndian.Uint64(b[:]) | 1
}

// meet notes the peer's incarnation. It decides who opens streams with which
// numbers.
func (l *Link) meet(peer uint64) {
	l.peer = peer
	l.nextID = 1
	if l.incarnation < peer {
		l.nextID = 2
	}
	close(l.met)
}

// Open opens a stream of a service that the peer accepts. It waits for the
// answer, and for a first carrier.
func (l *Link) Open(ctx context.Context, service string, c Class) (*Stream, error) {
	return l.OpenAny(ctx, []string{service}, c)
}

// OpenAny opens a stream of the first of the services that the peer takes, which
// is how versions are agreed upon: Stream.Service says which.
func (l *Link) OpenAny(ctx context.Context, services []string, c Class) (*Stream, error) {
	if err := checkOffer(services, c); err != nil {
		return nil, err
	}
	select {
	case <-l.met:
	case <-l.done:
		return nil, l.Err()
	case <-ctx.Done():
		return nil, fmt.Errorf("opening a stream to filer %s: no carrier yet: %w", l.cfg.Peer, context.Cause(ctx))
	}
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return nil, l.err
	}
	s := l.newStream(l.nextID, c, l.window(c))
	l.nextID += 2
	s.offered, s.opened = services, make(chan struct{})
	l.tell(openMessage(s))
	l.ordinary.kick(true)
	l.mu.Unlock()
	select {
	case <-s.opened:
	case <-ctx.Done():
		err := fmt.Errorf("opening a stream of %s to filer %s: %w", services[0], l.cfg.Peer, context.Cause(ctx))
		s.Abort(err)
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.err != nil && s.service == "" {
		return nil, s.err
	}
	return s, nil
}

func (l *Link) window(c Class) int {
	if c == Bulk {
		return l.cfg.BulkWindow
	}
	return l.cfg.Window
}

// choose chooses the carriers anew.
func (l *Link) choose(now time.Time) {
	for _, use := range []struct {
		which **Carrier
		bulk  bool
	}{{&l.ordinary, false}, {&l.bulk, true}} {
		views, current := make([]view, len(l.carriers)), -1
		for i, c := range l.carriers {
			views[i] = view{
				bulk: c.path.Bulk, rank: c.path.Rank, rtt: c.rtt.mean,
				suspect: c.suspect, healed: c.healed, proven: c.answered,
			}
			if c == *use.which {
				current = i
			}
		}
		i, old := choose(views, current, use.bulk, now, l.cfg.Settle), *use.which
		if i < 0 {
			*use.which = nil
			continue
		}
		c := l.carriers[i]
		if c == old {
			continue
		}
		*use.which = c
		if old != nil {
			l.switches++
		}
		// What the peer was told on the old carrier may not have reached it.
		for _, s := range l.streams {
			l.owe(s, 0)
		}
		l.ackNow = true
		l.noteChange()
	}
	for _, c := range l.carriers {
		// It may have been left before it fell silent, with data under way.
		if !c.suspect.IsZero() && c != l.ordinary && c != l.bulk && c.inflight > 0 {
			l.rewind(c)
		}
	}
	for _, c := range l.carriers {
		if l.waiting(c) {
			c.nudge()
		}
	}
}

// End ends the link and all its streams with an error that wraps ErrPeerLost and
// cause (ErrClosed when nil), tells the peer if it can, and closes all carriers.
func (l *Link) End(cause error) {
	if cause == nil {
		cause = ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(cause)
}

func (l *Link) end(cause error) {
	if l.err != nil {
		return
	}
	l.err = &LostError{Peer: l.cfg.Peer, Cause: cause}
	l.log.Debug("link ended", "peer", l.cfg.Peer, "err", cause)
	close(l.done)
	l.ackTimer.Stop()
	for _, c := range l.carriers {
		if !c.busy {
			c.busy = true // for ever: nothing else is written any more
			l.wg.Go(func() { c.farewell(cause) })
			continue
		}
		c.fail(l.err)
	}
	l.ordinary, l.bulk = nil, nil
	all := make([]*Stream, 0, len(l.streams))
	for _, s := range l.streams {
		s.fail(l.err)
		all = append(all, s)
	}
	l.wg.Go(func() { // here End may have been called from anywhere, a callback included
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range all {
			s.pump()
		}
	})
}

// farewell tells the peer why, if the carrier takes it.
func (c *Carrier) farewell(cause error) {
	const most = 100 * time.Millisecond
	if c.conn.SetWriteDeadline(time.Now().Add(most)) == nil {
		_, _ = c.conn.Write(putBye(nil, cause.Error()))
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.fail(c.link.err)
}

// Close is End(ErrClosed), and waits for the link's goroutines. It must not be
// called from a callback of the link.
func (l *Link) Close() error {
	l.End(ErrClosed)
	l.wg.Wait()
	return nil
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err says why the link has ended; nil while it lives.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

var _ io.Closer = (*Link)(nil)
