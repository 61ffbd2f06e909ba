package statistics

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets are the open sockets of one server: those bound to one of its
// addresses. A daemon that listens on the wildcard address listens for all
// servers and is counted for none; the connections that it accepts are.
type Sockets struct {
	States      map[string]int // TCP's, by the names that ss uses
	Retransmits uint64         // segments that open connections have sent again
	RTT         time.Duration  // the median of established connections; 0 without any
	Unread      uint64         // bytes that wait for programs to read them
	Unsent      uint64         // bytes that wait to be sent or acknowledged
	UDP         int            // UDP sockets
	UDPDrops    uint64         // datagrams for them that found the buffer full
	rtts        []uint32
}

func (s *Sockets) addTCP(k socket) {
	if s.States == nil {
		s.States = map[string]int{}
	}
	s.States[stateName(k.state)]++
	if k.state == stateListen {
		return // its queues are of connections, not of bytes
	}
	s.Retransmits += uint64(k.retransmit)
	s.Unread += uint64(k.receive)
	s.Unsent += uint64(k.send)
	if stateName(k.state) == "established" && k.rtt > 0 {
		s.rtts = append(s.rtts, k.rtt)
	}
}

func (s *Sockets) addUDP(k socket) {
	s.UDP++
	s.UDPDrops += uint64(k.drops)
	s.Unread += uint64(k.receive)
	s.Unsent += uint64(k.send)
}

func (s *Sockets) finish() {
	if n := len(s.rtts); n > 0 {
		slices.Sort(s.rtts)
		s.RTT = time.Duration(s.rtts[n/2]) * time.Microsecond
	}
	s.rtts = nil
}

// Sockets implements Kernel. It looks at all sockets once and gives up when the
// context ends, which bounds the cost on a filer with very many connections.
func (Netlink) Sockets(ctx context.Context, of Counted) (map[Owner]*Sockets, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("the kernel has no sock_diag: %w", err)
	}
	defer unix.Close(fd)
	// The socket's own patience is short so that the context is looked at.
	patience := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return nil, fmt.Errorf("setting up a sock_diag socket: %w", err)
	}
	out := map[Owner]*Sockets{}
	owned := func(a netip.Addr) *Sockets {
		owner, ok := of[a]
		if !ok {
			return nil
		}
		if out[owner] == nil {
			out[owner] = &Sockets{}
		}
		return out[owner]
	}
	buffer := make([]byte, 64<<10)
	for i, ask := range []struct {
		name             string
		family, protocol uint8
		add              func(*Sockets, socket)
	}{
		{"TCP", unix.AF_INET, unix.IPPROTO_TCP, (*Sockets).addTCP},
		{"TCP", unix.AF_INET6, unix.IPPROTO_TCP, (*Sockets).addTCP},
		{"UDP", unix.AF_INET, unix.IPPROTO_UDP, (*Sockets).addUDP},
		{"UDP", unix.AF_INET6, unix.IPPROTO_UDP, (*Sockets).addUDP},
	} {
		err := dump(ctx, fd, buffer, ask.family, ask.protocol, uint32(i+1), func(k socket) {
			if s := owned(k.local); s != nil {
				ask.add(s, k)
			}
		})
		if err != nil {
			return nil, absent(ask.name, err)
		}
	}
	for _, s := range out {
		s.finish()
	}
	return out, nil
}

// dump asks once and reads the answer to its end.
func dump(ctx context.Context, fd int, buffer []byte, family, protocol uint8, seq uint32, one func(socket)) error {
	request := appendDiagRequest(nil, family, protocol, seq)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("there are too many to look at in time: %w", err)
		}
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return err
		}
		if done, err := diagAnswers(buffer[:n], seq, one); err != nil || done {
			return err
		}
	}
}
