package netapply

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// watchGroups are the multicast groups of the kernel's that Watch listens to.
var watchGroups = []uint{
	unix.RTNLGRP_LINK,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE,
	unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF, // forwarding, rp_filter and the like
}

const (
	// settle is how long a wake-up waits for more events: one change of a bond
	// makes dozens.
	settle = 10 * time.Millisecond
	// What the kernel holds for us while we do not read; doubled when it was
	// not enough.
	watchBuffer, maxWatchBuffer = 1 << 20, 64 << 20
	// How long to wait before subscribing again.
	minResubscribe, maxResubscribe = 10 * time.Millisecond, 5 * time.Second
)

// Watch sends on the channel soon after links, addresses, routes, rules or our
// packet filter changed in the kernel, whoever changed them; many changes make one wake-up. An
// event is only a hint to look at the whole state: when events were lost there
// is a wake-up, too. The subscription exists when Watch returns, so that what
// is listed afterwards is not missed. The channel is closed when the context
// ends.
func Watch(ctx context.Context, log *slog.Logger) <-chan struct{} {
	w := watcher{ctx: ctx, log: log, raw: make(chan struct{}, 1), out: make(chan struct{}, 1),
		protocol: unix.NETLINK_ROUTE, groups: watchGroups}
	filter := w
	filter.protocol, filter.groups, filter.matters = unix.NETLINK_NETFILTER, []uint{unix.NFNLGRP_NFTABLES}, aboutAccess
	var readers sync.WaitGroup
	s := w.subscribe(watchBuffer)
	readers.Go(func() { w.read(s) })
	if hasNftables() {
		s := filter.subscribe(watchBuffer)
		readers.Go(func() { filter.read(s) })
	}
	go func() {
		readers.Wait()
		close(w.raw)
	}()
	go w.forward()
	return w.out
}

type watcher struct {
	ctx context.Context
	log *slog.Logger
	raw chan struct{} // from the readers
	out chan struct{} // to the caller

	protocol int
	groups   []uint
	matters  func(syscall.NetlinkMessage) bool // nil: every message does
}

// subscribe returns nil when it fails.
func (w watcher) subscribe(buffer int) *nl.NetlinkSocket {
	s, err := nl.Subscribe(w.protocol, w.groups...)
	if err != nil {
		w.warn("cannot watch the kernel's network state", err)
		return nil
	}
	if s.SetReceiveBufferSize(buffer, true) != nil {
		_ = s.SetReceiveBufferSize(buffer, false) // without CAP_NET_ADMIN, as far as allowed
	}
	return s
}

// read turns messages into wake-ups until the context ends. The kernel reports
// a message that it had to drop by an error; then, as after any other error, it
// subscribes anew and wakes the caller, who lists everything again.
func (w watcher) read(s *nl.NetlinkSocket) {
	buffer, pause := watchBuffer, minResubscribe
	for {
		if s != nil {
			if w.receive(s) {
				pause = minResubscribe
			}
			buffer = min(2*buffer, maxWatchBuffer)
		}
		select {
		case <-w.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxResubscribe)
		s = w.subscribe(buffer)
		wake(w.raw)
	}
}

// receive reads one subscription until it fails, and reports whether it ever
// worked.
func (w watcher) receive(s *nl.NetlinkSocket) (worked bool) {
	stop := context.AfterFunc(w.ctx, s.Close)
	defer func() {
		if stop() {
			s.Close()
		}
	}()
	for {
		list, _, err := s.Receive()
		if err != nil {
			if w.ctx.Err() == nil {
				w.warn("lost events of the kernel's network state, looking at all of it again", err)
			}
			return worked
		}
		worked = true
		if w.matters == nil || slices.ContainsFunc(list, w.matters) {
			wake(w.raw)
		}
	}
}

// forward joins wake-ups that come close together.
func (w watcher) forward() {
	defer close(w.out)
	for range w.raw {
		select {
		case <-w.ctx.Done():
			continue // until the reader has ended
		case <-time.After(settle):
		}
		wake(w.out)
	}
}

// wake leaves one wake-up in a channel that holds one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w watcher) warn(msg string, err error) {
	if w.log != nil {
		w.log.Warn(msg, "error", err)
	}
}
