package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// A node is one life of the raft library in this process.
type node struct {
	raft         *raft.Raft
	transport    *transport
	machine      *machine
	observer     *raft.Observer
	observations chan raft.Observation
	watching     sync.WaitGroup // the goroutine that follows the observations
	timing       timing
	over         chan struct{} // closed when the node is stopped
	endOnce      sync.Once
	refusedSince atomic.Int64 // see wedged
	readyTerm    uint64       // see Store.confirm; used by the one goroutine that reads
}

// rpcTimeout bounds one question to the leader or to raft itself.
const rpcTimeout = 5 * time.Second

// startNode starts raft over the log and snapshots of the store.
func (s *Store) startNode() (*node, error) {
	n := &node{machine: newMachine(s.views, s.fatal, s.logs.await), over: make(chan struct{})}
	n.transport = newTransport(s)
	// Raft panics when it cannot read the part of its log that it needs to begin.
	err := guard(s.files.logPath, func() (err error) {
		n.raft, err = raft.NewRaft(s.raftConfig(), n.machine, s.logs, s.disk, s.snapshots, n.transport)
		return err
	})
	if err != nil {
		n.transport.Close()
		n.transport.wait()
		return nil, s.startError(err)
	}
	s.logs.lead(func() bool { return n.raft.State() == raft.Leader })
	n.transport.lead(n.committed)
	n.timing = timing{raft: n.raft, set: s.o.Timing}
	n.observations = make(chan raft.Observation, 64)
	n.observer = raft.NewObserver(n.observations, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(n.observer)
	n.watching.Go(func() { s.observe(n) })
	return n, nil
}

// committed returns what the leader of a term knows to be committed, if this filer is
// that leader. In this order: in a later term it may know of entries in place of
// those that it once sent.
func (n *node) committed(term uint64) (index uint64, leads bool) {
	index = n.raft.CommitIndex()
	return index, n.raft.CurrentTerm() == term && n.raft.State() == raft.Leader
}

// startError turns what raft says of files that it cannot use into our error.
func (s *Store) startError(err error) error {
	if failure := s.failure.Load(); failure != nil {
		return *failure // where it began
	}
	if errors.Is(err, ErrDamaged) {
		return err
	}
	if snapshots, listErr := s.snapshots.List(); listErr == nil && len(snapshots) > 0 {
		return &DamagedError{filepath.Join(s.o.Dir, "snapshots"), err.Error()}
	}
	return fmt.Errorf("start raft: %w", err)
}

func (s *Store) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(s.o.ID)
	c.HeartbeatTimeout = s.o.Timing.Heartbeat
	c.ElectionTimeout = s.o.Timing.Election
	c.LeaderLeaseTimeout = s.o.Timing.Lease
	// Followers learn what is committed from tellers. What is left to the library's
	// empty appends is what has failed, and filers that have just begun.
	c.CommitTimeout = s.o.Timing.Heartbeat / 2
	c.MaxAppendEntries = 128
	c.BatchApplyCh = true
	c.SnapshotThreshold = s.o.Keep.Snapshot
	c.TrailingLogs = s.o.Keep.Trailing
	c.SnapshotInterval = s.o.Keep.Interval
	c.Logger = newRaftLogger(s.o.Log)
	c.LogOutput = io.Discard
	return c
}

// quit takes the node off the network and asks raft to end, without waiting.
func (n *node) quit() raft.Future {
	n.endOnce.Do(func() { close(n.over) })
	// Shutdown closes the transport as well, but only after raft's goroutines have
	// ended, and those may wait for the network.
	n.transport.Close()
	return n.raft.Shutdown()
}

// stop ends the node and waits for all that it started.
func (n *node) stop() error {
	err := n.quit().Error()
	n.transport.wait()
	n.raft.DeregisterObserver(n.observer)
	close(n.observations)
	n.watching.Wait()
	return err
}

// wait waits for a future. The library leaves some unanswered for ever when it
// ends or its main goroutine hangs, so the wait ends with the node and with the
// context; the goroutine then goes with the future.
func (n *node) wait(ctx context.Context, f raft.Future) error {
	answered := make(chan error, 1)
	go func() { answered <- f.Error() }()
	select {
	case err := <-answered:
		return err
	case <-n.over:
		return raft.ErrRaftShutdown
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// members returns the servers of the latest configuration. The library knows its index
// and says 0.
func (n *node) members() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// wedged notes the answer to an attempt to append, and reports whether the node
// has refused for too long because of a transfer of leadership. A transfer that
// is interrupted can leave its mark for ever (hashicorp/raft issue 696); only a
// new node helps.
func (n *node) wedged(err error, now time.Time, limit time.Duration) bool {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		n.refusedSince.Store(0)
		return false
	}
	if n.refusedSince.CompareAndSwap(0, now.UnixNano()) {
		return false
	}
	return now.Sub(time.Unix(0, n.refusedSince.Load())) > limit
}

// serverAddress is a filer's address as raft knows it: its id, for ever.
func serverAddress(id netquorum.FilerID) raft.ServerAddress { return raft.ServerAddress(id) }
