package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/fsm"
)

// A Consistency says how fresh a read must be.
type Consistency int

const (
	// Linearizable reads see every transaction that was acknowledged before the
	// read began, on whichever filer.
	Linearizable Consistency = iota
	// Stale reads see this filer's state as it is, without asking anyone.
	Stale
)

// Read returns a state that is as fresh as asked for. Linearizable reads fail
// with ErrNoQuorum if no leader answers before the context ends.
func (s *Store) Read(ctx context.Context, c Consistency) (*fsm.State, error) {
	return s.ReadWhile(ctx, nil, c)
}

// ReadWhile is Read that waits for a leader no longer than while says, which may be
// nil.
func (s *Store) ReadWhile(ctx context.Context, while While, c Consistency) (*fsm.State, error) {
	if c == Stale {
		return s.State(), nil
	}
	var state *fsm.State
	err := s.leadWhile(ctx, while, func(ctx context.Context, now *reign) error {
		index, err := s.reads.index(ctx, now.ctx.Done())
		if err != nil {
			return fmt.Errorf("%w: %v", errNotAppended, err) // whatever it was, a read has no effect
		}
		if err := s.awaitDuring(ctx, now.ctx.Done(), func(v *view) bool { state = v.state; return v.through >= index }); err != nil {
			return fmt.Errorf("%w: %v", errNotAppended, err) // whatever it was, a read has no effect
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return state, nil
}

// Verify returns nil if this filer led the cluster, with a quorum behind it, at
// some moment during the call, and ErrNotLeader if not.
func (s *Store) Verify(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return err
	}
	if now := s.reigns.load(); now.leader != s.o.ID {
		return &notLeaderError{now.leader}
	}
	if _, err := s.reads.index(ctx, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	if now := s.reigns.load(); now.leader != s.o.ID { // a follower's round would pass too
		return &notLeaderError{now.leader}
	}
	return nil
}

// confirm returns the index through which the log must be applied for a read
// that begins now to be linearizable. This filer must lead, and proves it.
func (s *Store) confirm(ctx context.Context) (uint64, error) {
	n := s.node.Load()
	term := n.raft.CurrentTerm()
	// A new leader does not know what its predecessors committed until it has
	// committed something itself.
	if n.readyTerm != term || n.hasNonvoter() {
		return s.confirmByBarrier(ctx, n, term)
	}
	// In this order: what is committed now must be covered even if it is
	// committed by somebody else by the time we are found to be deposed.
	index, began := n.raft.CommitIndex(), time.Now()
	if err := n.wait(ctx, n.raft.VerifyLeader()); err != nil {
		return 0, err
	}
	if err := n.acknowledged(ctx, term, began); err != nil {
		return 0, err
	}
	// The library counts the answers of non-voters towards the quorum of voters:
	// with one of them on its side, a leader that was cut off would confirm
	// itself.
	if n.hasNonvoter() {
		return s.confirmByBarrier(ctx, n, term)
	}
	return s.target(index), nil
}

// acknowledged waits until a quorum, this filer included, has followed it in the
// term in answer to what it asked after the given time. The library has asked
// everybody by the time that it calls the leader verified.
func (n *node) acknowledged(ctx context.Context, term uint64, after time.Time) error {
	servers, err := n.members()
	if err != nil {
		return err
	}
	var others []raft.ServerID
	self := 0
	for _, s := range servers {
		switch {
		case s.Suffrage != raft.Voter:
		case s.Address == n.transport.LocalAddr():
			self = 1
		default:
			others = append(others, s.ID)
		}
	}
	return n.transport.acks.await(ctx, others, (len(others)+self)/2+1-self, term, after)
}

// confirmByBarrier commits an entry, which only a leader can, and which the
// state machine passes only after all that was committed before.
func (s *Store) confirmByBarrier(ctx context.Context, n *node, term uint64) (uint64, error) {
	err := n.wait(ctx, n.raft.Barrier(rpcTimeout))
	s.check(n, err)
	if err != nil {
		return 0, err
	}
	if n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term {
		n.readyTerm = term
	}
	return s.views.load().through, nil
}

func (n *node) hasNonvoter() bool {
	servers, err := n.members()
	if err != nil {
		return true
	}
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			return true
		}
	}
	return false
}

// target returns the last index, up to the given one, that the state machine is
// told of. It never sees barriers and the entries with which leaders begin, so
// waiting for those would take until the next transaction.
func (s *Store) target(index uint64) uint64 {
	through := s.views.load().through
	for ; index > through; index-- {
		var l raft.Log
		if err := s.logs.GetLog(index, &l); err != nil {
			return through // compacted, and therefore applied
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return index
		}
	}
	return index
}

// rounds answers concurrent reads together: whoever asks while one confirmation
// is under way shares the next.
type rounds struct {
	s    *Store
	join chan chan<- answer
}

type answer struct {
	index uint64
	err   error
}

func newRounds(s *Store) *rounds {
	return &rounds{s: s, join: make(chan chan<- answer, 1024)}
}

// index returns the read index of a confirmation that began after the call.
func (r *rounds) index(ctx context.Context, over <-chan struct{}) (uint64, error) {
	reply := make(chan answer, 1)
	select {
	case r.join <- reply:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-over:
		return 0, errReignOver
	}
	select {
	case a := <-reply:
		return a.index, a.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-over:
		return 0, errReignOver
	case <-r.s.life.Done():
		return 0, ErrClosed
	}
}

func (r *rounds) run() {
	for {
		var waiting []chan<- answer
		select {
		case w := <-r.join:
			waiting = append(waiting, w)
		case <-r.s.life.Done():
			return
		}
		for n := len(r.join); n > 0; n-- {
			waiting = append(waiting, <-r.join)
		}
		var a answer
		a.index, a.err = r.round()
		for _, w := range waiting {
			w <- a
		}
	}
}

var errNoLeader = errors.New("nobody leads")

// round confirms here, or has the leader confirm. It lasts no longer than the
// leader does.
func (r *rounds) round() (uint64, error) {
	now := r.s.reigns.load()
	ctx, cancel := context.WithTimeout(now.ctx, rpcTimeout)
	defer cancel()
	switch now.leader {
	case "":
		return 0, errNoLeader
	case r.s.o.ID:
		return r.s.confirm(ctx)
	}
	var reply indexReply
	err := r.s.ask(ctx, now.leader, pathReadIndex, struct{}{}, &reply)
	return reply.Index, err
}
