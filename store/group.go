package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/fsm"
)

// Bounds of one log entry that holds several proposals.
const (
	maxGroup      = 128
	maxGroupBytes = 128 << 10
	// maxInFlight entries may be on their way at once. With one, a proposal that
	// just missed an entry would wait for two disk writes.
	maxInFlight = 2
)

// How an attempt to commit can fail.
var (
	// errNotAppended: certainly not in the log. Safe to try elsewhere.
	errNotAppended = errors.New("not appended")
	// errMaybeAppended: in the log of some filer, perhaps, and may be committed.
	errMaybeAppended = errors.New("may have been appended")
)

// A group is the leader's queue of proposals. One goroutine takes all that wait
// and makes them one log entry: many clients share one disk write, and a single
// one waits for nobody.
type group struct {
	s      *Store
	mu     sync.Mutex
	queue  []*proposal
	paused int           // while positive nothing is taken from the queue
	flying int           // entries in flight
	wake   chan struct{} // holds one item when there may be something to do
	idle   chan struct{} // closed when nothing is in flight; replaced when something is
}

type proposal struct {
	encoded []byte
	taken   bool
	done    chan struct{}
	result  fsm.Result
	err     error
}

func newGroup(s *Store) *group {
	g := &group{s: s, wake: make(chan struct{}, 1), idle: make(chan struct{})}
	close(g.idle)
	return g
}

// propose commits one encoded transaction while this filer leads.
func (g *group) propose(ctx context.Context, encoded []byte) (fsm.Result, error) {
	p := &proposal{encoded: encoded, done: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, p)
	g.mu.Unlock()
	g.kick()
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
	case <-g.s.life.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-p.done: // it was answered just now
		return p.result, p.err
	default:
	}
	err := context.Cause(ctx)
	if err == nil {
		err = ErrClosed
	}
	if p.taken {
		return fsm.Result{}, fmt.Errorf("%w: %w", errMaybeAppended, err)
	}
	p.taken = true // and so never taken
	return fsm.Result{}, fmt.Errorf("%w: %w", errNotAppended, err)
}

func (g *group) kick() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// run proposes what waits until the store is closed.
func (g *group) run() {
	var flights sync.WaitGroup
	defer flights.Wait()
	for {
		select {
		case <-g.wake:
		case <-g.s.life.Done():
			return
		}
		for batch := g.take(); len(batch) > 0; batch = g.take() {
			n := g.s.node.Load()
			future := n.raft.Apply(groupEntry(batch), 0)
			flights.Go(func() { g.land(batch, n, future) })
		}
	}
}

// take removes as many proposals from the queue as fit one entry.
func (g *group) take() []*proposal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused > 0 || g.flying >= maxInFlight {
		return nil
	}
	var batch []*proposal
	size, n := 0, 0
	for _, p := range g.queue {
		if len(batch) == maxGroup || len(batch) > 0 && size+len(p.encoded) > maxGroupBytes {
			break
		}
		n++
		if p.taken {
			continue // its proposer gave up
		}
		p.taken = true
		batch = append(batch, p)
		size += len(p.encoded)
	}
	g.queue = g.queue[n:]
	if len(g.queue) == 0 {
		g.queue = nil // let the array go
	}
	if len(batch) > 0 {
		if g.flying == 0 {
			g.idle = make(chan struct{})
		}
		g.flying++
	}
	return batch
}

func groupEntry(batch []*proposal) []byte {
	encoded := make([][]byte, len(batch))
	for i, p := range batch {
		encoded[i] = p.encoded
	}
	return seal(entryApply, fsm.JoinEntry(encoded))
}

// land waits for an entry and hands out the answers.
func (g *group) land(batch []*proposal, n *node, future raft.ApplyFuture) {
	results, err := g.s.outcome(n, future)
	if err == nil && len(results) != len(batch) {
		err = fmt.Errorf("%w: %d answers to %d transactions", errMaybeAppended, len(results), len(batch))
	}
	g.mu.Lock()
	for i, p := range batch {
		if p.err = err; err == nil {
			p.result = results[i]
		}
		close(p.done)
	}
	g.flying--
	if g.flying == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	g.kick()
}

// pause stops taking proposals and waits until none is in flight. What waits
// goes on waiting until resume is called.
func (g *group) pause(ctx context.Context) (resume func(), err error) {
	g.mu.Lock()
	g.paused++
	idle := g.idle
	g.mu.Unlock()
	resume = func() {
		g.mu.Lock()
		g.paused--
		g.mu.Unlock()
		g.kick()
	}
	select {
	case <-idle:
		return resume, nil
	case <-ctx.Done():
		resume()
		return nil, ctx.Err()
	}
}

// outcome waits for an entry and says what became of it.
func (s *Store) outcome(n *node, future raft.ApplyFuture) ([]fsm.Result, error) {
	err := n.wait(context.Background(), future)
	s.check(n, err)
	if err != nil {
		return nil, classify(err)
	}
	switch r := future.Response().(type) {
	case []fsm.Result:
		return r, nil
	case error:
		return nil, fmt.Errorf("%w: %w", errMaybeAppended, r)
	default:
		return nil, nil
	}
}

// classify says whether an entry that raft did not commit may yet be.
func classify(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%w: %w", errNotAppended, err)
	default:
		return fmt.Errorf("%w: %w", errMaybeAppended, err)
	}
}
