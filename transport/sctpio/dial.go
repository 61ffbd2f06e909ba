package sctpio

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

// Dial makes an association from all the local addresses to all the remote ones.
// The first remote address is the primary path. It waits no longer than the
// context, or than InitAttempts last: nobody listening is ECONNREFUSED, silence
// ETIMEDOUT.
func Dial(ctx context.Context, local, remote *sctp.SCTPAddr, o Options) (*Conn, error) {
	if err := check("dial", remote); err != nil {
		return nil, err
	}
	if err := check("dial", local); err != nil {
		return nil, err
	}
	failed := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Source: local, Addr: remote, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, failed(err)
	}
	s, err := open(local, max(len(local.IPAddrs), len(remote.IPAddrs)), anyV6(local, remote), o)
	if err != nil {
		return nil, failed(err)
	}
	c, err := connect(ctx, s, remote, o)
	if err != nil {
		s.close()
		return nil, failed(err)
	}
	return c, nil
}

func connect(ctx context.Context, s *socket, remote *sctp.SCTPAddr, o Options) (*Conn, error) {
	if err := s.set("CONNECTX", optConnectx, pack(remote)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, err
	}
	// The end of the context is a deadline in the past, which wakes the wait.
	stop := context.AfterFunc(ctx, func() { s.f.SetWriteDeadline(time.Unix(1, 0)) })
	err := s.connected()
	if !stop() && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return newConn(s, remote, o)
}

// connected waits for the end of the handshake. It looks before it waits, every
// time: the poller does not tell again what happened before it was asked.
func (s *socket) connected() error {
	var err error
	rawErr := s.raw.Write(func(fd uintptr) bool {
		var no int
		if no, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
			return true
		}
		if no != 0 {
			err = os.NewSyscallError("connect", unix.Errno(no))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		if errors.Is(err, unix.ENOTCONN) {
			return false
		}
		err = os.NewSyscallError("getpeername", err)
		return true
	})
	if rawErr != nil {
		return s.reason(rawErr)
	}
	return err
}
