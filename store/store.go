package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// A Store is this filer's part of the replicated store.
type Store struct {
	o         Options
	files     *files
	disk      *diskLog
	logs      *earlyLog // disk behind a cache
	snapshots raft.SnapshotStore
	acceptor  *acceptor
	views     *views
	reigns    *reigns
	group     *group
	reads     *rounds

	members   chan struct{} // holds one item while members are being changed
	restoring chan struct{} // holds one item while a restore passes through the log

	node       atomic.Pointer[node]
	nodeMu     sync.Mutex    // held while the node is exchanged
	lookMu     sync.Mutex    // held while the leader is looked up and noted
	repairs    chan repair   // nodes to be opened again
	wipes      chan struct{} // holds one item when raft has deleted its log
	suspects   chan struct{} // holds one item when the leader may be dead
	failure    atomic.Pointer[error]
	removed    chan struct{} // closed when this filer was removed
	removeOnce sync.Once
	life       context.Context // ends with Close
	endLife    context.CancelFunc
	workers    sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error
}

// logCache is how many of the latest entries followers are served from memory.
const logCache = 512

// Open opens the store in its directory, which is created if it is not there. A
// new store is in no cluster until Bootstrap, or until a leader adds it.
func Open(o Options) (_ *Store, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, views: newViews(), reigns: newReigns(),
		repairs: make(chan repair, 1), wipes: make(chan struct{}, 1), suspects: make(chan struct{}, 1), removed: make(chan struct{}),
		members: make(chan struct{}, 1), restoring: make(chan struct{}, 1)}
	s.group, s.reads = newGroup(s), newRounds(s)
	s.life, s.endLife = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.openLog(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.openSnapshots(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.acceptor = newAcceptor(o.Network.Raft())
	n, err := s.startNode()
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.node.Store(n)
	if failure := s.failure.Load(); failure != nil {
		return nil, fmt.Errorf("store: %w", *failure)
	}
	s.look(n) // it may have led already before it was observed
	s.workers.Go(s.group.run)
	s.workers.Go(s.reads.run)
	s.workers.Go(s.attend)
	return s, nil
}

func (s *Store) openLog() error {
	var err error
	if s.files, err = openFiles(s.o.Dir); err != nil {
		return err
	}
	if n := s.files.log.Dropped(); n > 0 {
		s.o.Log.Warn("the last append to the log was cut off by the end of the power; it was never acknowledged", "bytes", n)
	}
	s.disk = &diskLog{disk: s.o.disk(s.files), log: s.files.logPath, votes: s.files.votesPath, stall: s.o.DiskStall,
		onFail: s.diskFailed, onWipe: s.wiped, fatal: s.fatal}
	cached, err := raft.NewLogCache(logCache, s.o.logs(s.disk))
	if err != nil {
		return err
	}
	s.logs = newEarlyLog(cached)
	return nil
}

func (s *Store) openSnapshots() error {
	var err error
	s.snapshots, err = raft.NewFileSnapshotStoreWithLogger(s.o.Dir, 2, newRaftLogger(s.o.Log))
	return err
}

// Close ends this filer's part. Proposals in flight may or may not be committed.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.endLife()
		var errs []error
		s.nodeMu.Lock()
		if n := s.node.Load(); n != nil {
			errs = append(errs, n.stop())
		}
		s.nodeMu.Unlock()
		if s.acceptor != nil {
			if err := s.acceptor.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		s.workers.Wait()
		if s.logs != nil {
			s.logs.close()
		}
		if s.files != nil {
			errs = append(errs, s.files.Close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// Bootstrap makes this filer the first of a new cluster and commits the
// transactions. A refusal is returned as an error, before anything was done. It
// may be called again if it was interrupted before the first was committed.
func (s *Store) Bootstrap(ctx context.Context, first []fsm.Transaction) error {
	if err := rehearse(first); err != nil {
		return err
	}
	n := s.node.Load()
	servers, err := n.members()
	if err != nil {
		return fmt.Errorf("form a cluster: %w", err)
	}
	alone := len(servers) == 1 && servers[0].ID == raft.ServerID(s.o.ID)
	switch {
	case len(servers) == 0:
		f := n.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
			Suffrage: raft.Voter, ID: raft.ServerID(s.o.ID), Address: serverAddress(s.o.ID),
		}}})
		if err := f.Error(); err != nil {
			return fmt.Errorf("form a cluster: %w", err)
		}
	case !alone || s.State().Revision() > 0:
		return fmt.Errorf("form a cluster: %w: this filer is in a cluster already", ErrMembership)
	}
	for _, t := range first {
		r, err := s.Propose(ctx, t)
		if err != nil {
			return fmt.Errorf("form a cluster: %w", err)
		}
		if r.Refusal != nil {
			return r.Refusal
		}
	}
	return nil
}

// rehearse returns the first refusal that the transactions would meet in a new
// cluster.
func rehearse(ts []fsm.Transaction) error {
	entry, err := fsm.EncodeEntry(ts)
	if err != nil {
		return err
	}
	_, results, err := fsm.Apply(fsm.NewState(), 1, entry)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Refusal != nil {
			return r.Refusal
		}
	}
	return nil
}

// usable returns why the store cannot take part in anything, if so.
func (s *Store) usable() error {
	switch failure := s.failure.Load(); {
	case s.life.Err() != nil:
		return ErrClosed
	case failure != nil:
		return *failure
	}
	select {
	case <-s.removed:
		return ErrNotMember
	default:
		return nil
	}
}

// member returns ErrNotMember if this filer is in no cluster.
func (s *Store) member() error {
	if err := s.usable(); err != nil {
		return err
	}
	servers, err := s.node.Load().members()
	if err != nil {
		return err
	}
	if len(servers) == 0 {
		return ErrNotMember
	}
	return nil
}

// diskFailed takes this filer out of all decisions. The rest of the daemon goes
// on: it has its state, and its kernel is configured.
func (s *Store) diskFailed(err error) {
	s.fail(err)
	// Shutdown is asked for and not waited for: the caller is a goroutine that it
	// would wait for.
	if n := s.node.Load(); n != nil {
		n.quit()
	}
}

// fatal leaves the network, so that the others elect a leader, then calls the
// Fatal option.
func (s *Store) fatal(err error) {
	s.fail(err)
	n := s.node.Load()
	if n == nil {
		return // Open is under way and returns the error
	}
	n.quit()
	s.o.Fatal(err)
}

func (s *Store) fail(err error) {
	if s.failure.CompareAndSwap(nil, &err) {
		s.o.Log.Error("this filer leaves the cluster's decisions", "err", err)
		s.reigns.set("", 0)
	}
}

// State returns this filer's state, which may be older than the cluster's.
func (s *Store) State() *fsm.State { return s.views.load().state }

// Changed returns a channel that is closed at the next change of State. Take it
// before State, or a change between the two is missed.
func (s *Store) Changed() <-chan struct{} { return s.views.load().next }

// Wait waits until State has the revision.
func (s *Store) Wait(ctx context.Context, rev netquorum.Revision) error {
	return s.await(ctx, func(v *view) bool { return v.state.Revision() >= rev })
}

func (s *Store) await(ctx context.Context, reached func(*view) bool) error {
	return s.awaitDuring(ctx, nil, reached)
}

// awaitDuring is await until the reign is over; nil means whatever comes.
func (s *Store) awaitDuring(ctx context.Context, over <-chan struct{}, reached func(*view) bool) error {
	for {
		v := s.views.load()
		if reached(v) {
			return nil
		}
		select {
		case <-v.next:
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return errReignOver
		case <-s.life.Done():
			return ErrClosed
		}
	}
}
