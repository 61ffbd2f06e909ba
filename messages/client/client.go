package client

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/netquorum/netquorum/api"
)

// A Config says who a client is. Name is needed to send.
type Config struct {
	// Socket is the daemon's; the default one when empty.
	Socket string
	// Name is the client's for ever: completions are kept under it while its
	// process is away. Two processes that share one see each other's in Missed.
	Name string
	Log  *slog.Logger
	// KeepCompletions leaves completions with the daemon until Acknowledge, for
	// those who must not lose one between hearing of it and acting on it.
	// Otherwise a completion is the process's as soon as a Sent is done with it.
	KeepCompletions bool
	// MaxQueue bounds the messages that Go has taken and not sent; 10,000.
	MaxQueue int
	// RetryMin and RetryMax bound the wait for a daemon that does not answer;
	// 20 ms and 2 s.
	RetryMin, RetryMax time.Duration
}

// A Client is one sender, and any number of consumers. It is safe for concurrent
// use.
type Client struct {
	cfg Config
	log *slog.Logger
	api *api.Client

	life context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	queued    int
	lines     map[line]*queue
	sending   map[string]int            // messages whose ids are not known yet, by key
	waiting   map[string][]*Sent        // by id; several with one key
	early     map[string]api.Completion // of messages that may be those that are being sent
	listening bool
	seen      []string // ids to be acknowledged
	acking    bool
}

// ErrClosed is what a Sent ends with that was open when the client was closed. Its
// message, if it was sent, is delivered all the same.
var ErrClosed = errors.New("the client is closed")

// New returns a client. It talks to the daemon when it is first used.
func New(cfg Config) *Client {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxQueue == 0 {
		cfg.MaxQueue = 10_000
	}
	if cfg.RetryMin == 0 {
		cfg.RetryMin = 20 * time.Millisecond
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = 2 * time.Second
	}
	c := &Client{
		cfg: cfg, log: cfg.Log, api: api.NewClient(cfg.Socket),
		lines: map[line]*queue{}, waiting: map[string][]*Sent{}, early: map[string]api.Completion{}, sending: map[string]int{},
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// API returns the client of the daemon that this one uses.
func (c *Client) API() *api.Client { return c.api }

// Close ends everything and waits for it. Messages that are on the daemon's disk
// are delivered, and their completions kept.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.wg.Wait()
	c.mu.Lock()
	open := c.waiting
	c.waiting = map[string][]*Sent{}
	c.mu.Unlock()
	for _, all := range open {
		for _, s := range all {
			s.finish(api.Completion{}, ErrClosed)
		}
	}
	c.api.Close()
}

// spawn runs f until it returns, which it does soon after Close. It reports false
// when the client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Go(f)
	}
	return !c.closed
}

// joined is a context that ends with both the caller's and the client.
func (c *Client) joined(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// passing reports whether an error may go away by itself: the daemon is being
// restarted, or this filer finds its cluster again, or its outbox has room again.
func passing(err error) bool {
	for _, code := range []api.Code{api.ErrUnreachable, api.ErrUnknownOutcome, api.ErrNoQuorum, api.ErrFull, api.ErrTimeout} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// A pause is the growing wait between two attempts.
type pause struct{ next, most time.Duration }

func (c *Client) pause() *pause { return &pause{c.cfg.RetryMin, c.cfg.RetryMax} }

func (p *pause) wait(ctx context.Context) error {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(2*p.next, p.most)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
