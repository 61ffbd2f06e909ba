package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

var (
	errReplaced = errors.New("the carrier was closed by its owner")
	errStuck    = errors.New("the carrier takes no data")
	errMute     = errors.New("the carrier owes an answer for too long")
)

// inlineMost is how much may be under way on a carrier while callers of Write
// still write to it themselves: what a kernel's buffer takes at once even if
// nobody reads at the other end. Beyond it the carrier's own goroutine writes,
// which may wait.
const inlineMost = 64 << 10

// A Carrier is one connection of a link.
type Carrier struct {
	link *Link
	path Path
	conn net.Conn
	r    reader
	wake chan struct{} // the writing goroutine
	done chan struct{}

	// All below is guarded by the link's lock.
	err      error
	out      []byte    // frames of this carrier only
	urgent   []*frame  // on their way on every carrier
	batch    []byte    // small frames that leave together; the writer's while busy
	busy     bool      // somebody writes
	inline   bool      // a caller of Write, who takes no bulk data along
	writes   uint64    // that were begun
	watched  uint64    // the write that was under way when the time was looked at
	began    time.Time // and when that was seen first
	inflight int       // bytes of frames that were sent here and not acknowledged
	seq      uint64

	state    State
	since    time.Time
	owes     time.Time // since when the peer owes an answer; zero when it does not
	answered time.Time
	suspect  time.Time
	healed   time.Time
	rtt      roundTrip
	pings    []ping // unanswered
	number   uint64 // of the last ping
	nextPing time.Time
	proven   [3]uint64 // seq that pongs have proven to be through: now, before, and before that

	sent, received uint64
}

type ping struct {
	number uint64
	at     time.Time
	seq    uint64
}

// Path returns what Attach was told.
func (c *Carrier) Path() Path { return c.path }

// Close takes the carrier out of the link. What was under way on it is sent
// again by another.
func (c *Carrier) Close() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.fail(errReplaced)
	return nil
}

// Done is closed when the carrier is out of use, whoever ended it.
func (c *Carrier) Done() <-chan struct{} { return c.done }

// Err says why the carrier is out of use; nil while it is in use.
func (c *Carrier) Err() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.err
}

// Attach adds a carrier: conn is an authenticated connection to the peer with a
// buffer below it, and each Write of the link to it is a whole number of frames.
// Both sides call it. It exchanges hellos and returns when the carrier is in
// use; the link owns conn from the call on, also when Attach fails. An error that
// wraps ErrOtherIncarnation says that the peer is not whom the link is with; the
// link may have ended then (see Done), otherwise the peer's has.
func (l *Link) Attach(ctx context.Context, conn net.Conn, p Path) (*Carrier, error) {
	c := &Carrier{
		link: l, path: p, conn: conn, r: reader{r: conn},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	h, err := c.greet(ctx)
	if err == nil {
		err = l.adopt(c, h)
	}
	if err != nil {
		closeNow(conn)
		return nil, fmt.Errorf("attaching a carrier to the link to filer %s: %w", l.cfg.Peer, err)
	}
	return c, nil
}

// greet exchanges hellos within a few seconds, or as long as the context lasts.
func (c *Carrier) greet(ctx context.Context) (hello, error) {
	const most = 5 * time.Second
	at := time.Now().Add(most)
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		at = d
	}
	if err := c.conn.SetDeadline(at); err != nil {
		return hello{}, err
	}
	stop := context.AfterFunc(ctx, func() { closeNow(c.conn) })
	c.link.mu.Lock()
	ours := hello{incarnation: c.link.incarnation, knows: c.link.peer, filer: c.link.cfg.Local}
	c.link.mu.Unlock()
	_, err := c.conn.Write(ours.encode())
	var theirs hello
	if err == nil {
		theirs, err = readHello(&c.r)
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return hello{}, err
	}
	switch {
	case theirs.filer != c.link.cfg.Peer:
		return hello{}, fmt.Errorf("%w: filer %s answers", ErrOtherIncarnation, theirs.filer)
	case theirs.knows != 0 && theirs.knows != ours.incarnation:
		return hello{}, fmt.Errorf("%w: it speaks to an earlier link of this filer", ErrOtherIncarnation)
	}
	return theirs, c.conn.SetDeadline(time.Time{})
}

// adopt takes a carrier whose peer has said hello into the link.
func (l *Link) adopt(c *Carrier, h hello) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.err
	case l.peer == 0 && h.incarnation != l.incarnation:
		l.meet(h.incarnation)
	case l.peer != h.incarnation:
		err := fmt.Errorf("%w: its process or its link is new", ErrOtherIncarnation)
		l.end(err)
		return err
	}
	now := time.Now()
	c.state, c.since, c.nextPing, c.answered = Up, now, now, now
	l.answered = now
	l.carriers = append(l.carriers, c)
	l.wg.Go(c.write)
	l.wg.Go(c.read)
	l.choose(now)
	l.noteChange()
	l.log.Debug("carrier attached", "peer", l.cfg.Peer, "kind", c.path.Kind, "local", c.path.Local, "remote", c.path.Remote)
	return nil
}

// fail takes the carrier out, with the link's lock held.
func (c *Carrier) fail(err error) {
	l := c.link
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	l.wg.Go(func() { closeNow(c.conn) })
	for i, o := range l.carriers {
		if o == c {
			l.carriers = append(l.carriers[:i:i], l.carriers[i+1:]...)
			break
		}
	}
	for _, f := range c.urgent {
		f.held--
		f.release()
	}
	c.urgent, c.out = nil, nil
	if l.err != nil {
		return
	}
	l.rewind(c)
	l.choose(time.Now())
	l.noteChange()
	l.log.Debug("carrier gone", "peer", l.cfg.Peer, "kind", c.path.Kind, "remote", c.path.Remote, "err", err)
}

// closeNow closes a connection without the farewell of TLS, which would wait for
// a peer that takes no data.
func closeNow(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	conn.Close()
}

// read takes what the peer sends until the carrier ends.
func (c *Carrier) read() {
	err := c.readFrames()
	c.r.close()
	if err == io.EOF {
		err = fmt.Errorf("the peer has closed the carrier: %w", err)
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	c.fail(err)
	if errors.Is(err, ErrProtocol) {
		l.end(err)
	}
}

func (c *Carrier) readFrames() error {
	for {
		h, body, err := readFrame(&c.r)
		if err != nil {
			return err
		}
		if err := c.takeFrames(h, body); err != nil {
			return err
		}
	}
}

// takeFrames takes a frame and those that were read with it, under one lock: an
// acknowledgement and data mostly come together. Then it has sent what came up.
func (c *Carrier) takeFrames(h head, body []byte) error {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if err := c.takeFrame(h, body); err != nil {
			return err
		}
		c.r.take(headSize + h.n)
		if !frameBuffered(&c.r) {
			break
		}
		var err error
		if h, body, err = readFrame(&c.r); err != nil {
			return err
		}
	}
	if c.r.buffered() == 0 {
		l.flush(c)
	}
	return nil
}

func (c *Carrier) takeFrame(h head, body []byte) error {
	switch h.kind {
	case kindData, kindEnd:
		return c.link.takeData(c, h, piece{offset: h.offset, b: body, slab: c.r.slab, end: h.kind == kindEnd})
	case kindAck:
		return c.link.takeAck(c, h)
	case kindPing:
		c.takePing(h.limit)
	case kindPong:
		c.takePong(h.limit)
	case kindBye:
		c.link.end(fmt.Errorf("%w by the peer: %s", ErrClosed, body))
	default:
		return fmt.Errorf("%w: a second hello", ErrProtocol)
	}
	return nil
}

func (c *Carrier) takePing(number uint64) {
	c.received += pingSize
	// A peer that pings and does not read must not make this buffer grow.
	if len(c.out) < maxSmall && c.err == nil {
		c.out = putPing(c.out, kindPong, number)
	}
}

func (c *Carrier) takePong(number uint64) {
	l := c.link
	c.received += pingSize
	now := l.now()
	for i, p := range c.pings {
		if p.number != number {
			continue
		}
		c.rtt.pong(now.Sub(p.at))
		c.proven[0] = max(c.proven[0], p.seq)
		c.pings = append(c.pings[:0], c.pings[i+1:]...)
		c.progress(now)
		if l.err == nil && len(l.carriers) > 1 && !(l.ordinary.suspect.IsZero() && l.bulk.suspect.IsZero()) {
			l.choose(now)
		}
		return
	}
}

// heard is progress by an acknowledgement, of which there may be one with each
// frame. When that settles all that the carrier owes, the time of the last tick will
// do, and no clock is read: that it has answered is believed from then on.
func (c *Carrier) heard() {
	if c.inflight > 0 || len(c.pings) > 0 || c.state != Up {
		c.progress(c.link.now())
		return
	}
	c.owes = time.Time{}
	l := c.link
	if l.looked.After(c.answered) {
		c.answered = l.looked
	}
	if l.looked.After(l.answered) {
		l.answered = l.looked
	}
}

// progress notes that the peer has shown that what was sent here arrives.
func (c *Carrier) progress(now time.Time) {
	c.answered, c.link.answered = now, now
	c.owes = time.Time{}
	if c.inflight > 0 || len(c.pings) > 0 {
		c.owes = now
	}
	if c.state != Up && c.err == nil {
		c.state, c.since = Up, now
		c.suspect, c.healed = time.Time{}, now
		c.link.noteChange()
	}
}
