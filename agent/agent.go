package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/monitor"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/rollout"
	"github.com/netquorum/netquorum/statistics"
	"github.com/netquorum/netquorum/store"
	"github.com/netquorum/netquorum/store/bootcache"
	"github.com/netquorum/netquorum/transport"
)

// An Agent is one filer. Run makes one and runs it; tests look inside.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	endpoint *transport.Endpoint
	follower *follower
	traffic  *traffic // nil when nothing counts
	cache    *bootcache.Cache
	monitor  *monitor.Monitor // nil when there is nothing to watch
	// attendance are the receivers of messages on the local socket.
	attendance attendance

	// configuring is held by the one init or join that may be under way.
	configuring sync.Mutex

	mu      sync.Mutex
	state   api.LifeState
	message string
	member  *member
	joined  chan *member // receives the member that an init or join made
	// provisional is the configuration that the kernel follows before there is
	// a member: the boot cache's, or what an init or join brought along.
	provisional *goal
	copies      []bootcache.CopyStatus
	found       func(netquorum.Key) bool
}

// Run is one filer's life. It returns when the context ends, with nil, or when
// something failed that a restart may mend.
func Run(ctx context.Context, cfg Config) error {
	a, err := newAgent(ctx, cfg)
	if err != nil {
		return err
	}
	defer a.close()
	err = a.run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

func newAgent(ctx context.Context, cfg Config) (*Agent, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg = cfg.traced()
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if cfg.Kernel == nil {
		kernel, err := netapply.Open()
		if err != nil {
			return nil, err
		}
		if err := kernel.RememberIn(filepath.Join(cfg.DataDir, "settings-before.json")); err != nil {
			cfg.Log.Warn("settings that are taken out of the configuration may stay", "error", err)
		}
		cfg.Kernel, cfg.ownKernel = kernel, true
		if cfg.Prober == nil {
			cfg.Prober = netProber{}
		}
		if cfg.Traffic == nil {
			cfg.Traffic = statistics.Netlink{}
		}
		if cfg.Events == nil {
			cfg.Events = netapply.Watch(ctx, cfg.Log)
		}
	}
	if cfg.Features == nil {
		cfg.Features = netapply.Features(ctx)
	}
	a := &Agent{cfg: cfg, log: cfg.Log, state: api.StateUnconfigured, joined: make(chan *member, 1), found: nothing}
	a.cache, err = bootcache.Open(cfg.cacheDir())
	if err != nil {
		return nil, err
	}
	applier := &netapply.Applier{Kernel: cfg.Kernel, Announcer: netapply.NewAnnouncer(cfg.Log), Log: cfg.Log}
	a.follower = newFollower(applier, cfg.Now, cfg.Log)
	a.follower.goal, a.follower.under, a.follower.traced = a.provisionalGoal, a.underTrace, a.tracePass
	a.traffic = newTraffic(cfg, a.follower)
	a.monitor = newMonitor(cfg)
	a.follower.follows = a.followed
	a.endpoint, err = transport.Listen(transport.Config{
		Listen: cfg.Listen, Identity: a.identity, Resolver: a, Spare: a.spareEndpoints, Addresses: a.ownAddresses, Link: cfg.link(), SCTP: true, Allow: a.allow, Log: cfg.Log, Now: cfg.Now, Traces: cfg.traces,
	})
	if err != nil {
		applier.Announcer.Close()
		return nil, fmt.Errorf("listening for other filers: %w", err)
	}
	return a, nil
}

func (a *Agent) close() {
	a.endpoint.Close()
	a.follower.apply.Announcer.Close()
}

// run starts with what needs nothing else: the kernel as the boot cache has it,
// and the local socket, so that a filer that cannot go on can still say why.
func (a *Agent) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	defer func() { stop(); _ = g.Wait() }()
	g.Go(func() error { return a.runMonitor(ctx) })
	boot, err := a.bootFromCache(ctx)
	if err != nil {
		a.log.Error("this filer does not boot from its cache", "error", err)
	}
	socket, err := api.Listen(a.cfg.Socket, 0o600)
	if err != nil {
		return err
	}
	server := api.NewServer(api.Options{Backend: backend{a}, Messages: mail{a}, Version: a.cfg.Version, Log: a.log, Traces: a.cfg.traces, Metrics: metricsHandler(a)})
	g.Go(func() error { return a.follower.Run(ctx, a.cfg.Events) })
	g.Go(func() error { return server.Serve(ctx, socket) })
	g.Go(func() error { return a.traffic.Run(ctx) })
	g.Go(func() error { return a.wakePaths(ctx) })
	g.Go(func() error { return a.live(ctx, boot) })
	return g.Wait()
}

// live is the filer's membership: it takes up the one it had, or waits for an
// init or join to make one, and starts over when it ends.
func (a *Agent) live(ctx context.Context, boot bootcache.Boot) error {
	m, err := a.resume(boot)
	if err != nil {
		a.fail(err)
	}
	for {
		if m == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case m = <-a.joined:
			}
		}
		m.offer() // before anybody learns that this filer is in a cluster, and joins through it
		a.become(m, api.StateRunning, "")
		err := m.Run(ctx)
		if closeErr := m.Close(); closeErr != nil {
			a.log.Warn("closing the store", "error", closeErr)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, store.ErrNotMember) {
			return err
		}
		a.log.Warn("this filer was removed from its cluster; it hosts nothing and waits to be joined again")
		a.keepInterfaces(m)
		a.become(nil, api.StateUnconfigured, "removed from cluster "+m.keys.Identity().Cluster)
		if err := a.forget(m); err != nil {
			a.fail(err)
		}
		m = nil
	}
}

// keepInterfaces lets the kernel of a filer that was removed follow what it knew
// last, less all that it hosted: somebody has to reach it to join it again.
func (a *Agent) keepInterfaces(m *member) {
	config, revision, _ := m.following()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.provisional = &goal{config: config, revision: revision, filer: m.name, hosts: nothing, network: provisionalRevision}
}

// resume takes up the membership that the data directory holds; nil when there
// is none.
func (a *Agent) resume(boot bootcache.Boot) (*member, error) {
	ring, err := transport.LoadKeyring(a.cfg.identityDir())
	if errors.Is(err, transport.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	identity := ring.Identity
	// A filer that has lost its log has lost what it promised in it. Under its
	// old id it could vote twice in one term, or help to forget what it had
	// acknowledged; under a new one it does no harm.
	if there, err := store.Present(a.cfg.storeDir()); err != nil {
		return nil, err
	} else if !there {
		a.log.Error("the log is missing: join this filer again", "identity", identity.Filer, "cluster", identity.Cluster)
		a.become(nil, api.StateUnconfigured, fmt.Sprintf("the log in %s is missing: on another filer of %s run `netquorum token create --filer %s`, "+
			"and join this filer again with that token", a.cfg.storeDir(), identity.Cluster, identity.Name))
		return nil, nil
	}
	return a.openMember(ring, boot, a.found)
}

// bootFromCache lets the kernel follow the newest valid boot cache and waits
// for the first pass, so that other filers are dialled by configured links.
func (a *Agent) bootFromCache(ctx context.Context) (bootcache.Boot, error) {
	boot, copies, err := a.cache.Load()
	a.mu.Lock()
	a.copies = copies
	a.mu.Unlock()
	if errors.Is(err, bootcache.ErrNone) {
		return bootcache.Boot{}, nil
	}
	if err != nil {
		return bootcache.Boot{}, err
	}
	config, err := bootView(boot)
	if err != nil {
		return bootcache.Boot{}, err
	}
	if a.found, err = a.portsFound(ctx, config, boot.Name); err != nil {
		return bootcache.Boot{}, err
	}
	a.mu.Lock()
	a.state, a.message = api.StateBooting, fmt.Sprintf("configured from the boot cache of revision %d", boot.Revision)
	a.provisional = &goal{config: rollout.View(config, boot.Name), revision: boot.Revision, filer: boot.Name, hosts: a.found, grace: true, until: a.cfg.Now().Add(a.cfg.lease())}
	a.mu.Unlock()
	a.log.Info("booting from the cache", "cluster", boot.Cluster, "filer", boot.Name, "revision", boot.Revision)
	return boot, nil
}

// portsFound says which servers this filer was hosting when its daemon ended.
// A daemon that was only restarted may still hold them by a lease that it has
// forgotten: it lets them be for the time it takes to be granted another.
func (a *Agent) portsFound(ctx context.Context, c netquorum.Config, filer string) (func(netquorum.Key) bool, error) {
	have, err := a.cfg.Kernel.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's state: %w", err)
	}
	found := map[netquorum.Key]bool{}
	for _, l := range have.Links {
		if owner, ok := l.PortOf(); ok {
			if p, placed := c.Placement(owner.Name); placed && p.Filer == filer {
				found[owner.Fold()] = true
			}
		}
	}
	return func(k netquorum.Key) bool { return found[k.Fold()] }, nil
}

// nothing is what a filer without a lease hosts.
func nothing(netquorum.Key) bool { return false }

func (a *Agent) provisionalGoal() (goal, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.provisional == nil {
		return goal{}, false
	}
	g := *a.provisional
	if g.grace && !a.cfg.Now().Before(g.until) {
		g.hosts, g.grace, g.until = nothing, false, time.Time{}
	}
	return g, true
}

// become changes what this filer is. A filer without a member keeps its
// interfaces as they are.
func (a *Agent) become(m *member, state api.LifeState, message string) {
	a.mu.Lock()
	a.member, a.state, a.message = m, state, message
	a.mu.Unlock()
	if m == nil {
		a.follower.Follow(a.provisionalGoal)
	}
}

// fail says in status why this filer is in no cluster although it was in one.
// The daemon stays: its kernel is configured, and somebody has to tell.
func (a *Agent) fail(err error) {
	a.log.Error("this filer cannot take part in its cluster", "error", err)
	a.become(nil, api.StateFailed, err.Error())
}

// running returns the membership, or why there is none.
func (a *Agent) running() (*member, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.member != nil:
		return a.member, nil
	case a.state == api.StateFailed:
		return nil, fmt.Errorf("%w: %s", api.ErrDamaged, a.message)
	case a.state == api.StateJoining || a.state == api.StateBooting:
		return nil, fmt.Errorf("%w: this filer is %s", api.ErrNoQuorum, a.state)
	}
	return nil, fmt.Errorf("%w: form a cluster with `netquorum init` or join one with `netquorum join`", api.ErrUnconfigured)
}

// bootConfig returns what the kernel follows while there is no member.
func (a *Agent) bootConfig() (goal, bool) { return a.provisionalGoal() }

// identity is what the endpoint shows to other filers.
func (a *Agent) identity() *transport.Identity {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.member == nil {
		return nil
	}
	return a.member.keys.Identity()
}

// Endpoints implements transport.Resolver.
func (a *Agent) Endpoints(id netquorum.FilerID) []string {
	a.mu.Lock()
	m := a.member
	a.mu.Unlock()
	if m == nil {
		return nil
	}
	config, _, _ := m.following()
	paths, _ := reach(config, id, a.cfg.port())
	return paths
}

// allow turns filers away that were removed from the cluster.
func (a *Agent) allow(id netquorum.FilerID) bool {
	a.mu.Lock()
	m := a.member
	a.mu.Unlock()
	return m != nil && m.allowed(id)
}

// port is where this filer listens, and by default every other one too.
func (c Config) port() string {
	_, port, _ := net.SplitHostPort(c.Listen)
	return port
}

func newRequestID() string { return uuid.NewString() }
