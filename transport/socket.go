package transport

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// userTimeout ends a connection whose data nobody acknowledges, for users of
	// a service that set no deadlines themselves.
	userTimeout = 5 * time.Second
	// unsent is how much the kernel holds beyond what it may send. What waits
	// here cannot be overtaken: little of it keeps a ping or a small request
	// from queueing behind seconds of bulk data on a slow link.
	unsent = 128 << 10
)

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}

// tune sets socket options before bind or connect; accepted sockets inherit
// them from the listening one.
func tune(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
		}
	}); ctl != nil {
		return ctl
	}
	return err
}
