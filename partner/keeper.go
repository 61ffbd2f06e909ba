package partner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum/transport/link"
)

// idle is how long a partner is still called when the last stream to it has
// ended.
const idle = 30 * time.Second

// A keeper keeps one carrier for each endpoint of a partner while this process
// has streams to it.
type keeper struct {
	manager *Manager
	name    string
	woken   chan struct{}

	mu       sync.Mutex
	users    int
	since    time.Time        // when the last user went
	problems map[string]error // what is wrong with each endpoint
	gone     bool
}

// keep returns the partner's keeper, with one user more.
func (m *Manager) keep(name string) (*keeper, error) {
	known, ok := m.cfg.Book.Partner(name)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	m.mu.Lock()
	k := m.keepers[strings.ToLower(name)]
	if k != nil && k.use() {
		m.mu.Unlock()
		return k, nil
	}
	k = &keeper{manager: m, name: known.Name, woken: make(chan struct{}, 1), users: 1, problems: map[string]error{}}
	m.keepers[strings.ToLower(name)] = k
	m.mu.Unlock()
	if !m.start(k.run) {
		return nil, context.Canceled
	}
	return k, nil
}

func (k *keeper) use() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return false
	}
	k.users++
	return true
}

// release takes a user away.
func (k *keeper) release() {
	k.mu.Lock()
	k.users--
	k.since = time.Now()
	k.mu.Unlock()
	k.wake()
}

func (k *keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

// rest returns how long the keeper is needed as things are; false when it is not
// needed any more, and then for good. Streams that the partner has opened need it
// too.
func (k *keeper) rest() (time.Duration, bool) {
	streams := 0
	for _, g := range k.manager.all(k.name) {
		streams += g.link.Status().Streams
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.users > 0 {
		return time.Hour, true
	}
	if streams > 0 {
		k.since = time.Now()
	}
	left := idle - time.Since(k.since)
	k.gone = left <= 0
	return left, !k.gone
}

// trouble says why there is no link.
func (k *keeper) trouble() error {
	known, ok := k.manager.cfg.Book.Partner(k.name)
	switch {
	case !ok:
		return ErrUnknown
	case len(known.Endpoints) == 0:
		return ErrNoEndpoint
	case known.Use.ID == "":
		return ErrNoSecret
	}
	said := errors.New("its endpoints are being called")
	for i, p := range k.wrong() {
		if i == 0 {
			said = fmt.Errorf("%s: %w", p.Endpoint, p.Err)
			continue
		}
		said = fmt.Errorf("%w; %s: %w", said, p.Endpoint, p.Err)
	}
	return said
}

// wrong returns what is wrong with the endpoints, in their order.
func (k *keeper) wrong() []Problem {
	known, _ := k.manager.cfg.Book.Partner(k.name)
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Problem
	for _, e := range known.Endpoints {
		if err := k.problems[e]; err != nil {
			out = append(out, Problem{e, err})
		}
	}
	return out
}

func (k *keeper) note(endpoint string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		delete(k.problems, endpoint)
		return
	}
	k.problems[endpoint] = err
}

// run keeps a caller for each endpoint until the keeper is not needed any more.
func (k *keeper) run() {
	m := k.manager
	ctx, cancel := context.WithCancel(m.ctx)
	callers := map[string]*caller{}
	defer func() {
		cancel()
		for _, c := range callers {
			<-c.done
		}
		m.mu.Lock()
		if m.keepers[strings.ToLower(k.name)] == k {
			delete(m.keepers, strings.ToLower(k.name))
		}
		m.mu.Unlock()
	}()
	for {
		known, ok := m.cfg.Book.Partner(k.name)
		if !ok {
			known.Endpoints = nil
		}
		for e, c := range maps.Clone(callers) {
			if !slices.Contains(known.Endpoints, e) {
				c.cancel()
				<-c.done
				k.note(e, nil)
				delete(callers, e)
			}
		}
		for rank, e := range known.Endpoints {
			if callers[e] == nil {
				callers[e] = k.caller(ctx, e, rank)
			}
			callers[e].wake()
		}
		rest, needed := k.rest()
		if !needed {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-k.woken:
		case <-time.After(rest):
		}
	}
}

// A caller keeps a carrier to one endpoint.
type caller struct {
	keeper   *keeper
	endpoint string
	rank     int
	woken    chan struct{}
	cancel   context.CancelFunc
	done     chan struct{}
}

func (k *keeper) caller(ctx context.Context, endpoint string, rank int) *caller {
	ctx, cancel := context.WithCancel(ctx)
	c := &caller{keeper: k, endpoint: endpoint, rank: rank, woken: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go func() { // keeper.run waits for it
		defer close(c.done)
		defer cancel()
		c.run(ctx)
	}()
	return c
}

func (c *caller) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// run calls the endpoint and, while a carrier lives, again only when another
// secret is in use: the new carrier is there before the old one goes.
func (c *caller) run(ctx context.Context) {
	k := c.keeper
	var have *link.Carrier
	var with string
	failures := 0
	defer func() {
		if have != nil {
			_ = have.Close()
		}
	}()
	for ctx.Err() == nil {
		known, ok := k.manager.cfg.Book.Partner(k.name)
		var rest <-chan time.Time
		if have != nil && known.Use.ID == with { // another secret may have been tried in vain
			failures = 0
			k.note(c.endpoint, nil)
		}
		if ok && known.Use.ID != "" && known.Use.ID != with {
			next, err := c.call(ctx, known.Use)
			k.note(c.endpoint, err)
			if err == nil {
				if have != nil {
					_ = have.Close()
				}
				have, with, failures = next, known.Use.ID, 0
			} else {
				failures++
				rest = time.After(backOff(failures))
				k.manager.cfg.Log.Debug("a partner's endpoint could not be used", "partner", k.name, "endpoint", c.endpoint, "error", err)
			}
		}
		var lost <-chan struct{}
		if have != nil {
			lost = have.Done()
		}
		select {
		case <-ctx.Done():
		case <-rest:
		case <-lost:
			have, with = nil, ""
		case <-c.woken:
		}
	}
}

func (c *caller) call(ctx context.Context, s Shared) (*link.Carrier, error) {
	m := c.keeper.manager
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	conn, err := m.cfg.Dial(ctx, c.endpoint)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.NetConn().Close() })
	p, err := call(conn, m.own, s)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.NetConn().Close()
		return nil, err
	}
	return m.attach(ctx, conn, p, c.rank)
}

// backOff is how long an endpoint rests after so many failures in a row, with a
// random part so that filers which lost a partner at one instant do not call it
// at one instant.
func backOff(failures int) time.Duration {
	d := min(100*time.Millisecond<<min(failures-1, 6), 5*time.Second)
	return d/2 + rand.N(d/2)
}
