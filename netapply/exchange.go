package netapply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A change is one request that alters the kernel. Answers listed in done mean
// that there was nothing left to do.
type change struct {
	what  uint16
	flags int
	body  *message
	done  []unix.Errno
}

// errNoAnswer is the outcome of a change that the kernel never answered.
var errNoAnswer = errors.New("the kernel did not answer")

// maxBatch is how many changes are sent at once. The answers to all of them
// wait in the socket's buffer until they are read.
const maxBatch = 64

// A changer sends changes in batches: the kernel carries a batch out in order
// and answers each change by itself, so a batch is as good as its changes one
// after another and costs a fraction of the time.
type changer struct {
	mu    sync.Mutex
	fd    int
	seq   uint32
	reply [16 << 10]byte
}

func openChanger() (*changer, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(requestTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot set up a netlink socket: %w", err)
	}
	// Refinements that old kernels lack: error texts, and no echo of the request.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &changer{fd: fd}, nil
}

func (c *changer) close() error { return unix.Close(c.fd) }

// exchange carries out changes and returns their outcomes, in order.
func (c *changer) exchange(list []change) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, 0, len(list))
	for batch := range slices.Chunk(list, maxBatch) {
		errs = append(errs, c.batch(batch)...)
	}
	return errs
}

func (c *changer) batch(list []change) []error {
	first := c.seq + 1
	var b []byte
	for _, x := range list {
		c.seq++
		b = appendRequest(b, x, c.seq)
	}
	errs := make([]error, len(list))
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		for i := range errs {
			errs[i] = fmt.Errorf("cannot reach the kernel: %w", err)
		}
		return errs
	}
	for i := range errs {
		errs[i] = errNoAnswer
	}
	for left := len(list); left > 0; {
		n, _, err := unix.Recvfrom(c.fd, c.reply[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return errs // time is up, or answers were lost
		}
		for seq, err := range answers(c.reply[:n]) {
			// Answers of an earlier batch that came too late are passed over.
			if i := int(seq - first); i >= 0 && i < len(list) && errs[i] == errNoAnswer {
				errs[i] = list[i].outcome(err)
				left--
			}
		}
	}
	return errs
}

func (x change) outcome(err error) error {
	for _, d := range x.done {
		if errors.Is(err, d) {
			return nil
		}
	}
	return err
}

func appendRequest(b []byte, x change, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+len(x.body.b)))
	b = binary.NativeEndian.AppendUint16(b, x.what)
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLM_F_REQUEST|unix.NLM_F_ACK|x.flags))
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0) // the kernel knows who we are
	return append(b, x.body.b...)
}

// answers yields the sequence numbers that a datagram answers, with the errors;
// whatever else is in it is passed over.
func answers(b []byte) func(yield func(uint32, error) bool) {
	return func(yield func(uint32, error) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			n := int(binary.NativeEndian.Uint32(b))
			if n < unix.SizeofNlMsghdr || n > len(b) {
				return
			}
			kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
			seq := binary.NativeEndian.Uint32(b[8:])
			if body := b[unix.SizeofNlMsghdr:n]; kind == unix.NLMSG_ERROR && len(body) >= 4 {
				if !yield(seq, answer(body, flags)) {
					return
				}
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}

// answer reads one answer: an error number, the header of the request, the
// request itself unless left out, and attributes, one of which is a text.
func answer(b []byte, flags uint16) error {
	number := int32(binary.NativeEndian.Uint32(b))
	if number == 0 {
		return nil
	}
	errno := syscall.Errno(-number)
	rest := b[4:]
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(rest) < unix.SizeofNlMsghdr {
		return errno
	}
	skip := unix.SizeofNlMsghdr
	if flags&unix.NLM_F_CAPPED == 0 {
		skip = int(min(binary.NativeEndian.Uint32(rest), 1<<16)+3) &^ 3
	}
	for a, err := range attributes(rest[min(skip, len(rest)):]) {
		if err == nil && a.kind == unix.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w: %s", errno, a.text())
		}
	}
	return errno
}
