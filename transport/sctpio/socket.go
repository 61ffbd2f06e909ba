package sctpio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

const network = "sctp"

// Supported returns nil when the kernel has SCTP, otherwise why there is none: an
// error that is errors.ErrUnsupported when the kernel lacks it.
func Supported() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return unsupported(err)
	}
	return unix.Close(fd)
}

func unsupported(err error) error {
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		return fmt.Errorf("the kernel has no SCTP: %w: %w", err, errors.ErrUnsupported)
	}
	return fmt.Errorf("make a socket of SCTP: %w", err)
}

// A socket is a descriptor with the runtime's poller.
type socket struct {
	f      *os.File
	raw    syscall.RawConn
	closed atomic.Bool // by its user
}

// open makes a socket with all options that is bound to the addresses.
func open(local *sctp.SCTPAddr, paths int, v6 bool, o Options) (_ *socket, err error) {
	family, name := unix.AF_INET, "sctp4"
	if v6 {
		family, name = unix.AF_INET6, "sctp6"
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, unsupported(err)
	}
	s, err := newSocket(fd)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	err = s.control(func(fd int) error { return configure(fd, paths, o) })
	if err == nil && o.Socket != nil {
		err = o.Socket(name, local.String(), s.raw)
	}
	if err == nil {
		err = s.set("BINDX_ADD", optBindxAdd, pack(local))
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Present lists those of the addresses to which the kernel would bind a socket
// now, in their order. One that no interface has, or that is not yet known to be
// nobody else's, would make Dial and Listen fail as a whole.
func Present(ips ...netip.Addr) ([]netip.Addr, error) {
	family := unix.AF_INET
	if slices.ContainsFunc(ips, netip.Addr.Is6) {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, unsupported(err)
	}
	defer unix.Close(fd)
	var out []netip.Addr
	for _, ip := range ips {
		switch err := setsockopt(fd, optBindxAdd, pack(Addr(0, ip))); {
		case err == nil:
			out = append(out, ip)
		case !errors.Is(err, unix.EADDRNOTAVAIL):
			return nil, os.NewSyscallError("set SCTP_BINDX_ADD", err)
		}
	}
	return out, nil
}

// newSocket takes over a descriptor, which is not blocking already: only such a
// one joins the poller.
func newSocket(fd int) (*socket, error) {
	f := os.NewFile(uintptr(fd), network)
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &socket{f: f, raw: raw}, nil
}

// configure sets everything that is set before bind.
func configure(fd, paths int, o Options) error {
	for _, opt := range o.sockopts(paths) {
		if err := setsockopt(fd, opt.no, opt.bytes); err != nil {
			return fmt.Errorf("set SCTP_%s: %w", opt.name, err)
		}
	}
	// A dead process's data must not linger in the kernel, and its death must
	// look the same whatever was unread: like an abort, at once.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return fmt.Errorf("set SO_LINGER: %w", err)
	}
	return setBuffers(fd, o)
}

func setBuffers(fd int, o Options) error {
	if err := setBuffer(fd, unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, o.SendBuffer); err != nil {
		return fmt.Errorf("set SO_SNDBUF: %w", err)
	}
	if err := setBuffer(fd, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, o.ReceiveBuffer); err != nil {
		return fmt.Errorf("set SO_RCVBUF: %w", err)
	}
	return nil
}

// setBuffer sets a buffer's size beyond the system's limit where that is allowed.
func setBuffer(fd, plain, force, size int) error {
	if size == 0 {
		return nil
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	}
	return err
}

// maxSend is the most that one message may have: the kernel refuses one that is
// larger than the send buffer.
func (s *socket) maxSend() (n int, err error) {
	err = s.control(func(fd int) error {
		n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		return err
	})
	return min(n, maxMessage), err
}

// control runs f with the descriptor, which stays open as long.
func (s *socket) control(f func(fd int) error) error {
	var err error
	if rawErr := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); rawErr != nil {
		return s.reason(rawErr)
	}
	return err
}

// reason says why the poller gave up: its own words for a closed file are known
// to nobody else.
func (s *socket) reason(err error) error {
	for _, known := range []error{os.ErrDeadlineExceeded, os.ErrNoDeadline} {
		if errors.Is(err, known) {
			return known
		}
	}
	return net.ErrClosed
}

func (s *socket) close() error {
	s.closed.Store(true)
	return s.f.Close()
}

func (s *socket) set(name string, no int, b []byte) error {
	return s.control(func(fd int) error {
		if err := setsockopt(fd, no, b); err != nil {
			return os.NewSyscallError("set SCTP_"+name, err)
		}
		return nil
	})
}

// get fills b, which may hold a question, with an option.
func (s *socket) get(name string, no int, b []byte) (out []byte, err error) {
	err = s.control(func(fd int) error {
		n, err := getsockopt(fd, no, b)
		if err != nil {
			return os.NewSyscallError("get SCTP_"+name, err)
		}
		out = b[:n]
		return nil
	})
	return out, err
}

// addrs reads the addresses of one end.
func (s *socket) addrs(name string, no int) (*sctp.SCTPAddr, error) {
	// Room for the most that this package makes, and for a peer that has more.
	b := make([]byte, 8+64*unix.SizeofSockaddrInet6)
	if _, err := s.get(name, no, b); err != nil {
		return nil, err
	}
	// The length that came back is without what precedes the addresses, or with
	// it, by which end was asked about. The count is what holds.
	list, err := parseAddrs(b)
	if err != nil {
		return nil, err
	}
	return join(list), nil
}

// anyV6 tells whether sockets of IPv6 are needed; they reach IPv4 as well.
func anyV6(addrs ...*sctp.SCTPAddr) bool {
	for _, a := range addrs {
		if a != nil && slices.ContainsFunc(AddrPorts(a), func(ap netip.AddrPort) bool { return ap.Addr().Is6() }) {
			return true
		}
	}
	return false
}

// setsockopt needs no pointers of ours: the string's bytes are what it passes on.
func setsockopt(fd, no int, b []byte) error {
	return unix.SetsockoptString(fd, solSCTP, no, string(b))
}

// getsockopt is a system call of our own, because package unix has none that
// takes a structure with a question in it.
func getsockopt(fd, no int, b []byte) (int, error) {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), solSCTP, uintptr(no),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}
