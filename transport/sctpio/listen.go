package sctpio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

// A Listener accepts associations. Each has, at this end, the addresses that the
// listener had when the peer called.
type Listener struct {
	s    *socket
	o    Options
	port uint16
}

var _ net.Listener = (*Listener)(nil)

// backlog is how many associations may wait for Accept.
const backlog = 128

// Listen listens at the addresses; port 0 chooses one.
func Listen(local *sctp.SCTPAddr, o Options) (*Listener, error) {
	if err := check("listen", local); err != nil {
		return nil, err
	}
	l, err := listen(local, o)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Source: local, Err: err}
	}
	return l, nil
}

func listen(local *sctp.SCTPAddr, o Options) (*Listener, error) {
	control := o.Socket
	o.Socket = func(network, address string, c syscall.RawConn) error {
		// Associations of an earlier listener do not keep its port.
		err := c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		if err == nil && control != nil {
			err = control(network, address, c)
		}
		return err
	}
	// A socket of IPv6 can have addresses of both kinds later.
	s, err := open(local, len(local.IPAddrs), true, o)
	if errors.Is(err, unix.EAFNOSUPPORT) && !anyV6(local) {
		s, err = open(local, len(local.IPAddrs), false, o)
	}
	if err != nil {
		return nil, err
	}
	l := &Listener{s: s, o: o}
	if err = s.control(func(fd int) error { return os.NewSyscallError("listen", unix.Listen(fd, backlog)) }); err == nil {
		var bound *sctp.SCTPAddr
		if bound, err = s.addrs("GET_LOCAL_ADDRS", optGetLocalAddrs); err == nil {
			l.port = uint16(bound.Port)
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return l, nil
}

// Accept waits for an association.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptSCTP()
	if err != nil {
		return nil, err // not a nil *Conn in an interface that is not nil
	}
	return c, nil
}

// AcceptSCTP is Accept for those who want the paths of the association.
func (l *Listener) AcceptSCTP() (*Conn, error) {
	for {
		fd, err := l.accept()
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: network, Addr: l.Addr(), Err: err}
		}
		s, err := newSocket(fd)
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: network, Addr: l.Addr(), Err: err}
		}
		// A peer may be gone before it is looked at; the listener is none the worse.
		if c, err := newConn(s, nil, l.o); err == nil {
			return c, nil
		}
		s.close()
	}
}

func (l *Listener) accept() (int, error) {
	fd, err := -1, error(nil)
	rawErr := l.s.raw.Read(func(listening uintptr) bool {
		for {
			fd, _, err = unix.Accept4(int(listening), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != unix.EINTR && err != unix.ECONNABORTED {
				return err != unix.EAGAIN
			}
		}
	})
	if rawErr != nil {
		return -1, l.s.reason(rawErr)
	}
	return fd, os.NewSyscallError("accept4", err)
}

// SetAddrs replaces the addresses at which the listener listens, at the same
// port. There is no instant at which it does not listen at those that stay.
func (l *Listener) SetAddrs(ips ...netip.Addr) error {
	want := Addr(l.port, ips...)
	if err := check("bind", want); err != nil {
		return err
	}
	have, err := l.s.addrs("GET_LOCAL_ADDRS", optGetLocalAddrs)
	if err != nil {
		return &net.OpError{Op: "bind", Net: network, Addr: want, Err: err}
	}
	change := func(name string, no int, from, without *sctp.SCTPAddr) {
		known := AddrPorts(without)
		var list []netip.AddrPort
		for _, ap := range AddrPorts(from) {
			if !slices.Contains(known, ap) {
				list = append(list, ap)
			}
		}
		if len(list) > 0 && err == nil {
			err = l.s.set(name, no, pack(join(list)))
		}
	}
	change("BINDX_ADD", optBindxAdd, want, have)
	change("BINDX_REM", optBindxRemove, have, want)
	if err != nil {
		return &net.OpError{Op: "bind", Net: network, Addr: want, Err: err}
	}
	return nil
}

// Addr returns the addresses at which the listener listens; only the port when
// it is closed.
func (l *Listener) Addr() net.Addr {
	a, err := l.s.addrs("GET_LOCAL_ADDRS", optGetLocalAddrs)
	if err != nil {
		return &sctp.SCTPAddr{Port: int(l.port)}
	}
	return a
}

// SetDeadline bounds Accept.
func (l *Listener) SetDeadline(t time.Time) error {
	if err := l.s.f.SetReadDeadline(t); err != nil {
		return &net.OpError{Op: "set", Net: network, Err: l.s.reason(err)}
	}
	return nil
}

// Close stops listening, and wakes Accept. Accepted associations stay.
func (l *Listener) Close() error {
	if err := l.s.close(); err != nil {
		if errors.Is(err, os.ErrClosed) {
			err = net.ErrClosed
		}
		return &net.OpError{Op: "close", Net: network, Err: err}
	}
	return nil
}
