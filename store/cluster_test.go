package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum/fsm"
)

func TestClustersOfAllowedSizes(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprintf("%d filers", n), func(t *testing.T) {
			l := newCluster(t, n)
			for i, f := range l.filers {
				name := fmt.Sprintf("written-on-%d", i)
				r := l.propose(f, put(record(name, "x")))
				for _, g := range l.filers {
					if err := g.Wait(l.context(), r.Revision); err != nil {
						t.Fatalf("%s did not reach revision %d: %v", g.id, r.Revision, err)
					}
					if value(g.State(), name) != "x" {
						t.Errorf("%s lacks %s", g.id, name)
					}
				}
			}
			if got := len(l.leader().Status().Members); got != n {
				t.Errorf("%d members, want %d", got, n)
			}
		})
	}
}

func TestWhatIsInNoClusterSaysSo(t *testing.T) {
	l := newLab(t, 1)
	f := l.filers[0]
	if _, err := f.Propose(l.context(), put(clusterDocument())); !errors.Is(err, ErrNotMember) {
		t.Errorf("propose: %v, want ErrNotMember", err)
	}
	if _, err := f.Read(l.context(), Linearizable); !errors.Is(err, ErrNotMember) {
		t.Errorf("read: %v, want ErrNotMember", err)
	}
	if got := f.Status().Role; got != RoleNone {
		t.Errorf("role %q, want %q", got, RoleNone)
	}
}

func TestBootstrapRefusesBeforeItActs(t *testing.T) {
	l := newLab(t, 1)
	f := l.filers[0]
	var refusal *fsm.Refusal
	if err := f.Bootstrap(l.context(), []fsm.Transaction{put(record("r", "x"))}); !errors.As(err, &refusal) {
		t.Fatalf("bootstrap without a Cluster document: %v, want a refusal", err)
	}
	if got := f.Status(); got.Role != RoleNone {
		t.Errorf("a refused bootstrap left role %q", got.Role)
	}
	if err := f.Bootstrap(l.context(), []fsm.Transaction{put(clusterDocument())}); err != nil {
		t.Fatal(err)
	}
	if err := f.Bootstrap(l.context(), []fsm.Transaction{put(clusterDocument())}); !errors.Is(err, ErrMembership) {
		t.Errorf("second bootstrap: %v, want ErrMembership", err)
	}
}

func TestARepeatedRequestTakesEffectOnceAcrossALeaderChange(t *testing.T) {
	l := newCluster(t, 3)
	tx := put(record("once", "first"))
	tx.ID = "request-1"
	first := l.propose(l.leader(), tx)
	l.propose(l.follower(), put(record("once", "second")))
	l.kill(l.leader())
	again := l.propose(l.leader(), tx)
	if !again.Duplicate || again.Revision != first.Revision {
		t.Errorf("repetition answered %+v, want the recorded %+v", again, first)
	}
	if got := value(l.leader().State(), "once"); got != "second" {
		t.Errorf("the record says %q: the repetition was applied", got)
	}
}

func TestARefusalIsTheSameOnEveryFiler(t *testing.T) {
	l := newCluster(t, 3)
	l.propose(l.leader(), put(record("r", "x")))
	tx := put(record("r", "y"))
	tx.Puts[0].MustNotExist = true
	for _, f := range l.filers {
		r, err := f.Propose(l.context(), tx)
		if err != nil || r.Refusal == nil || r.Refusal.Code != fsm.RefusedExists {
			t.Errorf("on %s: %+v, %v; want a refusal with code %q", f.id, r, err, fsm.RefusedExists)
		}
	}
}

func TestATransactionThatNeedsANewerVersionIsRefused(t *testing.T) {
	l := newCluster(t, 1)
	tx := put(record("r", "x"))
	tx.Level = fsm.Level + 1
	r, err := l.filers[0].Propose(l.context(), tx)
	if err != nil || r.Refusal == nil || r.Refusal.Code != fsm.RefusedFeatureLevel {
		t.Errorf("%+v, %v; want a refusal with code %q", r, err, fsm.RefusedFeatureLevel)
	}
}

// load writes records until it is stopped, and remembers which were acknowledged.
type load struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	mu    sync.Mutex
	acked map[string]string
	count atomic.Int64
}

func (l *lab) load(writers int, on func(i int) *filer) *load {
	ctx, stop := context.WithCancel(l.context())
	w := &load{stop: stop, acked: map[string]string{}}
	for i := range writers {
		w.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				f := on(i)
				if f == nil {
					continue
				}
				name, text := fmt.Sprintf("w%d-%d", i, n), fmt.Sprintf("by %d", i)
				r, err := f.Propose(ctx, put(record(name, text)))
				if err == nil && r.Refusal == nil {
					w.mu.Lock()
					w.acked[name] = text
					w.mu.Unlock()
					w.count.Add(1)
				}
			}
		})
	}
	l.t.Cleanup(func() { stop(); w.done.Wait() })
	return w
}

// end stops the load and returns what was acknowledged.
func (w *load) end() map[string]string { w.stop(); w.done.Wait(); return w.acked }

func (l *lab) mustHave(acked map[string]string) {
	l.t.Helper()
	state, err := l.leader().Read(l.context(), Linearizable)
	if err != nil {
		l.t.Fatal(err)
	}
	for name, want := range acked {
		if got := value(state, name); got != want {
			l.t.Errorf("acknowledged record %s says %q, want %q", name, got, want)
		}
	}
}

func TestALeaderKilledUnderLoadLosesNothingThatWasAcknowledged(t *testing.T) {
	l := newCluster(t, 3)
	old := l.leader()
	rest := l.followers()
	w := l.load(8, func(i int) *filer { return rest[i%2] })
	l.wait("200 acknowledged writes", func() bool { return w.count.Load() > 200 })
	l.kill(old)
	at := w.count.Load()
	l.wait("200 more acknowledged writes", func() bool { return w.count.Load() > at+200 })
	acked := w.end()
	l.mustHave(acked)
	l.open(old)
	l.mustHave(acked)
	l.agree()
}

func TestAllFilersRestartedAtOnceKeepWhatWasAcknowledged(t *testing.T) {
	l := newCluster(t, 3)
	w := l.load(4, func(i int) *filer { return l.filers[i%3] })
	l.wait("100 acknowledged writes", func() bool { return w.count.Load() > 100 })
	acked := w.end()
	for _, f := range l.filers {
		l.kill(f)
	}
	for _, f := range l.filers {
		l.open(f)
	}
	l.mustHave(acked)
}

func TestWithoutAQuorumNothingIsAcknowledged(t *testing.T) {
	l := newCluster(t, 3)
	f := l.follower()
	for _, g := range l.filers {
		if g != f {
			l.kill(g)
		}
	}
	l.wait("the filer to notice that nobody leads", func() bool { return f.reigns.load().leader == "" })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Propose(ctx, put(record("r", "x"))); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("propose: %v, want ErrNoQuorum", err)
	}
	if _, err := f.Read(ctx, Linearizable); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("read: %v, want ErrNoQuorum", err)
	}
	if _, err := f.Read(ctx, Stale); err != nil {
		t.Errorf("stale read: %v", err)
	}
}

// TestAWaitForALeaderIsBounded by the caller, who is asked when there is one only:
// what a leader serves has no need of another context.
func TestAWaitForALeaderIsBounded(t *testing.T) {
	l := newCluster(t, 3)
	f := l.follower()
	asked, released := 0, 0
	refuse := func(ctx context.Context) (context.Context, func()) {
		ctx, cancel := context.WithCancel(ctx)
		asked++
		cancel()
		return ctx, func() { released++ }
	}
	propose := func() error { _, err := f.ProposeWhile(l.context(), refuse, put(record("r", "x"))); return err }
	read := func() error { _, err := f.ReadWhile(l.context(), refuse, Linearizable); return err }
	for name, do := range map[string]func() error{"propose": propose, "read": read} {
		l.wait(name+" to be served, and not to wait", func() bool { asked = 0; return do() == nil && asked == 0 })
	}
	for _, g := range l.filers {
		if g != f {
			l.kill(g)
		}
	}
	l.wait("the filer to notice that nobody leads", func() bool { return f.reigns.load().leader == "" })
	for name, do := range map[string]func() error{"propose": propose, "read": read} {
		asked, released = 0, 0
		if err := do(); !errors.Is(err, ErrNoQuorum) || asked != 1 || released != 1 {
			t.Errorf("%s without a leader: %v, after %d waits of which %d were released", name, err, asked, released)
		}
	}
}

func TestALeaderThatIsCutOffDoesNotKnowTheOutcome(t *testing.T) {
	l := newCluster(t, 3)
	old := l.leader()
	l.net.isolate(old.id)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	tx := put(record("lost", "x"))
	tx.ID = "the-one"
	if _, err := old.Propose(ctx, tx); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("propose: %v, want ErrUnknownOutcome", err)
	}
	l.net.heal()
	l.propose(old, tx)
	l.mustHave(map[string]string{"lost": "x"})
}

func TestAProposalInFlightFollowsTheLeader(t *testing.T) {
	l := newCluster(t, 3)
	old := l.leader()
	l.net.isolate(old.id)
	done := make(chan error, 1)
	go func() {
		r, err := old.Propose(l.context(), put(record("followed", "x")))
		if err == nil && r.Refusal != nil {
			err = r.Refusal
		}
		done <- err
	}()
	rest := []*filer{}
	for _, f := range l.filers {
		if f != old {
			rest = append(rest, f)
		}
	}
	l.wait("the others to elect a leader", func() bool {
		id := rest[0].reigns.load().leader
		return id != "" && id != old.id && rest[1].reigns.load().leader == id
	})
	l.net.heal()
	if err := <-done; err != nil {
		t.Errorf("propose on the former leader: %v", err)
	}
}
