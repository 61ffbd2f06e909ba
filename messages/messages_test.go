package messages

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

func TestCallReachesAServiceOfAnotherFilerAndOfThisOne(t *testing.T) {
	w := newWorld(t)
	a, b := w.start("a"), w.start("b")
	for _, n := range []*Node{a, b} {
		if _, err := n.Serve("echo", func(_ context.Context, m *Message) ([]byte, error) {
			body, err := m.Body.Bytes(1 << 20)
			return append([]byte(string(n.cfg.Self)+":"), body[:min(len(body), 10)]...), err
		}); err != nil {
			t.Fatal(err)
		}
	}
	box := box(t, a, "test")
	for _, to := range []Target{{Service: "echo", Filer: "a"}, {Service: "echo", Filer: "b"}} {
		for _, size := range []int{0, 10, MaxInline, MaxInline + 1, 1 << 20} {
			for _, p := range []Priority{Control, Bulk} {
				body := bytes.Repeat([]byte("x"), size)
				c, err := box.Call(soon(t), Message{To: to, Priority: p, Body: Bytes(body)})
				if err != nil {
					t.Fatalf("%v %d %v: %v", to, size, p, err)
				}
				if want := fmt.Sprintf("%s:%s", to.Filer, body[:min(size, 10)]); string(c.Result) != want {
					t.Errorf("%v %d: the result is %q, want %q", to, size, c.Result, want)
				}
			}
		}
	}
	await(t, "nothing is left", func() bool {
		x, y := a.Status(), b.Status()
		return x.Pending+x.Completions+x.Inbox+x.Stored+y.Inbox+y.Stored == 0 && x.SpoolOut+x.SpoolIn+y.SpoolIn == 0
	})
}

// TestASettlementDoesNotOvertakeItsMessage: a bulk message comes again over a slow
// stream while its completion is already on the way. It must not be taken for a new
// one when it arrives.
func TestASettlementDoesNotOvertakeItsMessage(t *testing.T) {
	w := newWorld(t)
	a, b := w.start("a"), w.start("b")
	if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Priority: Bulk}); err != nil {
		t.Fatal(err)
	}
	await(t, "it is accepted", func() bool { return b.Status().Inbox == 1 })
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()
	w.breakStreams(func(x, y netquorum.FilerID) bool { return true })
	await(t, "it is put again", func() bool { return a.Status().Counts.Resent == 1 })
	var handled atomic.Int32
	mustServe(t, b, "work", func(context.Context, *Message) ([]byte, error) { handled.Add(1); return nil, nil })
	await(t, "it is completed", func() bool { return a.Status().Pending == 0 })
	select { // time for a settlement that does not wait for the message
	case <-time.After(100 * time.Millisecond):
	case <-t.Context().Done():
	}
	close(gate)
	await(t, "it has come again", func() bool { return b.Status().Counts.Duplicates == 1 || handled.Load() > 1 })
	await(t, "the receiver has forgotten it", func() bool { return b.Status().Stored == 0 })
	if n := handled.Load(); n != 1 {
		t.Errorf("it was handled %d times", n)
	}
}

// TestWhatFoundNoRoomComesBeforeWhatFollowsIt: the queue had room again in between.
func TestWhatFoundNoRoomComesBeforeWhatFollowsIt(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.MaxInbox = 1 }
	b := w.open("b")
	near, _ := memPipe(w)
	s := &inSession{node: b, from: "a", control: near, wake: make(chan struct{}, 1)}
	put := func(seq uint64) {
		t.Helper()
		e := envelope{id: ID{Filer: "a", Client: "client", Seq: seq}, to: Target{Service: "work", Filer: "b"}, attempt: 1}
		if err := s.put(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	setWaiting := func(n int) {
		b.mu.Lock()
		b.service("work").waiting = n
		b.roomAgain(b.service("work"))
		b.mu.Unlock()
	}
	setWaiting(1)
	put(2)
	setWaiting(0)
	put(3)
	if n := len(b.ins); n != 0 {
		t.Fatalf("%d messages were taken before the one that found no room", n)
	}
	put(2)
	setWaiting(0)
	put(4)
	if n := len(b.ins); n != 1 {
		t.Errorf("%d messages were taken, want the one that found no room alone: another one is to come before the last", n)
	}
	for seq := uint64(3); seq <= 4; seq++ {
		put(seq)
		setWaiting(0)
	}
	if n := len(b.ins); n != 3 {
		t.Errorf("%d messages were taken, want 3", n)
	}
}

// TestRunEndsItsHandlers: one that waits for its context does not hold up the end,
// and its message is handled again.
func TestRunEndsItsHandlers(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	entered := make(chan struct{}, 1)
	wait := func(ctx context.Context, m *Message) ([]byte, error) {
		entered <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	mustServe(t, a, "work", wait)
	if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "a"}}); err != nil {
		t.Fatal(err)
	}
	<-entered
	w.halt("a")
	a = w.start("a")
	again := make(chan bool, 1)
	mustServe(t, a, "work", func(_ context.Context, m *Message) ([]byte, error) { again <- m.Redelivered; return nil, nil })
	if !<-again {
		t.Error("it is not said to have been delivered before")
	}
	await(t, "it is completed", func() bool { return a.Status().Pending == 0 })
}

// TestWhatWasRefusedTakesWhatFollowsItAlong: the receiver has not heard of the move
// and would handle the later message of the stream, whose turn is after the one
// that goes elsewhere.
func TestWhatWasRefusedTakesWhatFollowsItAlong(t *testing.T) {
	w := newWorld(t)
	b := w.start("b")
	w.place("vs", "b")
	near, _ := memPipe(w)
	s := &inSession{node: b, from: "a", control: near, wake: make(chan struct{}, 1)}
	put := func(seq uint64) {
		t.Helper()
		e := envelope{id: ID{Filer: "a", Client: "client", Seq: seq}, to: Target{Service: "work", Server: "vs"}, attempt: 1, epoch: 1}
		if err := s.put(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	await(t, "the first is on disk", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		x := b.ins[ID{Filer: "a", Client: "client", Seq: 1}]
		return x != nil && !x.writing
	})
	hold := make(chan struct{})
	b.commits.submit(Control, &op{do: func(*bbolt.Tx) error { <-hold; return nil }, done: func(error) {}})
	put(2) // is not on disk yet when the first is recalled
	b.recalled("a", "vs", 2)
	mustServe(t, b, "work", func(_ context.Context, m *Message) ([]byte, error) {
		t.Errorf("%d was handled", m.ID.Seq)
		return nil, nil
	})
	close(hold)
	await(t, "both are refused", func() bool { return b.Status().Counts.Refused == 2 })
	put(3)
	await(t, "the third is refused", func() bool { return b.Status().Counts.Refused == 3 })
}
