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

// maxBatch is how many changes are sent at once. The kernel's refusals of all of
// them must fit the socket's buffer, where they wait until they are read.
const maxBatch = 64

// A changer sends changes in batches: the kernel carries a batch out in order and
// tells of each change that it refuses, so a batch is as good as its changes one
// after another and costs a fraction of the time. Only the last is acknowledged
// when it is done, which says that the others are: an acknowledgement of each would
// cost the kernel a datagram, and us a system call. Should the buffer overflow all
// the same, reading fails, and nothing is taken for done.
type changer struct {
	mu    sync.Mutex
	fd    int
	seq   uint32
	out   []byte // kept for its space
	reply [16 << 10]byte
}

func openChanger() (*changer, error) {
	fd, err := openRoute()
	if err != nil {
		return nil, err
	}
	// Refinements that old kernels lack: error texts, and no echo of the request.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &changer{fd: fd}, nil
}

// openRoute opens a socket to the kernel's networking.
func openRoute() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(requestTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot set up a netlink socket: %w", err)
	}
	return fd, nil
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
	first, last := c.seq+1, len(list)-1
	b := c.out[:0]
	for i, x := range list {
		c.seq++
		if i == last {
			x.flags |= unix.NLM_F_ACK
		}
		b = appendRequest(b, x, c.seq)
	}
	c.out = b
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
	for errs[last] == errNoAnswer {
		n, err := unix.Read(c.fd, c.reply[:])
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
			}
		}
	}
	for i := range errs {
		if errs[i] == errNoAnswer {
			errs[i] = nil
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
	b = appendHeader(b, x.what, unix.NLM_F_REQUEST|x.flags, seq, len(x.body.b))
	return append(b, x.body.b...)
}

func appendHeader(b []byte, what uint16, flags int, seq uint32, body int) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+body))
	b = binary.NativeEndian.AppendUint16(b, what)
	b = binary.NativeEndian.AppendUint16(b, uint16(flags))
	b = binary.NativeEndian.AppendUint32(b, seq)
	return binary.NativeEndian.AppendUint32(b, 0) // the kernel knows who we are
}

// answers yields the sequence numbers that a datagram answers, with the errors;
// whatever else is in it is passed over.
func answers(b []byte) func(yield func(uint32, error) bool) {
	return func(yield func(uint32, error) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			h, body, size, ok := cutMessage(b)
			if !ok {
				return
			}
			if h.Type == unix.NLMSG_ERROR && len(body) >= 4 && !yield(h.Seq, answer(body, h.Flags)) {
				return
			}
			b = b[size:]
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
	return withText(errno, rest[min(skip, len(rest)):])
}

// withText adds the kernel's words, if they are among the attributes.
func withText(errno syscall.Errno, b []byte) error {
	for a, err := range attributes(b) {
		if err == nil && a.kind == unix.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w: %s", errno, a.text())
		}
	}
	return errno
}
