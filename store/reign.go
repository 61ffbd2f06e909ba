package store

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// A reign is the time during which this filer sees one and the same leader.
type reign struct {
	leader netquorum.FilerID // empty while nobody is known to lead
	term   uint64
	ctx    context.Context // ends with the reign
}

// reigns holds the current reign.
type reigns struct {
	current atomic.Pointer[reign]
	mu      sync.Mutex
	end     context.CancelFunc
}

func newReigns() *reigns {
	r := &reigns{}
	r.set("", 0)
	return r
}

func (r *reigns) load() *reign { return r.current.Load() }

// set begins a reign, unless it is the one that goes on.
func (r *reigns) set(leader netquorum.FilerID, term uint64) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.load(); now != nil && now.leader == leader && now.term == term {
		return false
	}
	ctx, end := context.WithCancel(context.Background())
	r.current.Store(&reign{leader, term, ctx})
	if r.end != nil {
		r.end()
	}
	r.end = end
	return true
}

// observe follows a node's leadership until the channel of its observer is
// closed. Raft drops observations rather than wait, so they only say that it is
// time to look.
func (s *Store) observe(n *node) {
	for range n.observations {
		s.look(n)
	}
}

func (s *Store) look(n *node) {
	s.lookMu.Lock()
	defer s.lookMu.Unlock()
	_, id := n.raft.LeaderWithID()
	leader := netquorum.FilerID(id)
	state := n.raft.State()
	// A leader that steps down changes its state before it forgets that it led.
	if leader == s.o.ID && state != raft.Leader {
		leader = ""
	}
	if state == raft.Shutdown {
		leader = ""
		select {
		case <-n.over: // we stopped it
		default: // ShutdownOnRemove
			s.leave(n)
		}
	}
	if s.reigns.set(leader, n.raft.CurrentTerm()) {
		s.o.Log.Info("leader changed", "leader", leader, "term", n.raft.CurrentTerm(), "self", leader == s.o.ID)
		if leader == "" {
			return
		}
		if err := n.timing.relax(); err != nil {
			s.o.Log.Warn("cannot return to the configured timing", "err", err)
		}
	}
}
