// Package transporttest makes filers that talk over real loopback connections,
// and relays that fail the way networks do, for tests of transport and of what
// stands on it.
package transporttest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
)

// A Cluster is an authority and filers with endpoints. All filers use it as
// their Resolver.
type Cluster struct {
	Authority *transport.Authority
	Filers    []*Filer

	mu        sync.Mutex
	endpoints map[netquorum.FilerID][]string
	removed   map[netquorum.FilerID]bool
}

// A Filer is one member of a Cluster.
type Filer struct {
	ID netquorum.FilerID
	*transport.Endpoint
	Identity *transport.Identity
}

// New makes a cluster of n filers, "filer-1" and so on, each known to all by its
// loopback address. Everything is closed when the test ends. Each set changes
// the configuration of all endpoints before they are made.
func New(t testing.TB, n int, set ...func(*transport.Config)) *Cluster {
	t.Helper()
	a, err := transport.NewAuthority("acme")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{
		Authority: a,
		endpoints: map[netquorum.FilerID][]string{},
		removed:   map[netquorum.FilerID]bool{},
	}
	for i := range n {
		c.Add(t, netquorum.FilerID(fmt.Sprintf("filer-%d", i+1)), set...)
	}
	return c
}

// Add makes one more filer.
func (c *Cluster) Add(t testing.TB, id netquorum.FilerID, set ...func(*transport.Config)) *Filer {
	t.Helper()
	identity, err := c.Authority.Issue(id, string(id))
	if err != nil {
		t.Fatal(err)
	}
	cfg := transport.Config{
		Listen:   "127.0.0.1:0",
		Identity: func() *transport.Identity { return identity },
		Resolver: c,
		Allow:    c.member,
	}
	for _, f := range set {
		f(&cfg)
	}
	e, err := transport.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	f := &Filer{ID: id, Endpoint: e, Identity: identity}
	c.Filers = append(c.Filers, f)
	c.Route(id, e.Addr().String())
	return f
}

// Route replaces where all filers believe that one may be reached.
func (c *Cluster) Route(id netquorum.FilerID, endpoints ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endpoints[id] = endpoints
}

// Endpoints implements transport.Resolver.
func (c *Cluster) Endpoints(id netquorum.FilerID) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endpoints[id]
}

// Remove takes a filer out of the membership, and tells all endpoints.
func (c *Cluster) Remove(id netquorum.FilerID) {
	c.mu.Lock()
	c.removed[id] = true
	c.mu.Unlock()
	for _, f := range c.Filers {
		f.Recheck()
	}
}

func (c *Cluster) member(id netquorum.FilerID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.removed[id]
}

// Eventually waits until the condition holds, and fails the test saying what
// was awaited when it does not within ten seconds.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

var _ transport.Resolver = (*Cluster)(nil)
