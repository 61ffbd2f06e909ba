package netapply

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"
)

// WatchOverflowing is Watch with next to no buffer, which is not read before
// flood returns.
func WatchOverflowing(ctx context.Context, log *slog.Logger, flood func()) <-chan struct{} {
	w := watcher{ctx: ctx, log: log, raw: make(chan struct{}, 1), out: make(chan struct{}, 1),
		protocol: unix.NETLINK_ROUTE, groups: watchGroups}
	s := w.subscribe(1)
	flood()
	go func() {
		w.read(s)
		close(w.raw)
	}()
	go w.forward()
	return w.out
}

// RawApply makes links with our marks, addresses, routes and rules with a
// netlink socket and batched sends, and nothing else: it does not look at what
// is there before or after, and makes no settings. The indexes of the links it
// takes from one list.
func RawApply(d Desired) error {
	c, err := openChanger()
	if err != nil {
		return err
	}
	defer c.close()
	q, err := openAsker()
	if err != nil {
		return err
	}
	defer q.close()
	index := map[string]int{}
	learn := func() error {
		return q.ask(unix.RTM_GETLINK, unix.NLM_F_DUMP, linkHeader(0, 0, 0), func(b []byte) error {
			l, err := decodeLink(b)
			index[l.name] = l.index
			return err
		})
	}
	if err := learn(); err != nil {
		return err
	}
	exclusive := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	var links, marks, rest []change
	for _, l := range d.Links {
		if l.Kind == Physical {
			links = append(links, change{unix.RTM_SETLINK, 0, linkHeader(index[l.Name], unix.IFF_UP, unix.IFF_UP), nil})
			continue
		}
		m := linkHeader(0, 0, 0)
		m.text(unix.IFLA_IFNAME, l.Name)
		m.u32(unix.IFLA_GROUP, Group)
		m.u32(unix.IFLA_LINK, uint32(index[l.Parent]))
		m.bytes(unix.IFLA_ADDRESS, l.MAC[:])
		m.nest(unix.IFLA_LINKINFO, func() {
			m.text(unix.IFLA_INFO_KIND, string(l.Kind))
			m.nest(unix.IFLA_INFO_DATA, func() { _ = encodeOptions(m, l.Kind, l.Options, nil) })
		})
		links = append(links, change{unix.RTM_NEWLINK, exclusive, m, nil})
	}
	errs := rawExchange(c.fd, links)
	if err := learn(); err != nil {
		return err
	}
	for _, l := range d.Links[1:] {
		m := linkHeader(index[l.Name], unix.IFF_UP, unix.IFF_UP)
		m.bytes(unix.IFLA_IFALIAS, []byte(label(l.Role)))
		marks = append(marks, change{unix.RTM_SETLINK, 0, m, nil})
	}
	errs = append(errs, rawExchange(c.fd, marks)...)
	for _, a := range d.Addresses {
		m := addressMessage(a.Prefix, index[a.Link])
		m.u32(unix.IFA_FLAGS, unix.IFA_F_NOPREFIXROUTE)
		m.u8(attrAddrProto, Protocol)
		rest = append(rest, change{unix.RTM_NEWADDR, exclusive, m, nil})
	}
	for _, r := range d.Routes {
		scope := uint8(unix.RT_SCOPE_UNIVERSE)
		if !r.Via.IsValid() {
			scope = unix.RT_SCOPE_LINK
		}
		rest = append(rest, change{unix.RTM_NEWROUTE, exclusive, routeMessage(r, scope, index[r.Link]), nil})
	}
	for _, r := range d.Rules {
		rest = append(rest, change{unix.RTM_NEWRULE, exclusive, ruleMessage(r), nil})
	}
	return errors.Join(append(errs, rawExchange(c.fd, rest)...)...)
}

// rawExchange sends changes in batches as one would by hand: each is acknowledged.
func rawExchange(fd int, list []change) (errs []error) {
	var b []byte
	reply := make([]byte, 16<<10)
	for batch := range slices.Chunk(list, maxBatch) {
		b = b[:0]
		for i, x := range batch {
			x.flags |= unix.NLM_F_ACK
			b = appendRequest(b, x, uint32(i+1))
		}
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return append(errs, err)
		}
		for left := len(batch); left > 0; {
			n, err := unix.Read(fd, reply)
			if err != nil {
				return append(errs, err)
			}
			for _, err := range answers(reply[:n]) {
				errs = append(errs, err)
				left--
			}
		}
	}
	return errs
}
