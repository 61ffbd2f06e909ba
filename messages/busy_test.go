package messages

import (
	"bufio"
	"context"
	"slices"
	"testing"
	"time"
)

// A rawSender speaks the wire form to a node, frame by frame.
type rawSender struct {
	t    *testing.T
	conn *memConn
	r    *bufio.Reader
	env  envelope
}

func newRawSender(t *testing.T, w *world, to string) *rawSender {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	conn, err := (&memNetwork{world: w, self: "x", end: end}).Open(soon(t), "b", ClassControl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &rawSender{t: t, conn: conn.(*memConn), r: bufio.NewReader(conn)}
	s.env = envelope{id: ID{Filer: "x", Client: "raw", Incarnation: Incarnation{1}}, to: Target{Service: to, Filer: "b"}, sent: time.Unix(1, 0), attempt: 1}
	s.write(hello{version: wireVersion, incarnation: Incarnation{1}, number: 1, class: ClassControl}.append(nil))
	if kind, _ := s.read(); kind != frameWelcome {
		t.Fatalf("a session begins with a frame of kind %d", kind)
	}
	return s
}

func (s *rawSender) write(b []byte) {
	if _, err := s.conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *rawSender) put(seq uint64) {
	e := s.env
	e.id.Seq = seq
	s.write(appendPut(nil, &e, nil))
}

// read returns the next frame's kind, and the number of the message that it is about.
func (s *rawSender) read() (kind byte, seq uint64) {
	s.t.Helper()
	type read struct {
		kind byte
		p    []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		kind, p, _, err := readFrame(s.r, nil)
		done <- read{kind, slices.Clone(p), err}
	}()
	select {
	case f := <-done:
		if f.err != nil {
			s.t.Fatal(f.err)
		}
		switch f.kind {
		case frameAccepted, frameBusy:
			id, _, err := parseNote(f.p, "x")
			if err != nil {
				s.t.Fatal(err)
			}
			return f.kind, id.Seq
		case frameCompleted:
			id, _, _, err := parseCompleted(f.p, "x")
			if err != nil {
				s.t.Fatal(err)
			}
			return f.kind, id.Seq
		}
		return f.kind, 0
	case <-time.After(10 * time.Second):
		s.t.Fatal("waited 10 s in vain for a frame")
	}
	return 0, 0
}

func (s *rawSender) want(kind byte, seq uint64) {
	s.t.Helper()
	if k, q := s.read(); k != kind || q != seq {
		s.t.Fatalf("a frame of kind %d about %d, want kind %d about %d", k, q, kind, seq)
	}
}

// TestWhatIsTurnedAwayAfterItsSenderHeardOfRoomIsNotForgotten: a message may be under
// way while the one before it is turned away and room is made. It must not pass, and
// its sender, which was told of the room before, would wait for ever.
func TestWhatIsTurnedAwayAfterItsSenderHeardOfRoomIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.MaxInbox = 1 }
	b := w.start("b")
	s := newRawSender(t, w, "work")
	s.put(1)
	s.want(frameAccepted, 1)
	s.put(2)
	s.want(frameBusy, 2)
	mustServe(t, b, "work", func(context.Context, *Message) ([]byte, error) { return nil, nil })
	s.want(frameReady, 0)
	s.want(frameCompleted, 1)
	s.put(3)
	s.want(frameBusy, 3)
	s.want(frameReady, 0)
	for _, seq := range []uint64{2, 3} {
		s.put(seq)
		kind, about := s.read()
		if kind == frameAccepted { // which may be overtaken by the end
			kind, about = s.read()
		}
		if kind != frameCompleted || about != seq {
			t.Fatalf("a frame of kind %d about %d instead of the end of %d", kind, about, seq)
		}
	}
}

// TestABodyThatGoesElsewhereMakesRoomForOthers: the room of its file is free only when
// the refusal is on disk, after that in its service's queue.
func TestABodyThatGoesElsewhereMakesRoomForOthers(t *testing.T) {
	const size = 200_000
	w := newWorld(t)
	w.tune = func(c *Config) {
		if c.Self == "b" {
			c.Limits.MaxSpool = size
		}
	}
	w.place("vs", "b")
	a, b := w.start("a"), w.start("b")
	w.start("c")
	box := box(t, a, "client")
	send := func(to Target) {
		t.Helper()
		if _, err := box.Send(soon(t), Message{To: to, Body: Bytes(make([]byte, size))}); err != nil {
			t.Fatal(err)
		}
	}
	send(Target{Service: "work", Server: "vs"})
	await(t, "the first body is there", func() bool { return b.Status().Inbox == 1 })
	send(Target{Service: "work", Filer: "b"})
	await(t, "the second finds no room", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.services["work"].full
	})
	w.place("vs", "")
	w.place("vs", "c")
	await(t, "the second body is there", func() bool { return b.Status().Inbox == 1 && b.Status().Counts.Refused == 1 })
}
