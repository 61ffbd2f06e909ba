package calls

import (
	"context"
	"sync"
	"time"

	"github.com/netquorum/netquorum/trace"
)

type versionKey struct{}

// Version returns the version of the program that a request was sent in, by its
// context; 0 for a request that came by another way.
func Version(ctx context.Context) uint16 {
	v, _ := ctx.Value(versionKey{}).(uint16)
	return v
}

// A callContext is a request's. It ends when the caller leaves, the time is up or
// the request is answered. Few handlers wait for that: what is needed for it is
// made by the first who asks.
type callContext struct {
	base    context.Context
	version uint16
	trace   trace.ID

	mu     sync.Mutex
	over   bool
	inner  context.Context // nil until somebody asks
	cancel context.CancelFunc
}

func (c *callContext) begin(base context.Context, q *sent) {
	c.base, c.version, c.trace = base, q.version, q.Trace
	if q.Timeout > 0 {
		c.inner, c.cancel = context.WithTimeout(base, q.Timeout)
	}
}

// end cancels the context.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.inner != nil {
		c.cancel()
	}
}

// ending is a context that ends with this one.
func (c *callContext) ending() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endingLocked()
}

func (c *callContext) endingLocked() context.Context {
	if c.inner == nil {
		c.inner, c.cancel = context.WithCancel(c.base)
		if c.over {
			c.cancel()
		}
	}
	return c.inner
}

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Deadline()
	}
	return c.base.Deadline()
}

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.ending().Done() }

// Err implements context.Context.
func (c *callContext) Err() error { return c.ending().Err() }

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	if key == (versionKey{}) {
		return c.version
	}
	if c.trace != 0 && trace.IsKey(key) {
		return c.trace
	}
	return c.parent().Value(key)
}

// parent is where values are: the inner context too has one, that package context
// looks for when it wants the cause of an end.
func (c *callContext) parent() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil && !c.over {
		return c.base
	}
	return c.endingLocked()
}
