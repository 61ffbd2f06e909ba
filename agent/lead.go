package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/failover"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/rollout"
)

// A log is what leading needs of the store.
type log interface {
	// State is the newest state known here.
	State() *fsm.State
	// Leading reports whether this filer leads, and in which term.
	Leading() (term uint64, ok bool)
	// Confirm returns a state at least as new as every transaction committed
	// before the call, having made sure with a quorum that this filer leads.
	Confirm(ctx context.Context) (*fsm.State, error)
	Propose(ctx context.Context, t fsm.Transaction) (fsm.Result, error)
	// Servers are raft's own members; AddMember and RemoveMember change them.
	Servers() []netquorum.FilerID
	AddMember(ctx context.Context, id netquorum.FilerID) error
	RemoveMember(ctx context.Context, id netquorum.FilerID) error
}

// errNotLeading answers a report that reached a filer which does not lead.
var errNotLeading = errors.New("this filer does not lead")

// A report is what a filer tells the leader several times a second.
type report struct {
	Filer string `json:"filer"`
	// Settled is the newest revision that the filer's kernel follows.
	Settled netquorum.Revision `json:"settled"`
	// Aliases are those that do not carry what they should (N28).
	Aliases map[netquorum.InterfaceName]failover.Health `json:"aliases,omitempty"`
	// Cached is the newest revision in its boot cache, Attempt how far it is with
	// its step of a rollout.
	Cached  netquorum.Revision `json:"cached"`
	Attempt rollout.Attempt    `json:"attempt,omitzero"`
	// Holds is what it holds of the cluster's authorities.
	Holds holding `json:"holds,omitzero"`
}

// A leader has the duties of the filer that leads: it grants leases, places
// servers and keeps raft's members in step with the Member documents. It runs
// on every filer and does nothing on those that do not lead.
type leader struct {
	log         log
	self        string
	term        time.Duration // of a lease
	margin      time.Duration
	tick        time.Duration
	now         func() time.Time
	newID       func() string
	logger      *slog.Logger
	memberGrace time.Duration // how long one change of raft's members may take
	reported    func(filer string, at time.Time)
	handOver    func(context.Context) error
	instant     func(string)

	// deciding is held for reading while a lease is granted and for writing
	// from looking at who is gone until the moves are committed. Otherwise a
	// filer that comes back in between would be granted a lease at a revision
	// that still places on it what is just being moved away.
	deciding sync.RWMutex

	mu      sync.Mutex
	ledger  *failover.Ledger
	ledgerT uint64 // the raft term of the ledger
	settled map[string]netquorum.Revision
	health  map[string]map[netquorum.InterfaceName]failover.Health
	latest  map[string]report
	waiting string // what the open rollout waits for
	wake    chan struct{}
	stepped chan struct{} // somebody is further with a rollout
}

func newLeader(l log, self string, lease, margin, tick time.Duration, now func() time.Time, newID func() string, logger *slog.Logger) *leader {
	return &leader{
		log: l, self: self, term: lease, margin: margin, tick: tick, now: now, newID: newID, logger: logger,
		memberGrace: 30 * time.Second, reported: func(string, time.Time) {}, wake: make(chan struct{}, 1),
		handOver: func(context.Context) error { return nil }, instant: func(string) {}, stepped: make(chan struct{}, 1),
	}
}

// Report takes a filer's report and answers with a lease. The lease is granted
// only after a quorum confirmed, later than the report arrived, that this filer
// leads: a leader that was cut off cannot prolong anybody's right to host.
func (l *leader) Report(ctx context.Context, r report) (failover.Grant, error) {
	l.deciding.RLock()
	defer l.deciding.RUnlock()
	ledger := l.book()
	if ledger == nil {
		return failover.Grant{}, errNotLeading
	}
	state, err := l.log.Confirm(ctx)
	if err != nil {
		return failover.Grant{}, fmt.Errorf("%w: %w", errNotLeading, err)
	}
	now := l.now()
	ledger.Grant(r.Filer, now)
	l.reported(r.Filer, now)
	l.mu.Lock()
	changed := l.settled[r.Filer] < r.Settled || !maps.Equal(l.health[r.Filer], r.Aliases)
	before := l.latest[r.Filer]
	further := before.Cached != r.Cached || before.Settled != r.Settled || before.Attempt != r.Attempt
	if l.ledger == ledger {
		l.latest[r.Filer] = r
		l.settled[r.Filer] = max(l.settled[r.Filer], r.Settled)
		l.health[r.Filer] = r.Aliases
	}
	l.mu.Unlock()
	if changed {
		l.poke()
	}
	if further {
		select {
		case l.stepped <- struct{}{}:
		default:
		}
	}
	return failover.Grant{Lease: ledger.Term, Revision: state.Revision()}, nil
}

func (l *leader) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// book returns the ledger of the term in which this filer leads now, nil when
// it does not lead. A new term starts an empty one.
func (l *leader) book() *failover.Ledger {
	term, leading := l.log.Leading()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !leading {
		l.ledger = nil
		return nil
	}
	if l.ledger == nil || l.ledgerT != term {
		l.ledger = failover.NewLedger(l.term, l.margin, l.now())
		l.ledgerT, l.settled = term, map[string]netquorum.Revision{}
		l.health = map[string]map[netquorum.InterfaceName]failover.Health{}
		l.latest = map[string]report{}
	}
	return l.ledger
}

// Run does the duties until the context ends.
func (l *leader) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { l.keepMembers(ctx) })
	wait.Go(func() { l.keepRollout(ctx) })
	var done view
	ticker := time.NewTicker(l.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case <-l.wake:
		}
		if v, look := l.look(done); look {
			if l.place(ctx) {
				done = v
			}
		}
	}
}

// A view is everything that a placement follows from. Two equal views need not
// be thought through twice.
type view struct {
	term     uint64
	revision netquorum.Revision
	standing map[string]failover.Filer
}

// look returns what the leader sees, and whether it differs from before.
func (l *leader) look(before view) (view, bool) {
	ledger := l.book()
	if ledger == nil {
		return view{}, false
	}
	state := l.log.State()
	term, _ := l.log.Leading()
	v := view{term, state.Revision(), l.filers(ledger, state.Config())}
	same := v.term == before.term && v.revision == before.revision && maps.EqualFunc(v.standing, before.standing, failover.Filer.Equal)
	return v, !same
}

// filers returns the standing of every member, and of every filer that still has
// something placed on it: one that was removed from the cluster is gone once its
// lease must have ended, like any other that has fallen silent.
func (l *leader) filers(ledger *failover.Ledger, c netquorum.Config) map[string]failover.Filer {
	now := l.now()
	l.mu.Lock()
	settled, health := maps.Clone(l.settled), maps.Clone(l.health)
	l.mu.Unlock()
	out := map[string]failover.Filer{}
	add := func(name string) {
		out[name] = failover.Filer{Standing: ledger.Standing(name, now), Settled: settled[name], Aliases: health[name], Draining: rollout.Draining(c, name)}
	}
	for d := range c.All(netquorum.KindMember) {
		add(d.Name)
	}
	for d := range c.All(netquorum.KindPlacement) {
		p := d.Spec.(*netquorum.Placement)
		add(p.Filer)
		add(p.Leaving)
	}
	return out
}

// place commits what failover.Place decides and reports whether nothing is left
// to decide from what was seen.
func (l *leader) place(ctx context.Context) bool {
	ledger := l.book()
	if ledger == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, l.term)
	defer cancel()
	// Confirming may take as long as a lease, and filers must be able to report
	// meanwhile, or all of them would be gone by the time it succeeds.
	state, err := l.log.Confirm(ctx)
	if err != nil {
		return false
	}
	l.deciding.Lock()
	defer l.deciding.Unlock()
	// The confirmation may be of a later term than the ledger, before which
	// another leader may have granted leases that the ledger does not have.
	if l.book() != ledger {
		return false
	}
	changes, orphans := failover.Place(state.Config(), l.filers(ledger, state.Config()), wishes(state.Config()))
	for _, batch := range batches(changes) {
		if !l.commit(ctx, state.Config(), batch, nil) {
			return false
		}
	}
	if len(orphans) > 0 && !l.commit(ctx, state.Config(), nil, orphans) {
		return false
	}
	return true
}

// batches puts vs_mgmt alone and first (N24), and keeps transactions small.
func batches(changes []netquorum.Document) [][]netquorum.Document {
	var out [][]netquorum.Document
	if len(changes) > 0 && changes[0].Key().Fold().Name == netquorum.ManagementServer {
		out, changes = append(out, changes[:1]), changes[1:]
	}
	for batch := range slices.Chunk(changes, 500) {
		out = append(out, batch)
	}
	return out
}

// commit writes placements, each only if nobody else has written it since.
func (l *leader) commit(ctx context.Context, c netquorum.Config, puts []netquorum.Document, deletes []netquorum.Key) bool {
	t := fsm.Transaction{ID: l.newID(), Actor: "cluster", System: true}
	for _, d := range puts {
		put := fsm.Put{Document: d, MustNotExist: true}
		if old, ok := c.Get(d.Kind, d.Name); ok {
			put.MustNotExist, put.IfRevision = false, &old.Revision
		}
		t.Puts = append(t.Puts, put)
	}
	for _, k := range deletes {
		t.Deletes = append(t.Deletes, fsm.Delete{Key: k})
	}
	result, err := l.log.Propose(ctx, t)
	switch {
	case err != nil:
		l.logger.Warn("placements could not be committed; trying again", "error", err)
		return false
	case result.Refusal != nil:
		l.logger.Debug("placements were decided on an older state; deciding again", "refusal", result.Refusal)
		return false
	}
	for _, d := range puts {
		p := d.Spec.(*netquorum.Placement)
		l.logger.Info("placed", "server", d.Name, "filer", p.Filer, "leaving", p.Leaving, "epoch", p.Epoch, "revision", result.Revision)
	}
	return true
}

// keepMembers makes raft's members those of the Member documents, one change at
// a time. It is on its own because a joining filer may take long to catch up,
// which must not hold up a failover.
func (l *leader) keepMembers(ctx context.Context) {
	ticker := time.NewTicker(l.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l.book() == nil {
			continue
		}
		step, cancel := context.WithTimeout(ctx, l.memberGrace)
		err := l.changeMembers(step)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.logger.Warn("raft's members could not be changed; trying again", "error", err)
		}
	}
}

// changeMembers makes the next change of raft's members, if there is one to
// make. A filer that was replaced goes before its replacement comes: with both
// of them voting, the cluster would need one filer more for a quorum than it
// does without either.
func (l *leader) changeMembers(ctx context.Context) error {
	if add, remove := memberChanges(l.log.State().Config(), l.log.Servers()); len(add) == 0 && len(remove) == 0 {
		return nil
	}
	// A leader that was elected just now may not have applied its log yet. By
	// what it knows then, it would remove filers that are members.
	state, err := l.log.Confirm(ctx)
	if err != nil {
		return err
	}
	switch add, remove := memberChanges(state.Config(), l.log.Servers()); {
	case len(remove) > 0:
		err = l.log.RemoveMember(ctx, remove[0])
	case len(add) > 0:
		err = l.log.AddMember(ctx, add[0])
	}
	return err
}

// memberChanges compares the Member documents with raft's voters.
func memberChanges(c netquorum.Config, voters []netquorum.FilerID) (add, remove []netquorum.FilerID) {
	var documents []netquorum.FilerID
	for d := range c.All(netquorum.KindMember) {
		documents = append(documents, d.Spec.(*netquorum.Member).ID)
	}
	for _, id := range documents {
		if !slices.Contains(voters, id) {
			add = append(add, id)
		}
	}
	for _, id := range voters {
		if !slices.Contains(documents, id) {
			remove = append(remove, id)
		}
	}
	return add, remove
}
