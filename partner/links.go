package partner

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

var (
	// ErrUnknown means that there is no partner of the name.
	ErrUnknown = errors.New("there is no such partner")
	// ErrNoSecret means that no secret is in use with the partner.
	ErrNoSecret = errors.New("no secret is in use with the partner; make one with `netquorum partner secret add`, or use one that was added")
	// ErrNoEndpoint means that the partner is not called, and has not called.
	ErrNoEndpoint = errors.New("the Partner document has no endpoints, and the partner has no link to this filer")
	// ErrNotServed means that no process of the partner accepts the service.
	ErrNotServed = errors.New("nobody at the partner accepts streams of the service")
	// ErrRestarted is the end of a link to a process whose filer runs another one
	// by now.
	ErrRestarted = errors.New("the process of the partner's filer has ended; another one runs there")

	// errNoAnswer ends the opening of a stream over a link that leads nowhere.
	errNoAnswer = errors.New("the partner's filer does not answer")
)

// How links to other clusters differ from those within one: round trips are
// longer, and a mirror would rather wait than begin again.
const (
	ping      = 200 * time.Millisecond
	suspect   = 200 * time.Millisecond
	giveUp    = 10 * time.Second
	patience  = time.Minute
	maxWindow = 16 << 20 // 1 Gbit/s over 120 ms
)

// A Known is what this cluster knows of a partner.
type Known struct {
	Name      string
	Endpoints []string
	Use       Shared // to call with; the zero Shared when there is none
}

// A Book has the partners and their secrets, as they are now.
type Book interface {
	Partner(name string) (Known, bool)
	Secret(id string) (Shared, bool)
}

// A Config is what a Manager needs.
type Config struct {
	Cluster string // this cluster's id
	Filer   netquorum.FilerID
	Book    Book
	// Dial connects to transport.ServicePartner at an address.
	Dial func(ctx context.Context, address string) (*tls.Conn, error)
	Log  *slog.Logger
}

// A Manager holds the links of one process to processes of other clusters.
type Manager struct {
	cfg      Config
	own      offer
	services services

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed when a link comes or goes, or a path of one
	links   map[process]*peering
	made    uint64 // how many links were
	keepers map[string]*keeper
}

// A process is the other end of a link.
type process struct {
	partner     string // in lower case
	filer       netquorum.FilerID
	incarnation [16]byte
}

// A peering is the link to one process of a partner.
type peering struct {
	process
	partner string
	number  uint64 // in the order of their making
	link    *link.Link

	// Under Manager.mu.
	carriers map[*link.Carrier]proven
	met      bool // there was a carrier
}

// A proven is what is known of who is at the other end of a carrier.
type proven struct {
	secret  string // the id of the one that proved it
	cluster string
}

// NewManager returns a manager without links.
func NewManager(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		cfg: cfg, own: offer{cluster: cfg.Cluster, filer: cfg.Filer},
		changed: make(chan struct{}), links: map[process]*peering{}, keepers: map[string]*keeper{},
	}
	_, _ = rand.Read(m.own.incarnation[:]) // crypto/rand does not fail
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Close ends all links and waits for what the manager started.
func (m *Manager) Close() {
	m.cancel()
	m.wait.Wait()
	for _, g := range m.all("") {
		_ = g.link.Close()
	}
}

// Answer is the transport.Proof of ServicePartner.
func (m *Manager) Answer(conn *tls.Conn) (func(net.Conn), error) {
	p, err := answer(conn, m.own, m.cfg.Book.Secret)
	if err != nil {
		return nil, err
	}
	return func(net.Conn) {
		ctx, cancel := context.WithTimeout(m.ctx, giveUp)
		defer cancel()
		if _, err := m.attach(ctx, conn, p, 0); err != nil {
			m.cfg.Log.Debug("a partner's connection was not used", "partner", p.secret.Partner, "error", err)
		}
	}, nil
}

// attach makes a proven connection a carrier of the link to its process.
func (m *Manager) attach(ctx context.Context, conn *tls.Conn, p peer, rank int) (*link.Carrier, error) {
	g, err := m.peering(p)
	if err != nil {
		conn.NetConn().Close()
		return nil, err
	}
	path := link.Path{Kind: "tcp", Local: addrPort(conn.LocalAddr()), Remote: addrPort(conn.RemoteAddr()), Rank: rank}
	c, err := g.link.Attach(ctx, conn, path)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	g.carriers[c], g.met = proven{p.secret.ID, p.cluster}, true
	m.mu.Unlock()
	m.endStale()
	m.cfg.Log.Info("connected with a partner", "partner", g.partner, "filer", p.filer, "remote", path.Remote, "secret", p.secret.ID)
	if !m.start(func() {
		<-c.Done()
		m.mu.Lock()
		delete(g.carriers, c)
		m.mu.Unlock()
		m.endStale()
	}) {
		return nil, net.ErrClosed
	}
	m.poke()
	if !m.accepts(g.partner, proven{p.secret.ID, p.cluster}) { // any more
		m.Recheck()
	}
	return c, nil
}

// peering returns the link to the process, or a new one.
func (m *Manager) peering(p peer) (*peering, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	at := process{strings.ToLower(p.secret.Partner), p.filer, p.incarnation}
	if g := m.links[at]; g != nil {
		select {
		case <-g.link.Done():
		default:
			return g, nil
		}
	}
	m.made++
	g := &peering{process: at, partner: p.secret.Partner, number: m.made, carriers: map[*link.Carrier]proven{}}
	g.link = link.New(link.Config{
		Local: m.cfg.Filer, Peer: p.filer, Log: m.cfg.Log,
		Ping: ping, Suspect: suspect, GiveUp: giveUp, Patience: patience, MaxBulkWindow: maxWindow,
		Changed: m.poke,
		Accept: func(offered []string, _ link.Class) (string, func(*link.Stream)) {
			for _, name := range offered {
				if m.services.offered(name, g.partner) {
					return name, func(s *link.Stream) {
						m.services.take(name, &Stream{Stream: s, Partner: g.partner, release: func() {}})
					}
				}
			}
			return "", nil
		},
	})
	m.links[at] = g
	m.wait.Go(func() {
		<-g.link.Done()
		_ = g.link.Close()
		m.mu.Lock()
		if m.links[at] == g {
			delete(m.links, at)
		}
		m.mu.Unlock()
		m.cfg.Log.Info("the link with a partner has ended", "partner", g.partner, "filer", g.filer, "error", g.link.Err())
		m.poke()
	})
	context.AfterFunc(m.ctx, func() { g.link.End(nil) })
	return g, nil
}

// all returns the links with a partner; with every one for an empty name.
func (m *Manager) all(partner string) []*peering {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*peering
	for _, g := range m.links {
		if partner == "" || strings.EqualFold(g.partner, partner) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *peering) int { return strings.Compare(string(a.filer), string(b.filer)) })
	return out
}

// endStale ends the links to processes that have lost all paths and whose filers
// run another process by now. Who has streams to them would wait for nothing, to
// the end of the link's patience.
func (m *Manager) endStale() {
	var stale []*link.Link
	m.mu.Lock()
	for _, old := range m.links {
		for _, now := range m.links {
			if len(old.carriers) == 0 && now.met && now.number > old.number && now.process.partner == old.process.partner && now.filer == old.filer {
				stale = append(stale, old.link)
				break
			}
		}
	}
	m.mu.Unlock()
	for _, l := range stale {
		l.End(ErrRestarted)
	}
}

// A route is a link over which a stream may be opened.
type route struct {
	*peering
	answers bool // a path of it does
	rank    int  // of the best path
}

// routes returns the links with a partner that have a path, in the order in which
// they are to be tried.
func (m *Manager) routes(partner string) []route {
	var out []route
	for _, g := range m.all(partner) {
		paths := g.link.Status().Carriers
		if len(paths) == 0 {
			continue
		}
		r := route{peering: g, rank: paths[0].Path.Rank}
		for _, p := range paths {
			r.answers = r.answers || p.State == link.Up
			r.rank = min(r.rank, p.Path.Rank)
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b route) int {
		switch {
		case a.answers == b.answers:
			return cmp.Compare(a.rank, b.rank)
		case a.answers:
			return -1
		}
		return 1
	})
	return out
}

// start runs f in a goroutine that Close waits for, unless it has begun.
func (m *Manager) start(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return false
	}
	m.wait.Go(f)
	return true
}

// poke wakes who waits for a link.
func (m *Manager) poke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.changed)
	m.changed = make(chan struct{})
}

// Accept waits for a stream of the service, from the partner or from any.
func (m *Manager) Accept(ctx context.Context, service, partner string) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	return m.services.Accept(ctx, service, partner)
}

// again is how often an Open tries processes that did not accept the service.
const again = 500 * time.Millisecond

// Open opens a stream of a service that some process of the partner accepts. It
// waits for the partner to be within reach, and for the service, until ctx ends;
// the error then says what was wrong last.
func (m *Manager) Open(ctx context.Context, partner, service string) (*Stream, error) {
	k, err := m.keep(partner)
	if err != nil {
		return nil, err
	}
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		var last error
		for _, r := range m.routes(partner) {
			s, err := m.openOver(ctx, r.peering, service)
			if err == nil {
				return &Stream{Stream: s, Partner: k.name, release: k.release}, nil
			}
			last = err
			if errors.Is(err, link.ErrNotServed) {
				last = fmt.Errorf("%w: %s", ErrNotServed, service)
			}
		}
		if last == nil {
			last = k.trouble()
		}
		select {
		case <-ctx.Done():
			k.release()
			return nil, fmt.Errorf("partner %s: %w (%w)", k.name, last, ctx.Err())
		case <-m.ctx.Done():
			k.release()
			return nil, net.ErrClosed
		case <-changed:
		case <-time.After(again):
		}
	}
}

// openOver opens a stream over one link. It waits for the answer for as long as
// the link has a path that answers, or a path at all and no other link does better.
func (m *Manager) openOver(ctx context.Context, g *peering, service string) (*link.Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		for {
			m.mu.Lock()
			changed := m.changed
			m.mu.Unlock()
			all := m.routes(g.process.partner)
			i := slices.IndexFunc(all, func(r route) bool { return r.peering == g })
			if i < 0 || !all[i].answers && all[0].answers {
				cancel(errNoAnswer)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	})
	return g.link.Open(ctx, service, link.Bulk)
}

// accepts reports whether who has proved this is the partner, as the book is now.
func (m *Manager) accepts(partner string, p proven) bool {
	s, ok := m.cfg.Book.Secret(p.secret)
	return ok && strings.EqualFold(s.Partner, partner) && (s.Cluster == "" || s.Cluster == p.cluster)
}

// Recheck looks at the book again: carriers that were proved by a secret that is
// gone, or by a cluster that is not meant any more, are cut, and partners are called
// where and by what they should be now. Call it after every change of partners or
// secrets.
func (m *Manager) Recheck() {
	var cut []*link.Carrier
	var ended []*link.Link
	m.mu.Lock()
	for _, g := range m.links {
		if _, ok := m.cfg.Book.Partner(g.partner); !ok {
			ended = append(ended, g.link) // which tells the other side, and closes its carriers
			continue
		}
		for c, p := range g.carriers {
			if !m.accepts(g.partner, p) {
				cut = append(cut, c)
			}
		}
	}
	keepers := slices.Collect(maps.Values(m.keepers))
	m.mu.Unlock()
	for _, l := range ended {
		l.End(ErrUnknown)
	}
	for _, c := range cut {
		m.cfg.Log.Info("a partner's connection is cut: its secret was removed, or its cluster is not the one that is meant", "remote", c.Path().Remote)
		_ = c.Close()
	}
	for _, k := range keepers {
		k.wake()
	}
}

// A LinkStatus is how the link to one process of a partner does.
type LinkStatus struct {
	Partner string
	Filer   netquorum.FilerID
	link.Status
}

// A Problem is what is wrong with an endpoint of a partner.
type Problem struct {
	Endpoint string
	Err      error
}

// Problems returns what is wrong with the endpoints of a partner that is called
// now.
func (m *Manager) Problems(partner string) []Problem {
	m.mu.Lock()
	k := m.keepers[strings.ToLower(partner)]
	m.mu.Unlock()
	if k == nil {
		return nil
	}
	return k.wrong()
}

// Links returns the links with all partners.
func (m *Manager) Links() []LinkStatus {
	var out []LinkStatus
	for _, g := range m.all("") {
		out = append(out, LinkStatus{g.partner, g.filer, g.link.Status()})
	}
	return out
}

func addrPort(a net.Addr) netip.AddrPort {
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
