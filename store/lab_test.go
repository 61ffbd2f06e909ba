package store

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// A lab is filers with real stores, real disks and real TCP in one process. What
// lies between any two of them can be cut and healed.
type lab struct {
	t      testing.TB
	dir    string
	filers []*filer
	net    *wires
}

// A filer is a place with a disk; its store runs or does not.
type filer struct {
	*Store
	id      netquorum.FilerID
	dir     string
	network *labNetwork
	fatal   chan error // what stopped it
	opts    Options
}

// labTiming leaves room for a machine that is busy with other tests.
var labTiming = Timing{Heartbeat: 250 * time.Millisecond, Election: 250 * time.Millisecond, Lease: 200 * time.Millisecond, Commit: 5 * time.Millisecond}

// newLab opens stores that are in no cluster yet.
func newLab(t testing.TB, n int, adjust ...func(*Options)) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), net: newWires()}
	t.Cleanup(l.close)
	for i := range n {
		id := netquorum.FilerID(fmt.Sprintf("filer-%d", i+1))
		f := &filer{id: id, dir: filepath.Join(l.dir, string(id)), fatal: make(chan error, 16)}
		f.opts = Options{Dir: f.dir, ID: id, Timing: labTiming, Log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))}
		if os.Getenv("STORE_TEST_LOG") == "" {
			f.opts.Log = slog.New(slog.DiscardHandler)
		}
		for _, a := range adjust {
			a(&f.opts)
		}
		f.dir = f.opts.Dir
		l.filers = append(l.filers, f)
		l.open(f)
	}
	return l
}

// newCluster forms a cluster of all n filers.
func newCluster(t testing.TB, n int, adjust ...func(*Options)) *lab {
	t.Helper()
	l := newLab(t, n, adjust...)
	l.form()
	return l
}

// form forms a cluster of all filers.
func (l *lab) form() {
	l.t.Helper()
	ctx := l.context()
	if err := l.filers[0].Bootstrap(ctx, []fsm.Transaction{put(clusterDocument())}); err != nil {
		l.t.Fatal(err)
	}
	for _, f := range l.filers[1:] {
		if err := l.filers[0].AddMember(ctx, f.id); err != nil {
			l.t.Fatal(err)
		}
	}
}

// start opens a filer's store; it may be used for one that was killed.
func (l *lab) start(f *filer) error {
	f.network = l.net.attach(f.id)
	o := f.opts
	o.Network = f.network
	o.Fatal = func(err error) { f.fatal <- err }
	var err error
	if f.Store, err = Open(o); err != nil {
		f.network.detach()
		f.Store = nil
		return err
	}
	f.network.serve(f.Store.Program())
	return nil
}

func (l *lab) open(f *filer) {
	l.t.Helper()
	if err := l.start(f); err != nil {
		l.t.Fatal(err)
	}
}

// kill ends a filer's process as seen from outside: its connections break, new
// ones are refused, and nothing more is written.
func (l *lab) kill(f *filer) {
	l.t.Helper()
	f.network.detach()
	if err := f.Store.Close(); err != nil {
		l.t.Errorf("close store of %s: %v", f.id, err)
	}
	f.Store = nil
}

func (l *lab) close() {
	l.net.heal()
	if !l.t.Failed() {
		l.agree()
	}
	for _, f := range l.filers {
		if f.Store != nil {
			l.kill(f)
		}
	}
}

// running returns the filers that take part.
func (l *lab) running() []*filer {
	var fs []*filer
	for _, f := range l.filers {
		if f.Store != nil && f.Store.usable() == nil && f.Store.member() == nil {
			fs = append(fs, f)
		}
	}
	return fs
}

// agree checks what must hold after every test: filers with the same revision
// have the same state.
func (l *lab) agree() {
	l.t.Helper()
	fs := l.running()
	if len(fs) == 0 || fs[0].quorumLost(len(fs)) {
		return
	}
	defer func() {
		if l.t.Failed() {
			for _, f := range fs {
				l.t.Logf("%+v", f.Status())
			}
		}
	}()
	l.wait("all filers to have the same state", func() bool {
		hashes := map[[32]byte]bool{}
		for _, f := range fs {
			hashes[f.State().Hash()] = true
		}
		return len(hashes) == 1
	})
}

func (f *filer) quorumLost(running int) bool {
	voters := 0
	for _, m := range f.Status().Members {
		if m.Voter {
			voters++
		}
	}
	return running < voters/2+1
}

// leader waits until one running filer leads and all others know it.
func (l *lab) leader() *filer {
	l.t.Helper()
	var leader *filer
	l.wait("one leader that all filers know", func() bool {
		fs := l.running()
		if len(fs) == 0 {
			return false
		}
		id := fs[0].reigns.load().leader
		leader = nil
		for _, f := range fs {
			if f.reigns.load().leader != id {
				return false
			}
			if f.id == id {
				leader = f
			}
		}
		return leader != nil
	})
	return leader
}

// follower returns a running filer that does not lead.
func (l *lab) follower() *filer { l.t.Helper(); return l.followers()[0] }

func (l *lab) followers() []*filer {
	l.t.Helper()
	leader := l.leader()
	return slices.DeleteFunc(l.running(), func(f *filer) bool { return f == leader })
}

// wait waits for a condition, and fails saying what was awaited.
func (l *lab) wait(what string, condition func() bool) { l.t.Helper(); await(l.t, what, condition) }

// patience is how long a condition may take on a busy machine.
const patience = 30 * time.Second

func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (l *lab) context() context.Context { return testContext(l.t, patience) }

func testContext(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// propose commits a transaction that must not be refused.
func (l *lab) propose(f *filer, tx fsm.Transaction) fsm.Result {
	l.t.Helper()
	r, err := f.Propose(l.context(), tx)
	if err != nil {
		l.t.Fatalf("propose on %s: %v", f.id, err)
	}
	if r.Refusal != nil {
		l.t.Fatalf("propose on %s was refused: %v", f.id, r.Refusal)
	}
	return r
}

func put(docs ...netquorum.Document) fsm.Transaction {
	t := fsm.Transaction{Actor: "test"}
	for _, d := range docs {
		t.Puts = append(t.Puts, fsm.Put{Document: d})
	}
	return t
}

func clusterDocument() netquorum.Document {
	return netquorum.Document{Kind: netquorum.KindCluster, Name: "acme", Spec: &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0x0e}}}
}

func record(name, value string) netquorum.Document {
	data, _ := json.Marshal(value)
	return netquorum.Document{Kind: netquorum.KindRecord, Name: name, Spec: &netquorum.Record{Type: "test", Data: data}}
}

// value returns what a record says, and "" if there is none.
func value(s *fsm.State, name string) string {
	d, ok := s.Config().Get(netquorum.KindRecord, name)
	if !ok {
		return ""
	}
	var v string
	json.Unmarshal(d.Spec.(*netquorum.Record).Data, &v)
	return v
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	return os.Stderr.Write(b)
}
