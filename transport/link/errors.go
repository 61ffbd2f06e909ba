package link

import (
	"errors"
	"fmt"
	"io"

	"github.com/netquorum/netquorum"
)

var (
	// ErrPeerLost is what every stream of a link ends with when the link does:
	// the other process is dead, out of reach for too long, or not allowed. The
	// error that wraps it wraps the cause as well.
	ErrPeerLost = errors.New("the peer is lost")
	// ErrNotServed means that the peer accepts none of the offered services.
	ErrNotServed = errors.New("the peer does not offer the service")
	// ErrOtherIncarnation means that a carrier leads to another process, or
	// another link of it, than this link is with. Dial again; with a new link if
	// this one has ended.
	ErrOtherIncarnation = errors.New("the peer is another incarnation")
	// ErrClosed is the cause when this side has ended the link itself.
	ErrClosed = errors.New("the link was closed")
	// ErrSilent is the cause when nobody answered on any carrier for Patience.
	ErrSilent = errors.New("no answer on any path")
	// ErrFull is returned by Stream.TryWrite when the peer's window has no room.
	ErrFull = errors.New("the stream's window is full")
	// ErrStopped means that the peer does not read the stream any more.
	ErrStopped = errors.New("the peer has stopped reading the stream")
	// ErrAborted means that the peer ended the stream within its data. It is an
	// io.ErrUnexpectedEOF too.
	ErrAborted = fmt.Errorf("the peer ended the stream: %w", io.ErrUnexpectedEOF)
	// ErrProtocol means that the peer said what no peer of this version says.
	ErrProtocol = errors.New("the peer breaks the protocol of links")
)

// A LostError is the end of a link. errors.Is finds ErrPeerLost and the cause.
type LostError struct {
	Peer  netquorum.FilerID
	Cause error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("the link to filer %s has ended: %v", e.Peer, e.Cause)
}

func (e *LostError) Unwrap() []error { return []error{ErrPeerLost, e.Cause} }
