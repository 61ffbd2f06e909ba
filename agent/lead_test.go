package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/failover"
	"github.com/netquorum/netquorum/fsm"
)

// A memoryLog applies proposals to a real state machine at once.
type memoryLog struct {
	mu      sync.Mutex
	state   *fsm.State
	behind  *fsm.State // what State returns instead, when set
	index   uint64
	term    uint64
	leading bool
	deposed bool // leads in its own eyes, without a quorum
	voters  []netquorum.FilerID
	// confirming happens to the log, if set, while a confirmation is under way.
	confirming func(*memoryLog)

	proposed chan fsm.Transaction // receives before a proposal is applied, when set
	resume   chan struct{}
}

func (l *memoryLog) State() *fsm.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.behind != nil {
		return l.behind
	}
	return l.state
}
func (l *memoryLog) Leading() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, l.leading
}
func (l *memoryLog) Confirm(context.Context) (*fsm.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deposed || !l.leading {
		return nil, errors.New("no quorum")
	}
	if l.confirming != nil {
		l.confirming(l)
	}
	return l.state, nil
}
func (l *memoryLog) Propose(ctx context.Context, t fsm.Transaction) (fsm.Result, error) {
	if l.proposed != nil {
		l.proposed <- t
		<-l.resume
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	entry, err := fsm.EncodeEntry([]fsm.Transaction{t})
	if err != nil {
		return fsm.Result{}, err
	}
	l.index++
	state, results, err := fsm.Apply(l.state, l.index, entry)
	if err != nil {
		return fsm.Result{}, err
	}
	l.state = state
	return results[0], nil
}
func (l *memoryLog) Servers() []netquorum.FilerID { return l.voters }
func (l *memoryLog) AddMember(_ context.Context, id netquorum.FilerID) error {
	l.voters = append(slices.Clone(l.voters), id)
	return nil
}
func (l *memoryLog) RemoveMember(_ context.Context, id netquorum.FilerID) error {
	l.voters = slices.DeleteFunc(slices.Clone(l.voters), func(v netquorum.FilerID) bool { return v == id })
	return nil
}

type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *testClock) Add(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

const (
	testLease  = time.Second
	testMargin = 200 * time.Millisecond
)

// newTestLeader leads three filers f1..f3 of one group that hosts server web.
func newTestLeader(t *testing.T) (*leader, *memoryLog, *testClock) {
	t.Helper()
	log := &memoryLog{state: fsm.NewState(), term: 3, leading: true}
	doc := func(k netquorum.Kind, name string, s netquorum.Spec) fsm.Put {
		return fsm.Put{Document: netquorum.Document{Kind: k, Name: name, Spec: s}}
	}
	tx := fsm.Transaction{ID: "first", System: true, Puts: []fsm.Put{
		doc(netquorum.KindCluster, "test", &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}}),
		doc(netquorum.KindFilerGroup, "main", &netquorum.FilerGroup{}),
	}}
	for i := range 3 {
		name := fmt.Sprintf("f%d", i+1)
		tx.Puts = append(tx.Puts,
			doc(netquorum.KindFiler, name, &netquorum.Filer{Group: "main", Interfaces: []netquorum.Interface{{Name: "data0", Parent: "eth0"}}}),
			doc(netquorum.KindMember, name, &netquorum.Member{ID: netquorum.FilerID(name + "-id")}))
	}
	tx.Puts = append(tx.Puts, doc(netquorum.KindVirtualServer, "web", &netquorum.VirtualServer{Group: "main",
		Addresses: []netquorum.Address{{Alias: "data0", Prefix: netip.MustParsePrefix("10.0.0.10/24")}}}))
	if r, err := log.Propose(t.Context(), tx); err != nil || r.Refusal != nil {
		t.Fatalf("first transaction: %v %v", r.Refusal, err)
	}
	clock := &testClock{now: time.Unix(1_000_000, 0)}
	id := 0
	newID := func() string { id++; return fmt.Sprint("lead-", id) }
	return newLeader(log, "f1", testLease, testMargin, 50*time.Millisecond, clock.Now, newID, slog.New(slog.DiscardHandler)), log, clock
}

func host(t *testing.T, l *memoryLog) string {
	t.Helper()
	p, ok := l.State().Config().Placement("web")
	if !ok {
		return "(none)"
	}
	return p.Filer
}

func TestLeaderMovesAServerOnlyAfterTheLeaseOfItsHostHasEnded(t *testing.T) {
	lead, log, clock := newTestLeader(t)
	ctx := t.Context()
	reportAll := func(filers ...string) {
		for _, f := range filers {
			if _, err := lead.Report(ctx, report{Filer: f, Settled: log.State().Revision()}); err != nil {
				t.Fatalf("report of %s: %v", f, err)
			}
		}
	}
	reportAll("f1", "f2", "f3")
	lead.place(ctx)
	if got := host(t, log); got != "f1" {
		t.Fatalf("web is placed on %s, want f1", got)
	}
	var lease failover.Lease
	grant, err := lead.Report(ctx, report{Filer: "f1"})
	if err != nil {
		t.Fatal(err)
	}
	lease.Renew(grant, clock.Now())
	for range 200 { // f1 is silent from here on
		clock.Add(10 * time.Millisecond)
		reportAll("f2", "f3")
		lead.place(ctx)
		_, held := lease.Held(clock.Now(), log.State().Revision())
		if held && host(t, log) != "f1" {
			t.Fatal("web was moved while f1 held its lease")
		}
	}
	if got := host(t, log); got != "f2" {
		t.Errorf("web is placed on %s two seconds after f1 fell silent, want f2", got)
	}
}

func TestAServerLeavesAFilerThatIsNoMemberAnyMore(t *testing.T) {
	lead, log, clock := newTestLeader(t)
	ctx := t.Context()
	lead.Report(ctx, report{Filer: "f1"})
	lead.place(ctx)
	remove := fsm.Transaction{ID: "remove", System: true, Deletes: []fsm.Delete{{Key: netquorum.Key{Kind: netquorum.KindMember, Name: "f1"}}}}
	if r, err := log.Propose(ctx, remove); err != nil || r.Refusal != nil {
		t.Fatal(r.Refusal, err)
	}
	clock.Add(testLease / 2)
	lead.Report(ctx, report{Filer: "f2"})
	lead.place(ctx)
	if got := host(t, log); got != "f1" {
		t.Fatalf("web went to %s while f1's lease may still run", got)
	}
	clock.Add(testLease)
	lead.Report(ctx, report{Filer: "f2"})
	lead.place(ctx)
	if got := host(t, log); got != "f2" {
		t.Errorf("web is on %q after the lease of the removed f1 must have ended, want f2", got)
	}
}

func TestADeposedLeaderProlongsNoLease(t *testing.T) {
	lead, log, _ := newTestLeader(t)
	log.deposed = true
	if _, err := lead.Report(t.Context(), report{Filer: "f1"}); !errors.Is(err, errNotLeading) {
		t.Errorf("a leader without a quorum answered %v, want %v", err, errNotLeading)
	}
}

func TestANewLeaderWaitsForLeasesOfItsPredecessor(t *testing.T) {
	lead, log, clock := newTestLeader(t)
	ctx := t.Context()
	lead.Report(ctx, report{Filer: "f1"})
	lead.place(ctx)
	log.term++ // f1 was granted a lease in the term before; this leader has not heard of it
	lead.Report(ctx, report{Filer: "f2"})
	lead.place(ctx)
	if got := host(t, log); got != "f1" {
		t.Fatalf("a new leader moved web to %s at once", got)
	}
	clock.Add(testLease + testMargin)
	lead.Report(ctx, report{Filer: "f2"})
	lead.place(ctx)
	if got := host(t, log); got != "f2" {
		t.Errorf("web is on %s after every old lease must have ended, want f2", got)
	}
}

// A confirmation that takes so long that the leader is deposed and elected again
// meanwhile says nothing about leases that were granted in between.
func TestALedgerOfAnEarlierTermMovesNothing(t *testing.T) {
	lead, log, clock := newTestLeader(t)
	ctx := t.Context()
	lead.Report(ctx, report{Filer: "f1"})
	lead.place(ctx)
	clock.Add(testLease + testMargin)
	lead.Report(ctx, report{Filer: "f2"})
	log.confirming = func(l *memoryLog) { l.term, l.confirming = l.term+2, nil }
	if lead.place(ctx) {
		t.Error("the leader believes that it has decided by what it sees in its new term")
	}
	if got := host(t, log); got != "f1" {
		t.Errorf("web was moved to %q although f1 may have been granted a lease in the term between", got)
	}
}

// While the leader waits for a quorum to confirm it, filers report: otherwise
// none of them would be live when it decides.
func TestFilersReportWhileTheLeaderIsBeingConfirmed(t *testing.T) {
	lead, log, clock := newTestLeader(t)
	ctx := t.Context()
	lead.Report(ctx, report{Filer: "f1"})
	lead.place(ctx)
	waiting, confirmed := make(chan struct{}), make(chan struct{})
	log.confirming = func(l *memoryLog) {
		l.confirming = nil
		l.mu.Unlock()
		waiting <- struct{}{}
		<-confirmed
		l.mu.Lock()
	}
	var placed sync.WaitGroup
	placed.Go(func() { lead.place(ctx) })
	<-waiting
	clock.Add(testLease + testMargin)
	reported := make(chan error, 1)
	go func() {
		_, err := lead.Report(ctx, report{Filer: "f1"})
		reported <- err
	}()
	select {
	case err := <-reported:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the report of f1 is not answered while the leader waits for a quorum")
	}
	close(confirmed)
	placed.Wait()
	if got := host(t, log); got != "f1" {
		t.Errorf("web was moved to %q although f1 has just reported", got)
	}
}

// A filer that comes back just while its servers are being moved away must not
// be told that it may host at the revision before the move.
func TestNoLeaseIsGrantedWhileMovesAreBeingCommitted(t *testing.T) {
	lead, log, clock := newTestLeader(t)
	ctx := t.Context()
	lead.Report(ctx, report{Filer: "f1"})
	lead.place(ctx)
	clock.Add(testLease + testMargin)
	lead.Report(ctx, report{Filer: "f2"})

	log.proposed, log.resume = make(chan fsm.Transaction), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { lead.place(ctx) })
	<-log.proposed // the leader has decided that f1 is gone
	granted := make(chan failover.Grant, 1)
	wait.Go(func() {
		g, err := lead.Report(ctx, report{Filer: "f1"})
		if err != nil {
			t.Error(err)
		}
		granted <- g
	})
	select {
	case g := <-granted:
		t.Fatalf("f1 was granted a lease at revision %d while web was being moved away from it", g.Revision)
	case <-time.After(20 * time.Millisecond):
	}
	log.resume <- struct{}{}
	g := <-granted
	wait.Wait()
	d, _ := log.State().Config().Get(netquorum.KindPlacement, "web")
	if g.Revision < d.Revision {
		t.Errorf("the lease is good from revision %d, the move was %d", g.Revision, d.Revision)
	}
}

// Right after its election a leader may not have applied its log yet.
func TestALeaderThatIsBehindRemovesNobody(t *testing.T) {
	lead, log, _ := newTestLeader(t)
	log.voters = []netquorum.FilerID{"f1-id", "f2-id", "f3-id", "old"}
	log.behind = fsm.NewState()
	log.deposed = true
	if err := lead.changeMembers(t.Context()); err == nil || len(log.voters) != 4 {
		t.Errorf("a leader without a quorum made the voters %v, %v", log.voters, err)
	}
	log.deposed = false
	for range 3 {
		if err := lead.changeMembers(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(log.voters) != "[f1-id f2-id f3-id]" {
		t.Errorf("the voters are %v, want the three of the documents", log.voters)
	}
}

// Four voters of which one is gone for ever do not survive the loss of another.
func TestAReplacedFilerGoesBeforeItsReplacementComes(t *testing.T) {
	lead, log, _ := newTestLeader(t)
	log.voters = []netquorum.FilerID{"f1-id", "f2-id", "f3-before"}
	for _, want := range []string{"[f1-id f2-id]", "[f1-id f2-id f3-id]", "[f1-id f2-id f3-id]"} {
		if err := lead.changeMembers(t.Context()); err != nil || fmt.Sprint(log.voters) != want {
			t.Fatalf("the voters are %v, want %s; %v", log.voters, want, err)
		}
	}
}

func TestMemberChanges(t *testing.T) {
	_, log, _ := newTestLeader(t)
	add, remove := memberChanges(log.State().Config(), []netquorum.FilerID{"f1-id", "old"})
	if fmt.Sprint(add) != "[f2-id f3-id]" || fmt.Sprint(remove) != "[old]" {
		t.Errorf("add %v, remove %v", add, remove)
	}
}

// N28: what filers report of their aliases moves servers, and moves them once.
func TestLeaderMovesAServerFromAnAliasThatFailed(t *testing.T) {
	lead, log, _ := newTestLeader(t)
	ctx := t.Context()
	reportOf := func(filer string, aliases map[netquorum.InterfaceName]failover.Health) {
		t.Helper()
		if _, err := lead.Report(ctx, report{Filer: filer, Settled: log.State().Revision(), Aliases: aliases}); err != nil {
			t.Fatalf("report of %s: %v", filer, err)
		}
	}
	failed := map[netquorum.InterfaceName]failover.Health{"data0": failover.Failed}
	settle := func(health map[string]map[netquorum.InterfaceName]failover.Health) {
		for range 3 {
			for _, f := range []string{"f1", "f2", "f3"} {
				reportOf(f, health[f])
			}
			lead.place(ctx)
		}
	}
	all := map[string]map[netquorum.InterfaceName]failover.Health{}
	settle(all)
	if got := host(t, log); got != "f1" {
		t.Fatalf("web is placed on %s, want f1", got)
	}
	seen, _ := lead.look(view{})
	reportOf("f1", failed)
	if _, changed := lead.look(seen); !changed {
		t.Error("a failed alias is no reason to look at placements")
	}
	all["f1"] = failed
	settle(all)
	if got := host(t, log); got != "f2" {
		t.Errorf("with data0 of f1 failed, web is on %s, want f2", got)
	}
	delete(all, "f1")
	settle(all)
	if got := host(t, log); got != "f2" {
		t.Errorf("with data0 of f1 back, web is on %s, want f2", got)
	}
	revision := log.State().Revision()
	all["f1"], all["f2"], all["f3"] = failed, failed, failed
	settle(all)
	if got := host(t, log); got != "f2" || log.State().Revision() != revision {
		t.Errorf("with data0 failed everywhere, web is on %s at revision %d, want f2 still at %d", got, log.State().Revision(), revision)
	}
}
