package store

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// timing shortens a follower's patience while its leader is known to be dead.
type timing struct {
	mu   sync.Mutex
	raft *raft.Raft
	set  Timing
}

// hurry lets the follower stand for election at once. The lease is the floor,
// which raft does not let us go below: a leader that merely cannot reach us has
// stepped down by then.
func (t *timing) hurry() error {
	// Only a change to a shorter timeout rouses the follower.
	if err := t.relax(); err != nil {
		return err
	}
	return t.reload(t.set.Lease, t.set.Lease)
}

// relax returns to the configured patience.
func (t *timing) relax() error { return t.reload(t.set.Heartbeat, t.set.Election) }

func (t *timing) reload(heartbeat, election time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.raft.ReloadableConfig()
	if c.HeartbeatTimeout == heartbeat && c.ElectionTimeout == election {
		return nil
	}
	c.HeartbeatTimeout, c.ElectionTimeout = heartbeat, election
	return t.raft.ReloadConfig(c)
}

// suspect is called when a stream that another filer opened has ended.
func (s *Store) suspect() {
	select {
	case s.suspects <- struct{}{}:
	default:
	}
}

// attend does what the store does by itself beside raft, one thing at a time.
func (s *Store) attend() {
	for {
		select {
		case r := <-s.repairs:
			s.reopen(r)
		case <-s.wipes:
			s.checkWiped()
		case <-s.suspects:
			s.succeed(s.node.Load(), s.reigns.load())
		case <-s.life.Done():
			return
		}
	}
}

// stagger keeps two followers that know of the same death from standing for
// election in the same instant, which would split the votes and cost a whole
// election timeout. The first to stand is refused by the other, who still
// believes in the leader, and then votes for it.
const stagger = 25 * time.Millisecond

// succeed finds out whether the leader's process is dead, and if so does not
// wait out the heartbeat timeout. Without proof (a host that lost power does not
// answer) the timeout decides, as always.
func (s *Store) succeed(n *node, now *reign) {
	if now.leader == "" || now.leader == s.o.ID || !s.isDead(now) {
		return
	}
	servers, err := n.members()
	if err != nil {
		return
	}
	patience := s.o.Timing.Lease + rank(servers, now.leader, s.o.ID)*stagger
	for {
		// What was on its way when the leader died counts as a sign of life too.
		left := time.Until(n.raft.LastContact().Add(patience))
		if left < 0 {
			break
		}
		timer := time.NewTimer(left + time.Millisecond)
		select {
		case <-timer.C:
		case <-now.ctx.Done():
			timer.Stop()
			return
		case <-s.life.Done():
			timer.Stop()
			return
		}
	}
	s.o.Log.Info("the leader's process is gone, electing another", "leader", now.leader)
	if err := n.timing.hurry(); err != nil {
		s.o.Log.Warn("cannot hurry the election", "err", err)
	}
}

// isDead reports whether the leader's host answers and nobody listens there. The
// kernel closes the sockets of a process that dies one by one, so the first
// attempt may still be taken by one that is about to go; it is then watched for a
// moment.
func (s *Store) isDead(now *reign) bool {
	ctx, cancel := context.WithTimeout(now.ctx, s.o.Timing.Lease)
	defer cancel()
	deadline, _ := ctx.Deadline()
	for ctx.Err() == nil {
		conn, err := s.o.Network.OpenRaft(ctx, now.leader, Urgent)
		if err != nil {
			return errors.Is(err, syscall.ECONNREFUSED)
		}
		// Nothing is ever sent on it: either it ends, or the time is up.
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		if err = conn.SetReadDeadline(deadline); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		stop()
		conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return false
}

// rank is the filer's place among the voters that are left without the leader.
func rank(servers []raft.Server, leader, self netquorum.FilerID) time.Duration {
	var ids []netquorum.FilerID
	for _, s := range servers {
		if id := netquorum.FilerID(s.ID); s.Suffrage == raft.Voter && id != leader {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return time.Duration(max(slices.Index(ids, self), 0))
}
