package link

import (
	"errors"
	"net"
	"time"

	"github.com/netquorum/netquorum"
)

// A Stream is an ordered stream of bytes in each direction: a net.Conn. It ends
// cleanly with io.EOF when the peer has closed it or its writing side; with an
// error that wraps io.ErrUnexpectedEOF when the peer aborted it, and with one
// that wraps ErrPeerLost when the link has ended.
type Stream struct{}

var _ net.Conn = (*Stream)(nil)

// Service returns the service that the stream was accepted as.
func (s *Stream) Service() string { return "" }

// Class returns the stream's class.
func (s *Stream) Class() Class { return 0 }

// Peer returns the filer at the other end.
func (s *Stream) Peer() netquorum.FilerID { return "" }

// Read reads what has arrived, or waits.
func (s *Stream) Read(p []byte) (int, error) { return 0, errors.ErrUnsupported }

// Write gives p to the link, which keeps it until the peer has it. It waits
// while the peer's window has no room. p may be used again when it returns.
func (s *Stream) Write(p []byte) (int, error) { return 0, errors.ErrUnsupported }

// TryWrite is Write for those who must not wait, such as Handle callbacks: it
// takes all of p, or nothing and returns ErrFull.
func (s *Stream) TryWrite(p []byte) error { return errors.ErrUnsupported }

// Handle replaces Read: from now on data is called with what arrives, in order
// and one call at a time, where the carrier is read, so without waking another
// goroutine. It must not block, nor keep p. An error from data aborts the
// stream. When nothing more comes, end is called once: with io.EOF after a clean
// end, otherwise with what Read would return; also when this side ended the
// stream. What arrived earlier is given before Handle returns.
func (s *Stream) Handle(data func(p []byte) error, end func(error)) {}

// CloseWrite ends this side's writing: the peer reads io.EOF after the data.
func (s *Stream) CloseWrite() error { return nil }

// Close ends both directions. What was written still goes to the peer, which
// then reads io.EOF; what the peer writes from now on it learns is not read.
func (s *Stream) Close() error { return nil }

// Abort ends both directions at once; the peer gets ErrAborted with the text of
// the cause.
func (s *Stream) Abort(cause error) {}

// LocalAddr returns an address that names this filer.
func (s *Stream) LocalAddr() net.Addr { return Addr("") }

// RemoteAddr returns an address that names the peer.
func (s *Stream) RemoteAddr() net.Addr { return Addr("") }

// SetDeadline sets both deadlines.
func (s *Stream) SetDeadline(t time.Time) error { return nil }

// SetReadDeadline is as for every net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { return nil }

// SetWriteDeadline is as for every net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return nil }

// An Addr names a filer where package net wants an address.
type Addr netquorum.FilerID

// Network is that of links: it is none of package net's.
func (Addr) Network() string { return "netquorum" }

func (a Addr) String() string { return string(a) }
