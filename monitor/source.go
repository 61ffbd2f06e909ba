package monitor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

// A Source shows what the kernel has.
type Source interface {
	// Watch sends everything, as a reset, and then every change, until the
	// context ends or changes were lost; then it returns why, and is called
	// again.
	Watch(ctx context.Context, send func(Update)) error
	// Detail is what is told of one bond outside netlink.
	Detail(bond string) (Detail, error)
}

// Netlink is the kernel of the network namespace of the thread that watches.
type Netlink struct {
	buffer int // of the subscription; grows when it was not enough
}

var _ Source = (*Netlink)(nil)

const (
	firstBuffer, maxBuffer = 1 << 20, 64 << 20
	// poll is how often cards and bonds are asked for. The kernel tells of a
	// card's second loss of signal within a second only when that second is
	// over (net/core/link_watch.c), and of most of LACP not at all.
	poll = 200 * time.Millisecond
	// relist is how often everything is listed again, in case it was not told.
	relist = 30 * time.Second

	extSkipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
)

var groups = []uint32{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
}

// Watch implements Source. It subscribes first and lists second, so that nothing
// falls between. Changes that the list has already may be told once more; what
// is told last is the truth.
func (n *Netlink) Watch(ctx context.Context, send func(Update)) error {
	events, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("cannot watch the kernel's links: %w", err)
	}
	defer events.Close()
	n.buffer = min(max(2*n.buffer, firstBuffer), maxBuffer)
	if forceBuffer(events, n.buffer) != nil {
		_ = events.SetReadBuffer(n.buffer) // without CAP_NET_ADMIN, as far as allowed
	}
	for _, g := range groups {
		if err := events.JoinGroup(g); err != nil {
			return fmt.Errorf("cannot watch the kernel's links: %w", err)
		}
	}
	ask, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
	if err != nil {
		ask, err = netlink.Dial(unix.NETLINK_ROUTE, nil) // before Linux 4.20
	}
	if err != nil {
		return fmt.Errorf("cannot ask for the kernel's links: %w", err)
	}
	defer ask.Close()
	defer context.AfterFunc(ctx, func() { events.SetReadDeadline(time.Unix(1, 0)); ask.Close() })()
	w := watcher{ctx: ctx, events: events, ask: ask, send: send, polled: map[int]bool{}}
	err = w.run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func forceBuffer(c *netlink.Conn, bytes int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) })
	return errors.Join(err, set)
}

// A watcher is one subscription.
type watcher struct {
	ctx         context.Context
	events, ask *netlink.Conn
	send        func(Update)
	polled      map[int]bool // links that are asked for: cards and bonds
}

func (w *watcher) run() error {
	if err := w.list(); err != nil {
		return err
	}
	now := time.Now()
	lastPoll, lastList := now, now
	for {
		// Polls happen in the quiet between events: what is asked for is newer
		// than all that was told.
		w.events.SetReadDeadline(lastPoll.Add(poll))
		if w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		messages, err := w.events.Receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if now = time.Now(); now.Sub(lastList) >= relist {
				err = w.list()
				lastList = now
			} else {
				err = w.poll()
			}
			lastPoll = time.Now()
			if err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("lost changes of the kernel's links: %w", err)
		default:
			w.tell(messages)
			if time.Since(lastPoll) > 2*poll {
				lastPoll = time.Now().Add(-poll + poll/8) // a poll as soon as it is quiet
			}
		}
	}
}

// tell sends what messages say. A message that makes no sense is left out: it
// is of a kind that this version does not know, and the next list has the link.
func (w *watcher) tell(messages []netlink.Message) {
	var u Update
	for _, m := range messages {
		changes, err := decodeAll(uint16(m.Header.Type), m.Data)
		if err != nil {
			continue
		}
		for _, c := range changes {
			w.note(c)
		}
		u.Changes = append(u.Changes, changes...)
	}
	if len(u.Changes) > 0 {
		w.send(u)
	}
}

// note remembers which links to poll.
func (w *watcher) note(c Change) {
	switch {
	case c.Link == nil:
	case c.Gone:
		delete(w.polled, c.Link.Index)
	case c.Link.Kind == "bond" || netquorum.InterfaceName(c.Link.Name).Layer() == netquorum.LayerPhysical || c.Link.Port != nil:
		w.polled[c.Link.Index] = true
	}
}

// poll asks for the polled links, one by one: there are few, and of all links
// there may be thousands.
func (w *watcher) poll() error {
	var u Update
	for index := range w.polled {
		messages, err := w.request(unix.RTM_GETLINK, 0, linkRequest(index))
		if errors.Is(err, unix.ENODEV) {
			delete(w.polled, index) // the message that it is gone is on its way
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot ask for a link: %w", err)
		}
		for _, m := range messages {
			if changes, err := decodeAll(uint16(m.Header.Type), m.Data); err == nil {
				u.Changes = append(u.Changes, changes...)
			}
		}
	}
	if len(u.Changes) > 0 {
		w.send(u)
	}
	return nil
}

// list sends everything.
func (w *watcher) list() error {
	u := Update{Reset: true}
	route := func(family byte) []byte { return append([]byte{family}, make([]byte, unix.SizeofRtMsg-1)...) }
	for _, q := range []struct {
		what uint16
		body []byte
	}{
		{unix.RTM_GETLINK, linkRequest(0)},
		{unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg)},
		{unix.RTM_GETROUTE, route(unix.AF_INET)},
		{unix.RTM_GETROUTE, route(unix.AF_INET6)},
	} {
		messages, err := w.dump(q.what, q.body)
		if err != nil {
			return fmt.Errorf("cannot list the kernel's links, addresses and routes: %w", err)
		}
		for _, m := range messages {
			if changes, err := decodeAll(uint16(m.Header.Type), m.Data); err == nil {
				u.Changes = append(u.Changes, changes...)
			}
		}
	}
	clear(w.polled)
	for _, c := range u.Changes {
		w.note(c)
	}
	w.send(u)
	return nil
}

// dumpTries bounds how often a list is asked for that changes while the kernel
// writes it. What is still torn then is mended by the messages about it.
const dumpTries = 5

func (w *watcher) dump(what uint16, body []byte) ([]netlink.Message, error) {
	for try := 1; ; try++ {
		messages, err := w.request(what, netlink.Dump, body)
		if err != nil {
			return nil, err
		}
		torn := false
		for _, m := range messages {
			torn = torn || m.Header.Flags&netlink.DumpInterrupted != 0
		}
		if !torn || try == dumpTries {
			return messages, nil
		}
	}
}

func (w *watcher) request(what uint16, flags netlink.HeaderFlags, body []byte) ([]netlink.Message, error) {
	return w.ask.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(what), Flags: netlink.Request | flags}, Data: body,
	})
}

// linkRequest asks for one link, or for all with index 0, without counters.
func linkRequest(index int) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, extSkipStats)
	attrs, err := ae.Encode()
	if err != nil {
		panic("monitor: an attribute of four bytes cannot be encoded: " + err.Error())
	}
	return append(b, attrs...)
}

// Detail implements Source. /proc/net shows the namespace of the thread that
// looks: a program that changes namespaces must call from the right one.
func (*Netlink) Detail(bond string) (Detail, error) {
	if strings.ContainsRune(bond, '/') {
		return nil, fmt.Errorf("%q is no bond", bond)
	}
	text, err := os.ReadFile(filepath.Join("/proc/thread-self/net/bonding", bond))
	if err != nil {
		return nil, err
	}
	return parseBonding(string(text)), nil
}
