package messages

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"

	"github.com/netquorum/netquorum"
)

// A Config says how a node behaves. Dir, Self, Network and Hosts are needed.
type Config struct {
	// Dir holds everything that must outlive the process. It is made with mode
	// 0700, its files with 0600.
	Dir     string
	Self    netquorum.FilerID
	Network Network
	Hosts   Hosts
	Log     *slog.Logger
	Clock   Clock
	Limits  Limits
	// GoneAfter is how long a filer must have been out of reach until a virtual
	// server's message that it may have accepted is sent to the server's new host
	// although the old one has not refused it; 5 s.
	GoneAfter time.Duration
	// IdleAfter is how long a session without messages stays open; 1 min.
	IdleAfter time.Duration
	// RetryMin and RetryMax bound the wait between two attempts to reach a filer;
	// 50 ms and 5 s.
	RetryMin, RetryMax time.Duration
}

// Limits bound what a node keeps. Zero means the default.
type Limits struct {
	MaxBody         int64         // of one message; 1 GiB
	MaxSpool        int64         // bytes of spooled bodies, in each direction; 8 GiB
	MaxPending      int           // messages of one client without a completion; 10,000
	MaxInbox        int           // messages of one service that wait for its handler; 10,000
	CompletionAge   time.Duration // how long completions are kept for a client or a filer that does not come; 7 days
	CompletionBytes int64         // and how many bytes of them for each; 64 MiB
	Workers         int           // handlers of one service at a time, a quarter of them for control only; 16
}

func (c Config) withDefaults() Config {
	c.Limits.MaxBody = or(c.Limits.MaxBody, 1<<30)
	c.Limits.MaxSpool = or(c.Limits.MaxSpool, 8<<30)
	c.Limits.MaxPending = or(c.Limits.MaxPending, 10_000)
	c.Limits.MaxInbox = or(c.Limits.MaxInbox, 10_000)
	c.Limits.CompletionAge = or(c.Limits.CompletionAge, 7*24*time.Hour)
	c.Limits.CompletionBytes = or(c.Limits.CompletionBytes, 64<<20)
	c.Limits.Workers = or(c.Limits.Workers, 16)
	c.GoneAfter = or(c.GoneAfter, 5*time.Second)
	c.IdleAfter = or(c.IdleAfter, time.Minute)
	c.RetryMin = or(c.RetryMin, 50*time.Millisecond)
	c.RetryMax = max(or(c.RetryMax, 5*time.Second), c.RetryMin)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = wallClock{}
	}
	return c
}

// or returns a unless it is zero.
func or[T comparable](a, b T) T {
	var zero T
	if a == zero {
		return b
	}
	return a
}

// A Clock is where a node's time comes from.
type Clock interface {
	Now() time.Time
	// After is time.After.
	After(time.Duration) <-chan time.Time
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// inFlight bounds the bytes of one priority that are on their way to the disk.
const inFlight = 4 << 20

// A Node is a filer's part in messaging: its outbox and its inbox. Everything in
// memory is under mu and is what the file says, plus what is being written to it.
type Node struct {
	cfg         Config
	log         *slog.Logger
	db          *bbolt.DB
	commits     *committer
	incarnation Incarnation // of the directory
	spool       spool
	room        [2]*semaphore.Weighted // by priority

	life context.Context // ends when the node closes or its disk fails
	end  context.CancelCauseFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	stopping bool   // nothing is begun any more
	session  uint64 // number of the newest one that was opened from here
	running  context.Context
	clients  map[string]*client
	lines    map[outKey]*outStream
	peers    map[netquorum.FilerID]*peer
	calls    map[ID]chan Completion
	ins      map[ID]*in
	from     map[netquorum.FilerID]map[ID]*in
	queues   map[inKey]*inStream
	services map[string]*service
	sessions map[netquorum.FilerID]*inSession
	latest   map[netquorum.FilerID]latest
	hints    map[string]hint // by virtual server
	counts   Counts
}

// Open opens or creates a node's directory. Boxes and services work from then on;
// messages move while Run runs.
func Open(cfg Config) (*Node, error) {
	if cfg.Dir == "" || cfg.Self == "" || cfg.Network == nil || cfg.Hosts == nil {
		return nil, errors.New("messages: Open needs Dir, Self, Network and Hosts")
	}
	cfg = cfg.withDefaults()
	n := &Node{
		cfg: cfg, log: cfg.Log,
		clients: map[string]*client{}, lines: map[outKey]*outStream{},
		peers: map[netquorum.FilerID]*peer{}, calls: map[ID]chan Completion{},
		ins: map[ID]*in{}, from: map[netquorum.FilerID]map[ID]*in{}, queues: map[inKey]*inStream{},
		services: map[string]*service{}, sessions: map[netquorum.FilerID]*inSession{}, hints: map[string]hint{},
		latest: map[netquorum.FilerID]latest{},
		room:   [2]*semaphore.Weighted{semaphore.NewWeighted(inFlight), semaphore.NewWeighted(inFlight)},
	}
	n.life, n.end = context.WithCancelCause(context.Background())
	if err := n.openFiles(); err != nil {
		return nil, err
	}
	n.commits = newCommitter(n.db, &n.mu, func(err error) {
		n.log.Error("messages stop: the disk failed", "error", err)
		n.end(err)
	})
	return n, nil
}

// Run moves messages until the context ends or the disk fails, and waits for the
// handlers, whose contexts end then. It may be called once; after it there is only
// Close.
func (n *Node) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(n.life, func() { stop(context.Cause(n.life)) })()
	n.mu.Lock()
	if n.running != nil {
		n.mu.Unlock()
		return errors.New("messages: Run was called before")
	}
	n.running = ctx
	for _, p := range n.peers {
		n.start(p)
	}
	for _, s := range n.lines {
		n.route(s)
	}
	for _, s := range n.queues {
		n.kick(s)
	}
	n.mu.Unlock()
	n.wg.Go(func() { n.accept(ctx) })
	n.wg.Go(func() { n.follow(ctx) })
	n.wg.Go(func() { n.collectAll(ctx) })
	<-ctx.Done()
	n.end(ErrClosed)
	n.stop()
	return context.Cause(ctx)
}

// Close ends everything and waits for it. What is on disk is taken up by the next
// Open.
func (n *Node) Close() error {
	n.end(ErrClosed)
	n.stop()
	n.commits.close()
	n.closeUploads()
	return n.db.Close()
}

// stop waits for all that runs, handlers included.
func (n *Node) stop() {
	n.mu.Lock()
	n.stopping = true
	n.mu.Unlock()
	n.cfg.Network.Close()
	n.wg.Wait()
}

// spawn begins something that stop waits for, unless that has been called. The
// caller holds mu.
func (n *Node) spawn(f func()) bool {
	if n.stopping {
		return false
	}
	n.wg.Go(f)
	return true
}

// closed returns why the node has ended, nil while it has not.
func (n *Node) closed() error {
	if n.life.Err() == nil {
		return nil
	}
	return context.Cause(n.life)
}

// settleFor keeps follow from looking at all streams for each of many changes.
const settleFor = 5 * time.Millisecond

// follow looks again where messages belong whenever placements or members change,
// and now and then, because that a filer is gone for long is no event.
func (n *Node) follow(ctx context.Context) {
	period := min(n.cfg.GoneAfter/4, 250*time.Millisecond)
	for {
		changed := n.cfg.Hosts.Changed()
		n.mu.Lock()
		for _, s := range n.lines {
			if s.key.to.Server != "" || !n.cfg.Hosts.Member(s.key.to.Filer) {
				n.route(s)
			}
		}
		for _, s := range n.queues {
			if s.key.to.Server != "" || s.postponed {
				n.kick(s)
			}
		}
		n.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-changed:
			select {
			case <-ctx.Done():
				return
			case <-n.cfg.Clock.After(settleFor):
			}
		case <-n.cfg.Clock.After(period):
		}
	}
}

// Reachable says that a filer has been seen: an attempt to reach it need not wait
// any longer.
func (n *Node) Reachable(id netquorum.FilerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil && p.session == nil {
		p.hurry = true
		poke(p.wake)
	}
}

// poke wakes whoever waits on a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func newIncarnation() (i Incarnation) {
	_, _ = rand.Read(i[:]) // never fails; see crypto/rand
	return i
}
