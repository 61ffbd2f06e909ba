package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/fsm"
)

// onlyLog hides that a log is monotonic.
type onlyLog struct{ raft.LogStore }

// TestAFollowerWithADivergentTailTakesASnapshot is the regression test for
// hashicorp/raft issues 697 and 704, which diskLog.IsMonotonic and Store.wiped
// avoid together. With the second alone taken away it fails as well.
func TestAFollowerWithADivergentTailTakesASnapshot(t *testing.T) {
	for _, c := range []struct {
		name      string
		protected bool
	}{
		{"and follows", true},
		{"and is stuck without the protection", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newCluster(t, 3, func(o *Options) {
				o.Keep = Keep{Snapshot: 1 << 20, Trailing: 1, Interval: time.Hour}
				if !c.protected {
					o.logs = func(log raft.LogStore) raft.LogStore { return onlyLog{log} }
				}
			})
			old := l.leader()
			rest := l.followers()
			l.net.isolate(old.id)
			n := old.node.Load()
			entry, err := fsm.EncodeEntry([]fsm.Transaction{put(record("divergent", "x"))})
			if err != nil {
				t.Fatal(err)
			}
			for range 200 {
				n.raft.Apply(seal(entryApply, entry), 0)
			}
			l.wait("the former leader to step down", func() bool { return n.raft.State() != raft.Leader })
			tail := n.raft.LastIndex()
			var leader *filer
			l.wait("the others to elect a leader", func() bool {
				for _, f := range rest {
					if f.reigns.load().leader == f.id {
						leader = f
					}
				}
				return leader != nil
			})
			for i := range 20 {
				l.propose(leader, put(record(fmt.Sprintf("r%d", i), "x")))
			}
			if err := leader.node.Load().raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			if last := leader.node.Load().raft.LastIndex(); last >= tail {
				t.Fatalf("the divergent tail ends at %d, the log at %d: nothing is tested", tail, last)
			}
			l.net.heal()
			if c.protected {
				l.wait("the former leader to catch up", func() bool { return old.State().Hash() == leader.State().Hash() })
				l.propose(old, put(record("after", "x")))
				return
			}
			// It takes the snapshot, and then never an entry.
			l.wait("the former leader to take the snapshot", func() bool { return value(old.State(), "r19") == "x" })
			r := l.propose(leader, put(record("after", "x")))
			if err := old.Wait(testContext(t, 2*time.Second), r.Revision); err == nil {
				t.Error("the library follows by itself: IsMonotonic is not needed any more")
			}
			l.filers = rest // its state cannot agree
			l.kill(old)
		})
	}
}

func TestAFilerThatWasAwayForLongIsBroughtUpBySnapshot(t *testing.T) {
	l := newCluster(t, 3, func(o *Options) { o.Keep = Keep{Snapshot: 20, Trailing: 5, Interval: 20 * time.Millisecond} })
	away := l.follower()
	l.kill(away)
	for i := range 100 {
		l.propose(l.leader(), put(record(fmt.Sprintf("r%d", i), "x")))
	}
	n := l.leader().node.Load()
	l.wait("the leader to drop its old log", func() bool {
		first, err := l.leader().disk.FirstIndex()
		return err == nil && first > 50 && n.raft.LastIndex() > first
	})
	l.open(away)
	l.wait("the filer to catch up", func() bool { return value(away.State(), "r99") == "x" })
	l.agree()
	// And from its own snapshot, after a restart of everything.
	for _, f := range l.filers {
		l.kill(f)
	}
	for _, f := range l.filers {
		l.open(f)
	}
	l.mustHave(map[string]string{"r0": "x", "r99": "x"})
}

func TestASnapshotHoldsAnInterruptedRestore(t *testing.T) {
	docs := generation(1, 100, 8<<10)
	parts := packAll(t, put(docs...))
	if len(parts) < 3 {
		t.Fatalf("%d parts", len(parts))
	}
	add := func(a assembly, i int) (assembly, *fsm.Transaction) {
		_, payload, err := unseal(sealPart("restore-1", i, len(parts), parts[i]))
		if err != nil {
			t.Fatal(err)
		}
		a, whole, err := a.add(payload, new(opener))
		if err != nil {
			t.Fatal(err)
		}
		return a, whole
	}
	var pending assembly
	for i := range parts[:2] {
		pending, _ = add(pending, i)
	}
	var b bytes.Buffer
	if err := (&snapshot{fsm.NewState(), 17, pending}).encode(&b); err != nil {
		t.Fatal(err)
	}
	s, err := decodeSnapshot(&b)
	if err != nil {
		t.Fatal(err)
	}
	if s.through != 17 {
		t.Errorf("through %d, want 17", s.through)
	}
	var whole *fsm.Transaction
	pending = s.pending
	for i := range parts[2:] {
		pending, whole = add(pending, i+2)
	}
	if whole == nil || len(whole.Puts) != len(docs) {
		t.Errorf("after the last part: %v, want %d documents", whole, len(docs))
	}
}

func TestADamagedSnapshotIsNamedAndKept(t *testing.T) {
	l := newCluster(t, 1, func(o *Options) { o.Keep = Keep{Snapshot: 1 << 20, Trailing: 1, Interval: time.Hour} })
	f := l.filers[0]
	for i := range 10 {
		l.propose(f, put(record(fmt.Sprintf("r%d", i), "x")))
	}
	if err := f.node.Load().raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	l.kill(f)
	files, err := filepath.Glob(filepath.Join(f.dir, "snapshots", "*", "state.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d snapshots, %v", len(files), err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	mustBeDamaged(t, l.start(f), filepath.Join(f.dir, "snapshots"))
	if now, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(now, data) {
		t.Errorf("the damaged snapshot was touched: %v", err)
	}
}
