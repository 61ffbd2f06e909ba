package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// maxVoters is the largest cluster whose every commit still waits for a small
// number of disks.
const maxVoters = 5

// AddMember makes a filer, whose store is open and in no cluster, a member with
// a vote. It first lets the filer catch up without one: a voter that has nothing
// yet would be waited for by every commit. It may be called on any member.
func (s *Store) AddMember(ctx context.Context, id netquorum.FilerID) error {
	return s.lead(ctx, during(func(ctx context.Context, leader netquorum.FilerID) error {
		if leader == s.o.ID {
			return s.addHere(ctx, id)
		}
		return s.ask(ctx, leader, pathAdd, memberRequest{id}, &empty{})
	}))
}

// RemoveMember takes a filer out of the cluster, whether it runs or not. It may
// be called on any member. A leader hands its office over first.
func (s *Store) RemoveMember(ctx context.Context, id netquorum.FilerID) error {
	err := s.lead(ctx, during(func(ctx context.Context, leader netquorum.FilerID) error {
		if leader == s.o.ID {
			return s.removeHere(ctx, id)
		}
		return s.ask(ctx, leader, pathRemove, memberRequest{id}, &empty{})
	}))
	if err != nil && id == s.o.ID {
		select {
		case <-s.removed: // word of it was faster than the answer
			return nil
		default:
		}
	}
	return err
}

// changing makes changes of members wait for each other.
func (s *Store) changing(ctx context.Context) (done func(), err error) {
	select {
	case s.members <- struct{}{}:
		return func() { <-s.members }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errNotAppended, context.Cause(ctx))
	}
}

func (s *Store) addHere(ctx context.Context, id netquorum.FilerID) (err error) {
	done, err := s.changing(ctx)
	if err != nil {
		return err
	}
	defer done()
	n := s.node.Load()
	suffrage, voters, err := n.suffrage(id)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errNotAppended, err)
	case suffrage == isVoter:
		return nil
	case voters >= maxVoters:
		return fmt.Errorf("%w: the cluster has %d members, which is the most it can have", ErrMembership, voters)
	}
	if err := s.dropLeftovers(ctx, n, id); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		// A non-voter must not stay behind: while there is one every read costs a
		// disk write. The caller's context may be what failed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rpcTimeout)
		defer cancel()
		if suffrage, _, _ := n.suffrage(id); suffrage == isNonvoter {
			err = errors.Join(err, n.remove(ctx, id))
		}
	}()
	_, err = n.change(ctx, n.raft.AddNonvoter(raft.ServerID(id), serverAddress(id), 0, rpcTimeout))
	if err != nil {
		return fmt.Errorf("add filer %s: %w", id, err)
	}
	if err := s.catchUp(ctx, id); err != nil {
		return fmt.Errorf("add filer %s: %w", id, err)
	}
	at, err := n.change(ctx, n.raft.AddVoter(raft.ServerID(id), serverAddress(id), 0, rpcTimeout))
	if err != nil {
		return fmt.Errorf("add filer %s: give it its vote: %w", id, err)
	}
	s.spread(ctx, n, id, at)
	return nil
}

// spread waits until so many of the voters that were there before know of a new one
// that the cluster survives what its new size promises. The library refuses its vote
// to a candidate that has none by its own configuration. So if the leader of three
// is lost while only the new filer knows of its vote, neither of the other two can
// lead: the old one's log is too short, and the new one is a stranger to it.
func (s *Store) spread(ctx context.Context, n *node, added netquorum.FilerID, at uint64) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	servers, err := n.members()
	if err != nil {
		s.o.Log.Warn("it is not known who knows of the new member's vote", "filer", added, "err", err)
		return
	}
	answers := make(chan error, len(servers))
	former := 1 // with this one
	for _, srv := range servers {
		id := netquorum.FilerID(srv.ID)
		if srv.Suffrage != raft.Voter || id == added || id == s.o.ID {
			continue
		}
		former++
		asking.Go(func() { answers <- s.askToWait(ctx, id, at) })
	}
	for know, left := 1, former-1; know <= former/2; left-- {
		if left == 0 {
			s.o.Log.Warn("too few filers know of the new member's vote: until they can be reached, the loss of the leader may leave the cluster without one", "filer", added)
			return
		}
		if <-answers == nil {
			know++
		}
	}
}

// catchUpRounds is how often a new filer may chase what was committed while it
// was chasing.
const catchUpRounds = 20

// catchUp waits until a filer has applied what is committed, and needs less than
// an election timeout to do so again.
func (s *Store) catchUp(ctx context.Context, id netquorum.FilerID) error {
	for range catchUpRounds {
		start := s.o.Now()
		err := s.askToWait(ctx, id, s.views.load().through)
		if ctx.Err() != nil {
			return fmt.Errorf("%w: it did not catch up in time: %w", errNotAppended, context.Cause(ctx))
		}
		if err != nil {
			return fmt.Errorf("%w: it cannot be reached: %v", ErrMembership, err)
		}
		if s.o.Now().Sub(start) < s.o.Timing.Election {
			return nil
		}
	}
	return fmt.Errorf("%w: it is too slow to keep up with the cluster", ErrMembership)
}

// askToWait returns when a filer has applied the log up to an index.
func (s *Store) askToWait(ctx context.Context, id netquorum.FilerID, index uint64) error {
	return s.ask(ctx, id, pathWait, waitRequest{index}, &indexReply{})
}

// dropLeftovers removes non-voters, other than the given one, that a leader left
// behind when it died in the middle of adding them.
func (s *Store) dropLeftovers(ctx context.Context, n *node, except netquorum.FilerID) error {
	servers, err := n.members()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotAppended, err)
	}
	for _, srv := range servers {
		if srv.Suffrage == raft.Voter || srv.ID == raft.ServerID(except) {
			continue
		}
		if err := n.remove(ctx, netquorum.FilerID(srv.ID)); err != nil {
			return fmt.Errorf("remove filer %s, which never came to vote: %w", srv.ID, err)
		}
	}
	return nil
}

func (s *Store) removeHere(ctx context.Context, id netquorum.FilerID) error {
	done, err := s.changing(ctx)
	if err != nil {
		return err
	}
	defer done()
	n := s.node.Load()
	suffrage, voters, err := n.suffrage(id)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errNotAppended, err)
	case suffrage == isAbsent:
		return nil
	case suffrage == isVoter && voters == 1:
		return fmt.Errorf("%w: filer %s is the only member", ErrMembership, id)
	case id == s.o.ID:
		if err := s.handOver(ctx, n); err != nil {
			return fmt.Errorf("remove the leader: %w", err)
		}
		return fmt.Errorf("%w: leadership was handed over, the new leader has to be asked", errNotAppended)
	}
	if err := n.remove(ctx, id); err != nil {
		return fmt.Errorf("remove filer %s: %w", id, err)
	}
	// It learns of it from us: replication stops with its removal, and without
	// word it would stand for election for ever. If it cannot be reached, its
	// votes are refused.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.ask(ctx, id, pathRemoved, empty{}, &empty{}); err != nil {
		s.o.Log.Warn("the removed filer could not be told", "filer", id, "err", err)
	}
	return nil
}

// handOver gives leadership to a follower that is up to date, while nothing is
// in flight. Raft's own transfer can get stuck when the target lags.
func (s *Store) handOver(ctx context.Context, n *node) error {
	resume, err := s.group.pause(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotAppended, err)
	}
	defer resume()
	servers, err := n.members()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotAppended, err)
	}
	for _, srv := range servers {
		if srv.Suffrage != raft.Voter || srv.ID == raft.ServerID(s.o.ID) {
			continue
		}
		id := netquorum.FilerID(srv.ID)
		quick, cancel := context.WithTimeout(ctx, s.o.Timing.Election)
		err := s.askToWait(quick, id, s.views.load().through)
		cancel()
		if err != nil {
			continue
		}
		err = n.wait(ctx, n.raft.LeadershipTransferToServer(srv.ID, srv.Address))
		s.check(n, err)
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: no other member is up to date", errNotAppended)
}

type suffrage int

const (
	isAbsent suffrage = iota
	isNonvoter
	isVoter
)

// suffrage says what a filer is in the latest configuration.
func (n *node) suffrage(id netquorum.FilerID) (is suffrage, voters int, err error) {
	servers, err := n.members()
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
		switch {
		case s.ID != raft.ServerID(id):
		case s.Suffrage == raft.Voter:
			is = isVoter
		default:
			is = isNonvoter
		}
	}
	return is, voters, err
}

func (n *node) remove(ctx context.Context, id netquorum.FilerID) error {
	_, err := n.change(ctx, n.raft.RemoveServer(raft.ServerID(id), 0, rpcTimeout))
	return err
}

// change waits for a change of the configuration, and returns the index of its entry.
// That nobody else makes one meanwhile is for Store.changing to see to.
func (n *node) change(ctx context.Context, f raft.IndexFuture) (index uint64, err error) {
	if err := n.wait(ctx, f); err != nil {
		return 0, classify(err)
	}
	return f.Index(), nil
}

// leave ends this filer's membership: it was removed.
func (s *Store) leave(n *node) {
	s.removeOnce.Do(func() {
		s.o.Log.Info("this filer was removed from the cluster")
		close(s.removed)
		s.reigns.set("", 0)
		n.quit()
	})
}

// Removed returns a channel that is closed when this filer was removed from its
// cluster. The store then answers with ErrNotMember; to join again it needs an
// empty directory.
func (s *Store) Removed() <-chan struct{} { return s.removed }
