package messages

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

// An inSession is the receiver's end of a session. A new one begins when nothing
// of the one before can arrive any more, so that a message which its sender has
// settled cannot come again.
type inSession struct {
	node    *Node
	from    netquorum.FilerID
	hello   hello
	control net.Conn
	ended   chan struct{} // everything that reads has returned
	readers sync.WaitGroup
	wake    chan struct{}

	// Under Node.mu.
	answers  []*in  // whose state the sender should know
	notes    []byte // other frames
	recorded bool   // that it has begun is on disk
	welcomed bool   // the answers up to here are all that the sender missed
	closed   bool
	bulk     net.Conn
}

// accept serves streams that other filers open.
func (n *Node) accept(ctx context.Context) {
	for {
		conn, from, err := n.cfg.Network.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil {
			n.log.Warn("cannot accept a stream of messages, will try again", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-n.cfg.Clock.After(n.cfg.RetryMin):
			}
			continue
		}
		n.wg.Go(func() { n.serve(ctx, conn, from) })
	}
}

// serve takes one stream from its first byte to its last.
func (n *Node) serve(ctx context.Context, conn net.Conn, from netquorum.FilerID) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if from == "" {
		return // the network does not know who it is
	}
	n.Reachable(from)
	r := bufio.NewReaderSize(conn, 32<<10)
	_ = conn.SetDeadline(time.Now().Add(connectTimeout)) // what ignores it does not read either
	kind, p, buf, err := readFrame(r, nil)
	var h hello
	if err == nil && kind != frameHello {
		err = fmt.Errorf("%w: a stream begins with a frame of kind %d", errFormat, kind)
	}
	if err == nil {
		h, err = parseHello(p)
	}
	if err == nil && h.version != wireVersion {
		err = fmt.Errorf("%w: it speaks version %d of messages", errFormat, h.version)
	}
	if err == nil {
		if h.class == ClassBulk {
			err = n.serveBulk(conn, r, buf, from, h)
		} else {
			err = n.serveControl(ctx, conn, r, buf, from, h)
		}
	}
	if err != nil && ctx.Err() == nil {
		n.log.Debug("a stream of messages ended", "from", from, "error", err)
		if errors.Is(err, errFormat) {
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(appendGoodbye(nil, err.Error())) // whether it is heard or not
		}
	}
}

var errLate = errors.New("a later session has begun")

// serveControl is a session.
func (n *Node) serveControl(ctx context.Context, conn net.Conn, r *bufio.Reader, buf []byte, from netquorum.FilerID, h hello) error {
	s := &inSession{node: n, from: from, hello: h, control: conn, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	for {
		n.mu.Lock()
		if l := n.latest[from]; l.incarnation == h.incarnation && l.number >= h.number {
			n.mu.Unlock()
			return errLate
		}
		old := n.sessions[from]
		if old == nil {
			n.sessions[from] = s
			s.begin()
			n.mu.Unlock()
			break
		}
		old.close()
		n.mu.Unlock()
		<-old.ended
	}
	s.readers.Go(func() {
		defer s.stop()
		if err := s.read(r, buf); ctx.Err() == nil {
			n.log.Debug("a session of messages ended", "from", from, "error", err)
			if errors.Is(err, errFormat) {
				n.mu.Lock()
				s.notes = appendGoodbye(s.notes, err.Error())
				n.mu.Unlock()
			}
		}
	})
	err := s.write(ctx)
	s.stop()
	s.readers.Wait()
	n.mu.Lock()
	if n.sessions[from] == s {
		delete(n.sessions, from)
	}
	for key, q := range n.queues {
		if key.filer == from && len(q.blocked) > 0 {
			q.blocked = nil // the sender puts everything again, in order
			n.tidy(q)
		}
	}
	n.mu.Unlock()
	close(s.ended)
	return err
}

// A latest is the newest session of a sender. What a stream of an earlier one
// brings is late, whenever it comes.
type latest struct {
	incarnation Incarnation
	number      uint64
}

func (n *Node) loadLatest(k, v []byte) error {
	d := decoder{b: v}
	d.version()
	var l latest
	copy(l.incarnation[:], d.take(len(l.incarnation)))
	l.number = d.u64()
	n.latest[netquorum.FilerID(k)] = l
	return d.end()
}

// begin makes this the newest session, on disk before the sender is welcomed, and
// queues all that the sender may have missed. The caller holds mu.
func (s *inSession) begin() {
	n := s.node
	l := latest{s.hello.incarnation, s.hello.number}
	n.latest[s.from] = l
	n.commits.submit(Control, &op{
		do: func(tx *bbolt.Tx) error {
			v := append([]byte{recordVersion}, l.incarnation[:]...)
			return tx.Bucket(bucketPeers).Put([]byte(s.from), binary.BigEndian.AppendUint64(v, l.number))
		},
		bytes: 64,
		book: func(err error) {
			if err == nil {
				s.recorded = true
				poke(s.wake)
			}
		},
	})
	for _, x := range s.node.from[s.from] {
		if x.ended() && !x.writing {
			s.answers = append(s.answers, x)
		}
	}
	slices.SortFunc(s.answers, func(a, b *in) int {
		if a.env.id.Seq < b.env.id.Seq {
			return -1
		}
		return 1
	})
}

func (s *inSession) stop() {
	s.node.mu.Lock()
	s.close()
	s.node.mu.Unlock()
}

// close ends the session's connections. The caller holds mu.
func (s *inSession) close() {
	if s.closed {
		return
	}
	s.closed = true
	s.control.Close()
	if s.bulk != nil {
		s.bulk.Close()
	}
	poke(s.wake)
}

// serveBulk is the bulk stream of a session that exists.
func (n *Node) serveBulk(conn net.Conn, r *bufio.Reader, buf []byte, from netquorum.FilerID, h hello) error {
	n.mu.Lock()
	s := n.sessions[from]
	if s == nil || s.closed || s.bulk != nil || s.hello.incarnation != h.incarnation || s.hello.number != h.number {
		n.mu.Unlock()
		return errLate
	}
	s.bulk = conn
	s.readers.Add(1)
	n.mu.Unlock()
	defer s.readers.Done()
	defer s.stop()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return s.read(r, buf)
}

// answer has the sender told the state of a message. The caller holds mu.
func (n *Node) answer(x *in) {
	if s := n.sessions[x.env.id.Filer]; s != nil && !s.closed {
		s.answers = append(s.answers, x)
		poke(s.wake)
	}
}

// note sends a frame to a filer that has a session. The caller holds mu.
func (s *inSession) note(frame func([]byte) []byte) {
	s.notes = frame(s.notes)
	poke(s.wake)
}

// write tells the sender what became of its messages.
func (s *inSession) write(ctx context.Context) error {
	if err := s.control.SetDeadline(time.Time{}); err != nil {
		return err
	}
	for {
		b, closed, err := s.collect()
		if err != nil {
			return err
		}
		if len(b) > 0 {
			if _, err := s.control.Write(b); err != nil {
				return err
			}
			continue
		}
		if closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		}
	}
}

// collect encodes what goes next. The welcome follows all that was missed.
func (s *inSession) collect() (b []byte, closed bool, err error) {
	n := s.node
	n.mu.Lock()
	b, s.notes = s.notes, nil
	var results []ID
	size, i := 0, 0
	for ; i < len(s.answers) && size < collectSize; i++ {
		x := s.answers[i]
		if n.ins[x.env.id] != x || x.writing {
			continue // forgotten, or to be answered when it is on disk
		}
		size += 64
		switch x.state {
		case inPartial:
			if x.upload != nil && !x.sealing {
				b = appendWant(b, x.env.id, x.got)
			}
		case inPending:
			b = appendNote(b, frameAccepted, x.env.id, x.env.attempt)
		case inRefused:
			b = refusal{x.env.id, x.env.priority, x.env.attempt, x.place}.append(b)
		case inCompleted, inCollected:
			results = append(results, x.env.id)
			size += x.result
		}
	}
	s.answers = slices.Delete(s.answers, 0, i)
	welcome := s.recorded && !s.welcomed && len(s.answers) == 0
	s.welcomed = s.welcomed || welcome
	closed = s.closed
	n.mu.Unlock()
	if len(results) > 0 {
		err = n.db.View(func(tx *bbolt.Tx) error {
			for _, id := range results {
				v := tx.Bucket(bucketIn).Get(idKey(id))
				if v == nil {
					continue // the sender has settled it
				}
				r, err := parseIn(v, id.Filer)
				if err != nil {
					return err
				}
				b = appendCompleted(b, id, r.env.priority, &r.verdict)
			}
			return nil
		})
	}
	if welcome {
		b = appendWelcome(b)
	}
	return b, closed, err
}

// read takes what the sender says, on either stream.
func (s *inSession) read(r *bufio.Reader, buf []byte) error {
	return readFrames(r, buf, s.take)
}

func (s *inSession) take(kind byte, p []byte) error {
	n := s.node
	switch kind {
	case framePut:
		e, inline, err := parsePut(p, s.from)
		if err != nil {
			return err
		}
		return s.put(e, slices.Clone(inline))
	case frameChunk:
		id, offset, data, err := parseChunk(p, s.from)
		if err != nil {
			return err
		}
		return s.chunk(id, offset, data)
	case frameSettle:
		id, attempt, err := parseNote(p, s.from)
		if err == nil {
			n.settle(id, attempt)
		}
		return err
	case frameRecall:
		server, epoch, err := parseRecall(p)
		if err == nil {
			n.recalled(s.from, server, epoch)
		}
		return err
	}
	return fmt.Errorf("%w: a frame of kind %d", errFormat, kind)
}
