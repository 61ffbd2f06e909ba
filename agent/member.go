package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/failover"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/partner"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/store/bootcache"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
)

// What filers ask of each other's agents.
const (
	pathReport   = "/report"
	pathWait     = "/wait"
	pathPlan     = "/plan"
	pathFeatures = "/features"
	pathSelf     = "/self"
)

// A member is this filer's part in a cluster, from the moment it has an
// identity.
type member struct {
	agent    *Agent
	name     string
	id       netquorum.FilerID
	cfg      Config
	log      *slog.Logger
	boot     bootcache.Boot // what it came up with; the zero Boot when there was none
	bootView netquorum.Config
	started  time.Time
	found    func(netquorum.Key) bool // hosted here before the daemon was restarted
	features []api.Feature
	keys     keys
	partners *partner.Manager

	endpoint *transport.Endpoint
	client   caller
	store    *store.Store
	keeper   *bootcache.Keeper
	kernel   netapply.Kernel
	follower *follower
	lease    failover.Lease
	lead     *leader
	step     *stepper
	views    views
	quorum   *quorum
	seen     sightings
	messages messaging
	guests   struct {
		sync.Mutex
		last map[netquorum.FilerID]time.Time // when each filer last belonged
	}
	// network is the newest revision that concerns the kernel, as far as seen.
	network atomic.Uint64
}

// A network lets the store talk through the endpoint.
type network struct{ *transport.Endpoint }

func (n network) Raft() net.Listener { return n.Service(transport.ServiceRaft) }

func (n network) OpenRaft(ctx context.Context, to netquorum.FilerID, class store.Class) (net.Conn, error) {
	return n.Open(ctx, to, transport.ServiceRaft, linkClass[class])
}

// linkClass has the link's names for the store's classes.
var linkClass = map[store.Class]link.Class{store.Urgent: link.Urgent, store.Control: link.Control, store.Bulk: link.Bulk}

// openMember opens the store and prepares everything that Run sets going.
func (a *Agent) openMember(ring *transport.Keyring, boot bootcache.Boot, found func(netquorum.Key) bool) (*member, error) {
	identity := ring.Identity
	m := &member{
		agent: a, name: identity.Name, id: identity.Filer, cfg: a.cfg,
		log: a.cfg.Log.With("filer", identity.Name), boot: boot, started: a.cfg.Now(), found: found,
		features: features(a.cfg.Features),
		endpoint: a.endpoint, client: a.endpoint,
		kernel: a.cfg.Kernel, follower: a.follower,
	}
	m.keys.dir = a.cfg.identityDir()
	m.keys.ring.Store(ring)
	m.guests.last = map[netquorum.FilerID]time.Time{}
	view, err := bootView(boot)
	if err != nil {
		return nil, err
	}
	m.bootView = view
	m.store, err = store.Open(store.Options{
		Dir: a.cfg.storeDir(), ID: m.id, Network: network{a.endpoint}, Log: m.log.With("part", "store"), Traces: a.cfg.traces,
		Timing: a.cfg.timing(), Now: a.cfg.Now, Fatal: a.cfg.Fatal,
	})
	if err != nil {
		return nil, err
	}
	m.keeper = bootcache.NewKeeper(a.cache, m.store, identity.Cluster, m.id, m.name)
	m.lead = newLeader(raftLog{m.store}, m.name, a.cfg.lease(), a.cfg.margin(), a.cfg.Heartbeat/2, a.cfg.Now, newRequestID, m.log)
	m.lead.reported = m.seen.note
	m.partners = m.newPartners(identity)
	m.lead.handOver, m.lead.instant = m.store.HandOver, a.cfg.Instant
	m.step = m.stepper()
	m.quorum = newQuorum(func() bool { return m.store.Status().Leader != "" }, a.cfg.Heartbeat, a.cfg.Now)
	m.openMessages()
	return m, nil
}

// bootView makes a configuration of what the boot cache holds. It was valid
// when it was saved, less the records that are not cached.
func bootView(b bootcache.Boot) (netquorum.Config, error) {
	c, problems := netquorum.Config{}.Change(b.Documents, nil)
	if len(problems) > 0 {
		return netquorum.Config{}, fmt.Errorf("boot cache: %w", problems)
	}
	return c, nil
}

// offer begins to serve other filers, as soon as there is an identity to show.
func (m *member) offer() {
	m.endpoint.Handle(m.store.Program(), calls.Program{Name: program, Versions: versions, Handler: m.handler()})
	m.endpoint.ServeJoin(m)
}

// Run takes part in the cluster until the context ends. It returns
// store.ErrNotMember when the filer was removed from the cluster.
func (m *member) Run(ctx context.Context) error {
	defer m.endpoint.ServeJoin(nil)
	m.follower.Follow(m.goal)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.lead.Run(ctx) })
	reporter := m.reporter()
	m.step.tell = reporter.Wake
	g.Go(func() error { return reporter.Run(ctx) })
	g.Go(func() error { return m.agent.healthChanges(ctx, reporter.Wake) })
	g.Go(func() error { m.keeper.Run(ctx); return ctx.Err() })
	g.Go(func() error { return m.watch(ctx) })
	g.Go(func() error { return m.step.Run(ctx) })
	g.Go(func() error { return m.renewIdentity(ctx) })
	g.Go(func() error { return m.tendKeys(ctx) })
	g.Go(func() error { return m.keepAuthority(ctx) })
	g.Go(func() error { return m.tendPartners(ctx) })
	g.Go(func() error { return m.quorum.Run(ctx) })
	g.Go(func() error { return m.dismiss(ctx) })
	g.Go(func() error { return m.keepLinks(ctx) })
	g.Go(func() error { return m.runMessages(ctx) })
	g.Go(func() error { return m.serveInterfaces(ctx) })
	return g.Wait()
}

// Close ends what openMember began, after Run.
func (m *member) Close() error { return errors.Join(m.closeMessages(), m.store.Close()) }

func (m *member) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathReport, serve(m.lead.Report))
	mux.HandleFunc("POST "+pathWait, serve(m.wait))
	mux.HandleFunc("POST "+pathServed, serve(m.served))
	mux.HandleFunc("POST "+pathStatistics, serve(m.localStatistics))
	mux.HandleFunc("POST "+pathPlan, serve(m.plan))
	mux.HandleFunc("POST "+pathAuthority, serve(m.takeAuthority))
	mux.HandleFunc("POST "+pathHolding, serve(func(context.Context, struct{}) (holding, error) { return holdingOf(m.keys.Ring()), nil }))
	mux.HandleFunc("POST "+pathFeatures, serve(func(context.Context, struct{}) ([]api.Feature, error) { return m.features, nil }))
	mux.HandleFunc("POST "+pathLinks, serve(func(context.Context, struct{}) (api.LinkReport, error) { return m.links(), nil }))
	mux.HandleFunc("POST "+pathTrace, serve(m.localTrace))
	mux.HandleFunc("POST "+pathInterfaces, serve(m.agent.localInterfaces))
	mux.HandleFunc("POST "+pathSelf, serve(func(ctx context.Context, _ struct{}) (selfAnswer, error) { return m.self(ctx), nil }))
	return mux
}

// newest returns the newest configuration that this filer knows: right after a
// boot that is the boot cache, because a store without a quorum does not know
// yet which of its entries are committed.
func (m *member) newest() (netquorum.Config, netquorum.Revision) {
	s := m.store.State()
	if s.Revision() >= m.boot.Revision {
		return s.Config(), s.Revision()
	}
	return m.bootView, m.boot.Revision
}

// goal is what this filer's kernel should look like now.
func (m *member) goal() (goal, bool) {
	s := m.store.State()
	config, revision, ahead := m.following()
	g := goal{config: config, ahead: ahead, revision: revision, filer: m.name, network: netquorum.Revision(m.network.Load())}
	now := m.cfg.Now()
	var until time.Time
	until, g.held = m.lease.Held(now, s.Revision())
	switch {
	case g.held:
		g.until, g.hosts = until, placedOn(s.Config(), m.name)
	default:
		g.hosts = nothing
		if end := m.started.Add(m.cfg.lease()); now.Before(end) {
			still := placedOn(config, m.name)
			g.hosts = func(k netquorum.Key) bool { return m.found(k) && still(k) }
			g.grace, g.until = true, end
		}
	}
	return g, true
}

// allowed reports whether a filer may talk to this one. Before the first
// configuration is known, a certificate of the cluster is enough. A filer that is
// no member any more is heard for as long as raft still counts it, and a little
// longer: it must be told that it was removed.
func (m *member) allowed(id netquorum.FilerID) bool {
	config, revision := m.newest()
	if _, authority := config.Authority(); authority.IsRevoked(id) {
		return false
	}
	now := m.cfg.Now()
	belongs := revision == 0 || memberName(config, id) != "" ||
		slices.ContainsFunc(m.store.Status().Members, func(s store.Member) bool { return s.ID == id })
	m.guests.Lock()
	defer m.guests.Unlock()
	if belongs {
		m.guests.last[id] = now
	}
	return now.Before(m.guests.last[id].Add(m.farewell()))
}

// farewell is how long a filer that was removed is heard.
func (m *member) farewell() time.Duration { return 20 * m.cfg.Heartbeat }

// dismiss closes the connections of filers that were removed.
func (m *member) dismiss(ctx context.Context) error {
	ticker := time.NewTicker(m.farewell())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			m.endpoint.Recheck()
		}
	}
}

// placedOn says what a configuration places on a filer.
func placedOn(c netquorum.Config, filer string) func(netquorum.Key) bool {
	return func(k netquorum.Key) bool {
		p, ok := c.Placement(k.Name)
		return ok && p.Filer == filer
	}
}

// watch wakes the follower when something changed that concerns the kernel, and
// lets it settle at once when nothing did.
func (m *member) watch(ctx context.Context) error {
	seen := netquorum.Revision(0)
	for {
		changed := m.store.Changed()
		s := m.store.State()
		if now := s.Revision(); now != seen {
			m.traceApplied(s, seen)
			if seen == 0 || s.NetworkChanged(seen) {
				m.network.Store(uint64(now))
				m.follower.Wake()
			} else {
				m.follower.Settle(seen, now)
				m.traceSettled(s, seen)
			}
			seen = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-m.store.Removed():
			return store.ErrNotMember
		}
	}
}

func (m *member) reporter() *reporter {
	return &reporter{
		lease: &m.lease, interval: m.cfg.report(), wake: make(chan struct{}, 1), now: m.cfg.Now, log: m.log,
		report: func() report {
			o, _ := m.follower.Outcome()
			return report{Filer: m.name, Settled: o.settled, Cached: m.keeper.Status().Revision, Attempt: m.step.Attempt(), Aliases: aliasHealth(m.agent.monitored(), m.cfg.Now()), Holds: holdingOf(m.keys.Ring())}
		},
		send:    m.sendReport,
		follows: func() netquorum.Revision { return m.store.State().Revision() },
		gained:  m.follower.Wake,
	}
}

func (m *member) sendReport(ctx context.Context, r report) (failover.Grant, error) {
	leader := m.store.Status().Leader
	switch leader {
	case "":
		return failover.Grant{}, store.ErrNoQuorum
	case m.id:
		return m.lead.Report(ctx, r)
	}
	var g failover.Grant
	return g, call(ctx, m.client, leader, pathReport, r, &g)
}

// commit proposes a transaction and returns a refusal as an error.
func (m *member) commit(ctx context.Context, t fsm.Transaction) error {
	_, err := m.propose(ctx, t)
	return err
}

func (m *member) propose(ctx context.Context, t fsm.Transaction) (fsm.Result, error) {
	r, err := m.store.ProposeWhile(ctx, m.quorum.While, t)
	if err != nil {
		return r, apiError(err)
	}
	if r.Refusal != nil {
		return r, refusal(r.Refusal)
	}
	return r, nil
}

// read returns a linearizable state.
func (m *member) read(ctx context.Context) (*fsm.State, error) {
	s, err := m.store.ReadWhile(ctx, m.quorum.While, store.Linearizable)
	return s, apiError(err)
}

// renewIdentity replaces the filer's certificate before it expires.
func (m *member) renewIdentity(ctx context.Context) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		if m.keys.Identity().NeedsRenewal(m.cfg.Now()) {
			if err := m.renew(); err != nil {
				m.log.Error("the filer's certificate could not be renewed; trying again in an hour", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (m *member) renew() error {
	if err := m.keys.Change((*transport.Keyring).Renew); err != nil {
		return err
	}
	m.endpoint.Renew()
	m.log.Info("the filer's certificate was renewed", "expires", m.keys.Identity().Expires)
	return nil
}

// A raftLog shows the store to the leader's duties.
type raftLog struct{ *store.Store }

func (l raftLog) Leading() (uint64, bool) {
	s := l.Status()
	return s.Term, s.Role == store.RoleLeader
}

func (l raftLog) Confirm(ctx context.Context) (*fsm.State, error) {
	if _, leading := l.Leading(); !leading {
		return nil, store.ErrNotLeader
	}
	s, err := l.Read(ctx, store.Linearizable)
	if err != nil {
		return nil, err
	}
	// A read forwarded to a successor says nothing about this filer.
	if _, leading := l.Leading(); !leading {
		return nil, errors.Join(store.ErrNotLeader)
	}
	return s, nil
}

func (l raftLog) Servers() []netquorum.FilerID {
	var out []netquorum.FilerID
	for _, m := range l.Status().Members {
		if m.Voter {
			out = append(out, m.ID)
		}
	}
	return out
}
