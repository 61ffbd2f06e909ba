package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/fsm"
)

// Bounds of one batch of proposals, which becomes one log entry.
const (
	maxGroup      = 128
	maxGroupBytes = 128 << 10
	// maxInFlight batches may be on their way at once: one on the disks, one on its
	// way to them, one being applied.
	maxInFlight = 3
)

// How an attempt to commit can fail.
var (
	// errNotAppended: certainly not in the log. Safe to try elsewhere.
	errNotAppended = errors.New("not appended")
	// errMaybeAppended: in the log of some filer, perhaps, and may be committed.
	errMaybeAppended = errors.New("may have been appended")
)

// A group is the queue of what is proposed on this filer, by its own clients and,
// while it leads, by other filers. One goroutine takes all that wait and sends
// them off together: as one log entry if this filer leads, as one request to the
// leader if not. Many clients share one disk write, and a single one waits for
// nobody.
type group struct {
	s      *Store
	mu     sync.Mutex
	queue  []*proposal
	paused int           // while positive nothing is taken from the queue
	flying int           // batches on their way
	wake   chan struct{} // holds one item when there may be something to do
	idle   chan struct{} // closed when nothing is on its way; replaced when something is
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

// propose commits encoded transactions, each by itself, and returns their
// results in the same order. An error is about at least one of them. over ends the
// wait as the end of the context does; nil for never.
func (g *group) propose(ctx context.Context, over <-chan struct{}, encoded ...[]byte) ([]fsm.Result, error) {
	ps := make([]*proposal, len(encoded))
	for i, e := range encoded {
		ps[i] = &proposal{encoded: e, done: make(chan struct{})}
	}
	g.mu.Lock()
	g.queue = append(g.queue, ps...)
	g.mu.Unlock()
	g.kick()
	results := make([]fsm.Result, len(ps))
	var errs []error
	for i, p := range ps {
		var err error
		if results[i], err = g.answer(ctx, over, p); err != nil {
			errs = append(errs, err)
		}
	}
	return results, errors.Join(errs...)
}

func (g *group) answer(ctx context.Context, over <-chan struct{}, p *proposal) (fsm.Result, error) {
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
	case <-over:
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
	switch {
	case err != nil:
	case g.s.life.Err() != nil:
		err = ErrClosed
	default:
		err = errReignOver
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

// run sends off what waits until the store is closed.
func (g *group) run() {
	var flights sync.WaitGroup
	defer flights.Wait()
	for {
		select {
		case <-g.wake:
		case <-g.s.life.Done():
			return
		}
		runtime.Gosched() // whoever is ready to propose comes along
		for batch := g.take(); len(batch) > 0; batch = g.take() {
			encoded := make([][]byte, len(batch))
			for i, p := range batch {
				encoded[i] = p.encoded
			}
			commit := g.send(encoded)
			flights.Go(func() { g.land(batch, commit) })
		}
	}
}

// send sends a batch off and returns how to wait for its results.
func (g *group) send(encoded [][]byte) (commit func() ([]fsm.Result, error)) {
	now := g.s.reigns.load()
	switch now.leader {
	case "":
		return func() ([]fsm.Result, error) { return nil, fmt.Errorf("%w: %w", errNotAppended, errNoLeader) }
	case g.s.o.ID:
		n := g.s.node.Load()
		future := n.raft.Apply(seal(entryApply, fsm.JoinEntry(encoded)), 0)
		return func() ([]fsm.Result, error) { return g.s.outcome(n, future) }
	}
	return func() ([]fsm.Result, error) {
		ctx, cancel := context.WithTimeout(now.ctx, forwardTimeout)
		defer cancel()
		var reply proposeReply
		err := g.s.ask(ctx, now.leader, pathPropose, proposeRequest{encoded}, &reply)
		return reply.Results, err
	}
}

// forwardTimeout bounds one request to the leader to commit something. It is
// long, because the end of the leader ends the request as well.
const forwardTimeout = 15 * time.Second

// take removes as many proposals from the queue as fit one batch.
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

// land waits for a batch and hands out the answers.
func (g *group) land(batch []*proposal, commit func() ([]fsm.Result, error)) {
	results, err := commit()
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
