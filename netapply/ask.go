package netapply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// An asker asks the kernel questions, one at a time. Answers are read where they
// arrive: a list of a thousand addresses is some hundred kilobytes.
type asker struct {
	mu    sync.Mutex
	fd    int
	seq   uint32
	reply [32 << 10]byte // the most that the kernel writes of a list at once
}

// errInterrupted reports a list that changed while the kernel was writing it.
var errInterrupted = errors.New("the list changed while it was read")

func openAsker() (*asker, error) {
	fd, err := openRoute()
	if err != nil {
		return nil, err
	}
	// Lists filtered in the kernel, and error texts; old kernels do without.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &asker{fd: fd}, nil
}

func (a *asker) close() error { return unix.Close(a.fd) }

// ask sends a question and calls each with every answer, which is good until
// each returns. After an error of each the rest is read and passed over.
func (a *asker) ask(what uint16, flags int, body *message, each func([]byte) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq++
	b := appendHeader(nil, what, unix.NLM_F_REQUEST|flags, a.seq, len(body.b))
	if err := unix.Sendto(a.fd, append(b, body.b...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("cannot reach the kernel: %w", err)
	}
	var first error
	for {
		n, err := unix.Read(a.fd, a.reply[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		for b := a.reply[:n]; len(b) >= unix.SizeofNlMsghdr; {
			h, body, size, ok := cutMessage(b)
			if !ok {
				return errAttributes
			}
			b = b[size:]
			if h.Seq != a.seq {
				continue // of a question whose answer came too late
			}
			if h.Flags&unix.NLM_F_DUMP_INTR != 0 {
				first = errors.Join(first, errInterrupted)
			}
			switch h.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if len(body) >= 4 {
					// The end of a list that failed has a text right behind the
					// number, a refusal the header of the request in between.
					first = errors.Join(first, ending(h, body))
				}
				return first
			}
			if first == nil {
				first = each(body)
			}
			if h.Flags&unix.NLM_F_MULTI == 0 {
				return first
			}
		}
	}
}

// ending is the error that ends an answer, if one does.
func ending(h syscall.NlMsghdr, body []byte) error {
	if h.Type == unix.NLMSG_ERROR {
		return answer(body, h.Flags)
	}
	number := int32(binary.NativeEndian.Uint32(body))
	if number >= 0 {
		return nil
	}
	errno := syscall.Errno(-number)
	if h.Flags&unix.NLM_F_ACK_TLVS != 0 {
		return withText(errno, body[4:])
	}
	return errno
}

// cutMessage takes one message off the beginning of what was received.
func cutMessage(b []byte) (h syscall.NlMsghdr, body []byte, size int, ok bool) {
	h = syscall.NlMsghdr{
		Len: binary.NativeEndian.Uint32(b), Type: binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]), Seq: binary.NativeEndian.Uint32(b[8:]),
	}
	n := int(h.Len)
	if n < unix.SizeofNlMsghdr || n > len(b) {
		return h, nil, 0, false
	}
	return h, b[unix.SizeofNlMsghdr:n], min((n+3)&^3, len(b)), true
}
