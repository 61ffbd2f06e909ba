package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestOnlyWhatWasAskedAfterwardsIsAnAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, of := &acks{}, []raft.ServerID{"b", "c"}
		began := time.Now()
		a.note("b", ack{3, began})
		a.note("c", ack{2, began.Add(time.Second)})
		a.note("d", ack{3, began.Add(time.Second)})
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- a.await(ctx, of, 1, 3, began) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("an old answer, one of another term and one of a stranger were enough: %v", err)
		default:
		}
		a.note("b", ack{3, began.Add(1)})
		a.note("b", ack{3, began}) // an older question that took longer
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := a.await(ctx, of, 1, 3, began); err != nil {
			t.Error(err)
		}
		if err := a.await(ctx, nil, 0, 9, began); err != nil {
			t.Errorf("a cluster of one: %v", err)
		}
		cancel()
		if err := a.await(ctx, of, 2, 3, began); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// A gate, once shut, holds back what is read through it.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil before
	held int
}

func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
	return sync.OnceFunc(func() { close(g.open) })
}

func (g *gate) holds() int { g.mu.Lock(); defer g.mu.Unlock(); return g.held }

type gatedStream struct {
	net.Conn
	gate *gate
}

func (c gatedStream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.mu.Lock()
	open := c.gate.open
	if open != nil {
		c.gate.held++
	}
	c.gate.mu.Unlock()
	if open != nil {
		<-open
	}
	return n, err
}

// TestAnAnswerThatWasOnItsWayDoesNotConfirmALeader: without node.acknowledged the
// library takes answers from before the cut for a quorum.
func TestAnAnswerThatWasOnItsWayDoesNotConfirmALeader(t *testing.T) {
	l := newCluster(t, 3, func(o *Options) { o.Timing = slowLease })
	leader := l.leader()
	l.propose(leader, put(record("r", "x")))
	if err := leader.Verify(l.context()); err != nil { // which makes the leader ready to be verified by heartbeats
		t.Fatal(err)
	}
	g := &gate{}
	l.net.mu.Lock()
	l.net.wrap = func(c net.Conn) net.Conn { return gatedStream{c, g} }
	l.net.mu.Unlock()
	tr := leader.node.Load().transport
	for _, f := range l.followers() {
		p := tr.peer(serverAddress(f.id))
		p.urgent.breakOff(net.ErrClosed)
		p.control.breakOff(net.ErrClosed)
	}
	if err := leader.Verify(l.context()); err != nil { // over new streams
		t.Fatal(err)
	}
	open := g.shut()
	defer open()
	l.wait("answers to be on their way", func() bool { return g.holds() >= 2 })
	l.net.isolate(leader.id)
	done := make(chan error, 1)
	go func() { done <- leader.Verify(l.context()) }()
	// The library must have begun to count, which cannot be seen from outside: if it
	// has not, the test finds nothing wrong.
	<-time.After(100 * time.Millisecond)
	open()
	if err := <-done; !errors.Is(err, ErrNotLeader) {
		t.Errorf("a leader that was cut off was verified: %v", err)
	}
}
