package sctpio

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

// maxMessage is how much of a Write goes out as one message. The kernel keeps a
// whole message in its buffers until it is delivered.
const maxMessage = 64 << 10

// A Conn is an association as an ordered stream of bytes. Writes become messages
// of stream 0; where they began and ended is not visible to the reader. There is
// no half close.
type Conn struct {
	s             *socket
	local, remote *sctp.SCTPAddr
	observe       func(Event)
	most          int // bytes in one message

	reading sync.Mutex
	note    []byte // what has come of a notification
	oob     [64]byte

	writing sync.Mutex // keeps the messages of one Write together

	mu    sync.Mutex
	cause error // why the association is over; the first who learns it says so
}

var _ net.Conn = (*Conn)(nil)

// newConn makes a Conn of a socket whose handshake is over. remote is what was
// called, nil for an accepted one: the kernel then knows.
func newConn(s *socket, remote *sctp.SCTPAddr, o Options) (*Conn, error) {
	c := &Conn{s: s, remote: remote, observe: o.Observe}
	var err error
	if c.most, err = s.maxSend(); err != nil {
		return nil, err
	}
	if c.local, err = s.addrs("GET_LOCAL_ADDRS", optGetLocalAddrs); err != nil {
		return nil, err
	}
	// getpeername would tell the last of the addresses, which is not the primary.
	if c.remote == nil {
		c.remote, err = s.addrs("GET_PEER_ADDRS", optGetPeerAddrs)
	}
	return c, err
}

// Read reads what has arrived, or waits. The end is io.EOF when the peer has
// shut down, ECONNRESET when it aborted or died, ETIMEDOUT when it fell silent.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		n, flags, info, err := c.receive(p)
		switch {
		case err != nil:
			return 0, c.failed("read", err)
		case n == 0:
			return 0, c.failed("read", io.EOF)
		case flags&msgNotification != 0:
			if err := c.notified(p[:n], flags&unix.MSG_EOR != 0); err != nil {
				return 0, c.failed("read", err)
			}
		case info.stream != 0:
			// Nothing is in order between streams: this is no part of ours.
			return 0, c.failed("read", errStream)
		default:
			return n, nil
		}
	}
}

// msgNotification marks what comes from the kernel itself.
const msgNotification = 0x8000

var errStream = errors.New("the peer uses a stream that was not agreed upon")

// receive is one recvmsg that returned something. What is left of a message that
// is longer than p is what the next one returns.
func (c *Conn) receive(p []byte) (n, flags int, info rcvInfo, err error) {
	var oobn int
	rawErr := c.s.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, err = unix.Recvmsg(int(fd), p, c.oob[:], 0)
			if err != unix.EINTR {
				return err != unix.EAGAIN || c.over() != nil
			}
		}
	})
	if rawErr != nil {
		return 0, 0, info, rawErr
	}
	if err != nil {
		return 0, 0, info, os.NewSyscallError("recvmsg", err)
	}
	info, _, err = parseRcvInfo(c.oob[:oobn])
	return n, flags, info, err
}

// notified takes a notification, or a piece of it when the reader's buffer is
// small, and returns an error when it says that the association is over.
func (c *Conn) notified(p []byte, last bool) error {
	c.note = append(c.note, p[:min(len(p), maxNotification-len(c.note))]...)
	if !last {
		return nil
	}
	e, known, err := parseNotification(c.note)
	c.note = c.note[:0]
	if err != nil || !known {
		return err
	}
	if c.observe != nil {
		c.observe(e)
	}
	switch {
	case e.Kind == PeerShutdown || e.Kind == AssociationEnded:
		return io.EOF
	case e.ends():
		// Whether the peer aborted or fell silent the socket says, once.
		return c.s.control(func(fd int) error {
			if no, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && no != 0 {
				return os.NewSyscallError("recvmsg", unix.Errno(no))
			}
			return os.NewSyscallError("recvmsg", unix.ECONNRESET)
		})
	}
	return nil
}

// Write sends p, in several messages when it is long. It waits while the
// association's buffer is full; then everybody who writes waits, whatever the
// size, which is why bulk data has an association of its own.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	sent := 0
	for {
		piece := p[sent:min(sent+c.most, len(p))]
		if len(piece) == 0 {
			return sent, nil
		}
		if err := c.send(piece); err != nil {
			return sent, c.failed("write", err)
		}
		sent += len(piece)
	}
}

// send is one sendmsg that took p, which it does as a whole or not at all.
func (c *Conn) send(p []byte) error {
	var err error
	rawErr := c.s.raw.Write(func(fd uintptr) bool {
		for {
			_, err = unix.SendmsgN(int(fd), p, nil, nil, unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if rawErr != nil {
		return rawErr
	}
	return os.NewSyscallError("sendmsg", err)
}

// failed says how an operation failed. A deadline passes; anything else is the
// end of the association: the kernel tells a socket's error to one caller only,
// and the other direction would wait for ever. So the first who learns of it
// keeps the reason and closes the descriptor, which wakes the others. Only a
// writer leaves that to the reader when something is still to be read: they may
// be the peer's last words.
func (c *Conn) failed(op string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.opError(op, os.ErrDeadlineExceeded)
	}
	if c.s.closed.Load() {
		return c.opError(op, net.ErrClosed)
	}
	cause := c.end(err)
	if op == "read" || !c.unread() {
		c.s.f.Close()
	}
	if op == "read" && (err == io.EOF || cause == io.EOF) {
		return io.EOF
	}
	if cause == io.EOF {
		cause = os.NewSyscallError("sendmsg", unix.EPIPE)
	}
	return c.opError(op, cause)
}

// end notes why the association is over, and returns the reason: the first.
func (c *Conn) end(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = err
	}
	return c.cause
}

func (c *Conn) over() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// unread tells whether something waits to be read.
func (c *Conn) unread() bool {
	n := 0
	err := c.s.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	})
	return err == nil && n > 0
}

func (c *Conn) opError(op string, err error) error {
	if cause := c.over(); err == net.ErrClosed && cause != nil && !c.s.closed.Load() {
		err = cause // why the descriptor is closed, which the user has not done
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}

// Close ends the association and wakes everybody who reads or writes. The kernel
// still delivers what was written, as with TCP, and the peer then reads io.EOF;
// unless something was not read here: that is an abort. It tries for a few seconds.
func (c *Conn) Close() error {
	if c.s.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	// Only those who die without Close end with an abort.
	_ = c.s.control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
	})
	// It is closed already when the association is over.
	if err := c.s.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return c.opError("close", err)
	}
	return nil
}

// LocalAddr returns all addresses of this end, a *sctp.SCTPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the addresses that were called, or all of the caller's.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.deadline(c.s.f.SetDeadline, t) }

// SetReadDeadline is as for every net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.deadline(c.s.f.SetReadDeadline, t) }

// SetWriteDeadline is as for every net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(c.s.f.SetWriteDeadline, t) }

func (c *Conn) deadline(set func(time.Time) error, t time.Time) error {
	if err := set(t); err != nil {
		return c.opError("set", c.s.reason(err))
	}
	return nil
}

// Paths tells how each of the peer's addresses does.
func (c *Conn) Paths() ([]PathInfo, error) {
	status, err := c.s.get("STATUS", optStatus, make([]byte, statusSize))
	if err != nil {
		return nil, c.opError("paths", err)
	}
	primary, err := parseStatus(status)
	if err != nil {
		return nil, c.opError("paths", err)
	}
	remote, err := c.s.addrs("GET_PEER_ADDRS", optGetPeerAddrs)
	if err != nil {
		return nil, c.opError("paths", err)
	}
	var out []PathInfo
	for i := range remote.IPAddrs {
		one := &sctp.SCTPAddr{IPAddrs: remote.IPAddrs[i : i+1], Port: remote.Port}
		b, err := c.s.get("GET_PEER_ADDR_INFO", optPeerAddrInfo, peerAddrInfo(pack(one)))
		if err != nil {
			return nil, c.opError("paths", err)
		}
		p, err := parsePeerAddrInfo(b)
		if err != nil {
			return nil, c.opError("paths", err)
		}
		p.Primary = p.Remote == primary.Remote
		p.Remote = named(p.Remote)
		out = append(out, p)
	}
	return out, nil
}

// Become gives an accepted association the buffers and the mark of the options:
// its class is known only when the peer has said something. It has those of the
// listener before. Settle it before there is much data: the peer was told of the
// window of the larger buffer, and what it sends beyond the smaller is sent twice.
func (c *Conn) Become(o Options) error {
	err := c.s.control(func(fd int) error { return setBuffers(fd, o) })
	if err == nil {
		err = c.s.set("PEER_ADDR_PARAMS", optPeerAddrParams, mark(o.DSCP))
	}
	if err != nil {
		return c.opError("set", err)
	}
	return nil
}

// SetPrimary makes the path to one of the peer's addresses the first choice.
func (c *Conn) SetPrimary(remote netip.Addr) error {
	addr := pack(Addr(uint16(c.remote.Port), remote))
	if err := c.s.set("PRIMARY_ADDR", optPrimaryAddr, setPrimary(addr)); err != nil {
		return c.opError("set", err)
	}
	return nil
}
