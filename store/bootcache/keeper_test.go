package bootcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// A source is a state machine without a log.
type source struct {
	mu      sync.Mutex
	state   *fsm.State
	changed chan struct{}
	index   uint64
}

func newSource() *source { return &source{state: fsm.NewState(), changed: make(chan struct{})} }

func (s *source) State() *fsm.State { s.mu.Lock(); defer s.mu.Unlock(); return s.state }

func (s *source) Changed() <-chan struct{} { s.mu.Lock(); defer s.mu.Unlock(); return s.changed }

func (s *source) put(t *testing.T, docs ...netquorum.Document) netquorum.Revision {
	t.Helper()
	tx := fsm.Transaction{System: true}
	for _, d := range docs {
		tx.Puts = append(tx.Puts, fsm.Put{Document: d})
	}
	entry, err := fsm.EncodeEntry([]fsm.Transaction{tx})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	next, results, err := fsm.Apply(s.state, s.index, entry)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0].Refusal; r != nil {
		t.Fatal(r)
	}
	s.state = next
	close(s.changed)
	s.changed = make(chan struct{})
	return results[0].Revision
}

func group(name string) netquorum.Document {
	return netquorum.Document{Kind: netquorum.KindFilerGroup, Name: name, Spec: &netquorum.FilerGroup{}}
}

func recordOf(text string) netquorum.Document {
	return netquorum.Document{Kind: netquorum.KindRecord, Name: "r", Spec: &netquorum.Record{Data: []byte(fmt.Sprintf("%q", text))}}
}

// A countingDisk counts writes and fails while it is told to.
type countingDisk struct {
	disk
	writes atomic.Int64
	full   atomic.Bool
}

func (d *countingDisk) write(path string, data []byte) error {
	if d.full.Load() {
		return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
	}
	d.writes.Add(1)
	return d.disk.write(path, data)
}

func startKeeper(t *testing.T, c *Cache, s Source) *Keeper {
	k := NewKeeper(c, s, "acme", "id-1", "filer1")
	k.retry = 10 * time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return k
}

func waitFor(t *testing.T, k *Keeper, r netquorum.Revision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := k.Wait(ctx, r); err != nil {
		t.Fatalf("waited in vain for revision %d to be cached: %v; %+v", r, err, k.Status())
	}
}

func TestAKeeperWritesWhatTheNetworkNeedsAndNothingElse(t *testing.T) {
	c, s := open(t), newSource()
	d := &countingDisk{disk: osDisk{}}
	c.disk = d
	k := startKeeper(t, c, s)
	token := netquorum.Document{Kind: netquorum.KindToken, Name: "t", Spec: &netquorum.Token{Key: []byte("secret"), Expires: 1}}
	s.put(t, boot(1).Documents[0])
	waitFor(t, k, s.put(t, group("g"), recordOf("x"), token))
	b, _, err := c.Load()
	if err != nil {
		t.Fatal(err)
	}
	if b.Cluster != "acme" || b.Filer != "id-1" || b.Name != "filer1" {
		t.Errorf("identity %q %q %q", b.Cluster, b.Filer, b.Name)
	}
	var kinds []netquorum.Kind
	for _, doc := range b.Documents {
		kinds = append(kinds, doc.Kind)
	}
	if got := fmt.Sprint(kinds); got != "[Cluster FilerGroup]" {
		t.Errorf("documents of kinds %s", got)
	}
	before := d.writes.Load()
	for i := range 20 {
		waitFor(t, k, s.put(t, recordOf(fmt.Sprint(i))))
	}
	if n := d.writes.Load() - before; n > 0 {
		t.Errorf("records caused %d writes", n)
	}
	// A keeper that starts over finds everything in place.
	k2 := startKeeper(t, c, s)
	waitFor(t, k2, s.State().Revision())
	if n := d.writes.Load() - before; n > 0 {
		t.Errorf("a restart caused %d writes", n)
	}
}

func TestAKeeperReportsAFullDiskAndTriesAgain(t *testing.T) {
	c, s := open(t), newSource()
	d := &countingDisk{disk: osDisk{}}
	c.disk = d
	k := startKeeper(t, c, s)
	first := s.put(t, boot(1).Documents[0])
	waitFor(t, k, first)
	d.full.Store(true)
	second := s.put(t, group("g"))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := k.Wait(ctx, second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v, want the context's end", err)
	}
	if st := k.Status(); st.Error == "" || st.Revision != first {
		t.Errorf("%+v, want an error and revision %d", st, first)
	}
	if b, _, err := c.Load(); err != nil || b.Revision != first {
		t.Errorf("revision %d, %v: the old content must stay", b.Revision, err)
	}
	d.full.Store(false)
	waitFor(t, k, second)
	if st := k.Status(); st.Error != "" {
		t.Errorf("%+v", st)
	}
}

func TestAKeeperHealsASpoiledCopyWhenItStarts(t *testing.T) {
	c, s := open(t), newSource()
	k := startKeeper(t, c, s)
	r := s.put(t, boot(1).Documents[0])
	waitFor(t, k, r)
	write(t, c.path(1), []byte("spoiled"))
	waitFor(t, startKeeper(t, c, s), r)
	if _, status, err := c.Load(); err != nil || status[1].State != OK {
		t.Errorf("%+v, %v", status, err)
	}
}

func TestAKeeperDoesNotGoBackWhileAStoreReplaysItsLog(t *testing.T) {
	c, s := open(t), newSource()
	cached := boot(5)
	cached.Filer = "id-1"
	save(t, c, cached)
	k := NewKeeper(c, s, "acme", "id-1", "filer1")
	check := func() {
		t.Helper()
		if err := k.keep(s.State()); err != nil {
			t.Fatal(err)
		}
		if b, _, err := c.Load(); err != nil || b.Revision != 5 {
			t.Errorf("revision %d, %v: a state at revision %d went into the cache", b.Revision, err, s.State().Revision())
		}
	}
	check()
	s.put(t, boot(1).Documents[0])
	check()
	for i := range 4 {
		s.put(t, group(fmt.Sprint("g", i)))
	}
	s.put(t, group("newer"))
	if err := k.keep(s.State()); err != nil {
		t.Fatal(err)
	}
	if b, _, err := c.Load(); err != nil || b.Revision != 6 {
		t.Errorf("revision %d, %v; want 6", b.Revision, err)
	}
}
