package store

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum"
)

// bareTransport is the raft side of a filer without a store.
func bareTransport(t *testing.T, w *wires, id netquorum.FilerID) *transport {
	t.Helper()
	n := w.attach(id)
	s := &Store{o: Options{ID: id, Network: n, Timing: labTiming, Log: slog.New(slog.DiscardHandler)}, suspects: make(chan struct{}, 1),
		logs: newEarlyLog(raft.NewInmemStore())}
	s.acceptor = newAcceptor(n.Raft())
	tr := newTransport(s)
	t.Cleanup(func() {
		tr.Close()
		s.acceptor.Close()
		n.detach()
	})
	return tr
}

// acceptAll accepts whatever comes.
func acceptAll(t *testing.T, tr *transport) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case rpc := <-tr.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-stop:
				return
			}
		}
	}()
}

func entriesRequest() *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1, Entries: []*raft.Log{{Index: 2}}, RPCHeader: raft.RPCHeader{Addr: []byte("a")}}
}

func heartbeatRequest() *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 1, RPCHeader: raft.RPCHeader{ID: []byte("a"), Addr: []byte("a")}}
}

func TestAFailedAppendIsRepeatedAtTheNextSignOfLife(t *testing.T) {
	w := newWires()
	a, b := bareTransport(t, w, "a"), bareTransport(t, w, "b")
	acceptAll(t, b)
	w.cut("a", "b")
	done := make(chan error, 1)
	go func() { done <- a.AppendEntries("b", "b", entriesRequest(), &raft.AppendEntriesResponse{}) }()
	// The heartbeat's failure ends the append's attempt, which then waits.
	if err := a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err == nil {
		t.Fatal("a heartbeat passed the cut")
	}
	await(t, "the append to wait for a sign of life", func() bool {
		p := a.peer("b")
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.sign != nil
	})
	w.heal()
	if err := a.AppendEntries("b", "b", heartbeatRequest(), &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("append: %v", err)
	}
}

func TestClosingTheTransportEndsWhatWaits(t *testing.T) {
	w := newWires()
	a := bareTransport(t, w, "a")
	done := make(chan error, 1)
	go func() { done <- a.AppendEntries("b", "b", entriesRequest(), &raft.AppendEntriesResponse{}) }()
	await(t, "the append to wait for a sign of life", func() bool {
		p := a.peer("b")
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.sign != nil
	})
	a.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an append to nowhere succeeded")
		}
	case <-time.After(appendTimeout / 2):
		t.Error("the append still waits")
	}
}

func TestADeadLeaderIsReplacedWithoutWaitingForTheTimeout(t *testing.T) {
	timing := Timing{Heartbeat: 4 * time.Second, Election: 4 * time.Second, Lease: 2 * time.Second, Commit: 5 * time.Millisecond}
	l := newCluster(t, 3, func(o *Options) { o.Timing = timing })
	// Without the proof no follower stands before a heartbeat timeout has passed
	// since it last heard of the leader, which was at most a fifth of it ago. The
	// votes may be split, and a busy machine may sleep, so there are some attempts.
	var took time.Duration
	for range 5 {
		old := l.leader()
		f := l.follower()
		start := time.Now()
		l.kill(old)
		l.propose(f, put(record("r", start.String())))
		if took = time.Since(start); took < timing.Heartbeat*4/5 {
			break
		}
		l.open(old)
	}
	if took > timing.Heartbeat*4/5 {
		t.Errorf("it took %v", took)
	}
	l.wait("the configured timing to be back", func() bool {
		for _, f := range l.running() {
			if f.node.Load().raft.ReloadableConfig().HeartbeatTimeout != timing.Heartbeat {
				return false
			}
		}
		return true
	})
}

func TestTimingIsValidated(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name   string
		timing Timing
		ok     bool
	}{
		{"the default", DefaultTiming, true},
		{"the floor", Timing{50 * ms, 50 * ms, 50 * ms, ms}, true},
		{"below the floor", Timing{40 * ms, 50 * ms, 50 * ms, ms}, false},
		{"election below heartbeat", Timing{200 * ms, 100 * ms, 150 * ms, ms}, false},
		{"lease above heartbeat", Timing{200 * ms, 200 * ms, 250 * ms, ms}, false},
		{"lease far below heartbeat", Timing{200 * ms, 200 * ms, 90 * ms, ms}, false},
		{"no commit", Timing{200 * ms, 200 * ms, 150 * ms, 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.timing.Validate(); (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := Open(Options{Dir: t.TempDir()}); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("without id and network: %v", err)
	}
}
