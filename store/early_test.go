package store

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A gatedLog is a disk whose appends wait at a gate.
type gatedLog struct {
	*raft.InmemStore
	mu     sync.Mutex
	gate   chan struct{} // nil: open
	err    error
	writes atomic.Int64
}

func (g *gatedLog) StoreLogs(ls []*raft.Log) error {
	g.mu.Lock()
	gate := g.gate
	g.mu.Unlock()
	if gate != nil {
		<-gate
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	g.writes.Add(1)
	return g.InmemStore.StoreLogs(ls)
}

func (g *gatedLog) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := make(chan struct{})
	g.gate = gate
	return func() {
		g.mu.Lock()
		g.gate = nil
		g.mu.Unlock()
		close(gate)
	}
}

func newGated(t *testing.T) (*gatedLog, *earlyLog, *atomic.Bool) {
	g := &gatedLog{InmemStore: raft.NewInmemStore()}
	e := newEarlyLog(g)
	leading := &atomic.Bool{}
	leading.Store(true)
	e.lead(leading.Load)
	t.Cleanup(e.close)
	return g, e, leading
}

func command(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: []byte{byte(index)}}
}

// returnsOnlyAfter checks that a call waits for the gate.
func returnsOnlyAfter(t *testing.T, what string, open func(), call func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case <-done:
		t.Errorf("%s did not wait for the disk", what)
	case <-time.After(20 * time.Millisecond):
	}
	open()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s after the disk was done", what)
	}
}

func TestALeaderDoesNotWaitForItsOwnDisk(t *testing.T) {
	g, e, _ := newGated(t)
	open := g.shut()
	for i := uint64(1); i <= 10; i++ {
		if err := e.StoreLog(command(i)); err != nil {
			t.Fatal(err)
		}
	}
	if g.writes.Load() != 0 {
		t.Fatal("the gate does not hold")
	}
	var l raft.Log
	if err := e.GetLog(7, &l); err != nil || l.Data[0] != 7 {
		t.Errorf("an entry that is on its way cannot be sent: %v", err)
	}
	if last, _ := e.LastIndex(); last != 10 {
		t.Errorf("the last entry is %d, want 10", last)
	}
	if first, _ := e.FirstIndex(); first != 1 {
		t.Errorf("the first entry is %d, want 1", first)
	}
	if through := e.through(); through != 0 {
		t.Errorf("followers are told that entry %d is committed, and nothing is on disk", through)
	}
	returnsOnlyAfter(t, "applying entry 3", open, func() error { return e.await(3) })
	if err := e.await(10); err != nil {
		t.Fatal(err)
	}
	if n := g.writes.Load(); n > 3 {
		t.Errorf("%d writes for ten entries that waited together", n)
	}
}

func TestWhatIsNotOrdinaryIsOnDiskFirst(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(e *earlyLog, leading *atomic.Bool) error
	}{
		{"appending a change of members", func(e *earlyLog, _ *atomic.Bool) error {
			return e.StoreLog(&raft.Log{Index: 2, Type: raft.LogConfiguration})
		}},
		{"appending as a follower", func(e *earlyLog, leading *atomic.Bool) error {
			leading.Store(false)
			return e.StoreLog(command(2))
		}},
		{"looking up, as a follower, what it sent as a leader", func(e *earlyLog, leading *atomic.Bool) error {
			leading.Store(false)
			return e.GetLog(1, &raft.Log{})
		}},
		{"deleting what is on its way", func(e *earlyLog, leading *atomic.Bool) error { return e.DeleteRange(1, 1) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, e, leading := newGated(t)
			open := g.shut()
			if err := e.StoreLog(command(1)); err != nil {
				t.Fatal(err)
			}
			returnsOnlyAfter(t, test.name, open, func() error { return test.call(e, leading) })
		})
	}
}

func TestAFailedEarlyWriteIsNeverAppliedOrForgotten(t *testing.T) {
	g, e, _ := newGated(t)
	g.err = syscall.EIO
	if err := e.StoreLog(command(1)); err != nil {
		t.Fatal(err)
	}
	if err := e.await(1); !errors.Is(err, syscall.EIO) {
		t.Errorf("the entry would be applied: %v", err)
	}
	g.mu.Lock()
	g.err = nil
	g.mu.Unlock()
	if err := e.StoreLog(command(2)); !errors.Is(err, syscall.EIO) {
		t.Errorf("the next write: %v, want the first error", err)
	}
	if through := e.through(); through != 0 {
		t.Errorf("followers are told that entry %d is committed", through)
	}
}

// TestNothingIsAnsweredBeforeTheLeaderHasIt holds the leader's disk while the
// followers' write: they have a quorum, and still nobody may see the change.
func TestNothingIsAnsweredBeforeTheLeaderHasIt(t *testing.T) {
	disks, adjust := withFaultyDisks()
	l := newCluster(t, 3, adjust)
	leader := l.leader()
	l.propose(leader, put(record("first", "x")))
	before := leader.node.Load().raft.LastIndex()
	d := disks[string(leader.id)]
	hang := make(chan struct{})
	d.mu.Lock()
	d.hang = hang
	d.mu.Unlock()
	release := sync.OnceFunc(func() {
		d.mu.Lock()
		d.hang = nil
		d.mu.Unlock()
		close(hang)
	})
	defer release()
	done := make(chan error, 1)
	go func() {
		_, err := leader.Propose(l.context(), put(record("r", "x")))
		done <- err
	}()
	l.wait("the followers to have the entry and the leader to count a quorum", func() bool {
		n := leader.node.Load().raft
		for _, f := range l.followers() {
			if f.node.Load().raft.LastIndex() < n.LastIndex() {
				return false
			}
		}
		return n.CommitIndex() == n.LastIndex() && n.LastIndex() > before
	})
	// Long enough for the leader to tell its followers many times what is committed.
	watch := time.After(20 * labTiming.Commit)
	for watching := true; watching; {
		for _, f := range l.filers {
			if got := value(f.State(), "r"); got != "" {
				t.Fatalf("%s has applied what the leader's disk does not hold", f.id)
			}
		}
		select {
		case err := <-done:
			t.Fatalf("the change was answered (%v) while the leader's disk did not hold it", err)
		case <-watch:
			watching = false
		case <-time.After(time.Millisecond):
		}
	}
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
