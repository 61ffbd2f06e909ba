package link

import (
	"context"
	"errors"
	"net"
)

// A Link is what two processes share as long as both live.
type Link struct{ cfg Config }

// New makes a link without carriers. It gives up after Patience if none comes.
// Every link has an incarnation of its own: a new link is never taken for an
// earlier one.
func New(cfg Config) *Link { return &Link{cfg: cfg.withDefaults()} }

// Attach adds a carrier: conn is an authenticated connection to the peer, and
// each Write of the link to it is a whole number of frames. Both sides call
// it. It exchanges hellos and returns when the carrier is in use; the link owns
// conn from the call on, also when Attach fails. An error that wraps
// ErrOtherIncarnation says that the peer is not whom the link is with; the link
// may have ended then (see Done), otherwise the peer's has.
func (l *Link) Attach(ctx context.Context, conn net.Conn, p Path) (*Carrier, error) {
	return nil, errors.ErrUnsupported
}

// Open opens a stream of a service that the peer accepts. It waits for the
// answer, and for a first carrier.
func (l *Link) Open(ctx context.Context, service string, c Class) (*Stream, error) {
	return l.OpenAny(ctx, []string{service}, c)
}

// OpenAny opens a stream of the first of the services that the peer takes, which
// is how versions are agreed upon: Stream.Service says which.
func (l *Link) OpenAny(ctx context.Context, services []string, c Class) (*Stream, error) {
	return nil, errors.ErrUnsupported
}

// End ends the link and all its streams with an error that wraps ErrPeerLost and
// cause (ErrClosed when nil), tells the peer if it can, and closes all carriers.
func (l *Link) End(cause error) {}

// Close is End(ErrClosed), and waits for the link's goroutines. It must not be
// called from a Handle callback.
func (l *Link) Close() error { return nil }

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return nil }

// Err says why the link has ended; nil while it lives.
func (l *Link) Err() error { return nil }

// Status says how the link does.
func (l *Link) Status() Status { return Status{} }

// A Carrier is one connection of a link.
type Carrier struct{ path Path }

// Path returns what Attach was told.
func (c *Carrier) Path() Path { return c.path }

// Close takes the carrier out of the link. What was under way on it is sent
// again by another.
func (c *Carrier) Close() error { return nil }

// Done is closed when the carrier is out of use, whoever ended it.
func (c *Carrier) Done() <-chan struct{} { return nil }

// Err says why the carrier is out of use; nil while it is in use.
func (c *Carrier) Err() error { return nil }
