package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/sctpio"
)

// kindSCTP is the kind of carriers that are TLS over an SCTP association. It has
// all addresses of both filers, and its kernel chooses among them; there is one
// for bulk data beside the other, because streams of one association get in each
// other's way.
const kindSCTP = "sctp"

// An sctpPort is where this filer takes associations: at its own addresses, never
// at all that the kernel has, since a peer is told of each. It has the number of
// the TCP port.
type sctpPort struct {
	endpoint *Endpoint

	mu       sync.Mutex
	listener *sctpio.Listener
	bound    []netip.Addr
	why      error // why it takes none; nil when it does
}

var errNoAddresses = errors.New("this filer has no mgmt addresses to take associations at")

// rebind makes the port listen at this filer's addresses as they are now. What
// fails is tried again at the next change or pass.
func (s *sctpPort) rebind() {
	e := s.endpoint
	if !e.cfg.SCTP {
		return
	}
	var want []netip.Addr
	for _, p := range e.cfg.Addresses() {
		want = append(want, p.Addr().Unmap())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil && slices.Equal(want, s.bound) {
		return
	}
	if len(want) == 0 {
		if s.listener == nil {
			s.why = errNoAddresses
		}
		return
	}
	err := e.cfg.Sockets(func() (err error) {
		if s.listener != nil {
			return s.listener.SetAddrs(want...)
		}
		if err = sctpio.Supported(); err != nil {
			return err
		}
		s.listener, err = sctpio.Listen(sctpio.Addr(addrPort(e.ln.Addr()).Port(), want...), sctpio.Control())
		if err != nil {
			return err
		}
		if l := s.listener; !e.start(func() { e.accept(l) }) {
			l.Close()
			return errClosed
		}
		return nil
	})
	switch {
	case err == nil:
		s.bound, s.why = want, nil
	case s.listener == nil:
		s.why = err
	default:
		e.log.Warn("the SCTP port does not follow this filer's addresses yet", "addresses", want, "err", err)
	}
}

// addresses are those that the port listens at, or why there are none.
func (s *sctpPort) addresses() ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil, s.why
	}
	return s.bound, nil
}

func (s *sctpPort) open() bool {
	a, _ := s.addresses()
	return len(a) > 0
}

func (s *sctpPort) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.Close()
	}
}

// associations are the two paths to a filer by SCTP, from all of this filer's
// addresses to all of the other's. There are none when either has none.
func associations(own []netip.Addr, ownNets []netip.Prefix, remotes []string) []path {
	var to, near []netip.AddrPort
	for _, r := range remotes {
		a, err := netip.ParseAddrPort(WithPort(r))
		if err != nil || a.Addr().Zone() != "" || len(to) > 0 && a.Port() != to[0].Port() {
			continue
		}
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		to = append(to, a)
		if slices.ContainsFunc(ownNets, func(p netip.Prefix) bool { return p.Contains(a.Addr()) }) {
			near = append(near, a)
		}
	}
	if len(near) > 0 {
		to = near
	}
	if len(own) == 0 || len(to) == 0 {
		return nil
	}
	p := path{sctp: true, from: joined(own), remote: joined(to[:min(len(to), maxPaths)])}
	bulk := p
	bulk.bulk = true
	return []path{p, bulk}
}

// joined is a list as text, which makes it part of a path.
func joined[T fmt.Stringer](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = v.String()
	}
	return strings.Join(parts, ",")
}

// split is the opposite of joined, for what associations made.
func split[T any](text string, parse func(string) (T, error)) []T {
	var out []T
	for part := range strings.SplitSeq(text, ",") {
		if v, err := parse(part); err == nil {
			out = append(out, v)
		}
	}
	return out
}

// dialSCTP makes an association.
func dialSCTP(ctx context.Context, p path) (net.Conn, error) {
	to := split(p.remote, netip.ParseAddrPort)
	var ips []netip.Addr
	for _, a := range to {
		ips = append(ips, a.Addr())
	}
	o := sctpio.Control()
	if p.bulk {
		o = sctpio.Bulk()
		// The first address is preferred: with another one than control has, a path
		// that is cut leaves one of the two undisturbed.
		slices.Reverse(ips)
	}
	c, err := sctpio.Dial(ctx, sctpio.Addr(0, split(p.from, netip.ParseAddr)...), sctpio.Addr(to[0].Port(), ips...), o)
	if err != nil {
		return nil, err // not a nil *Conn in a net.Conn
	}
	return c, nil
}

// associationsTo are the paths by SCTP to a filer that can it too.
func (e *Endpoint) associationsTo(id netquorum.FilerID) []path {
	own, err := e.sctp.addresses()
	if err != nil {
		return nil
	}
	return associations(own, e.cfg.Addresses(), e.cfg.Resolver.Endpoints(id))
}

// kernelPaths are the paths of an association as its kernel sees them.
func (c *carrier) kernelPaths(own []netip.Prefix) []PathStatus {
	infos, err := c.sctp.Paths()
	if err != nil {
		return nil
	}
	active := slices.IndexFunc(infos, func(i sctpio.PathInfo) bool { return i.Primary && i.State == sctpio.Active })
	if active < 0 {
		active = slices.IndexFunc(infos, func(i sctpio.PathInfo) bool { return i.State == sctpio.Active })
	}
	var out []PathStatus
	for i, info := range infos {
		s := PathStatus{Kind: kindSCTP, Remote: info.Remote.Addr().Unmap().String(), RTT: info.RTT, State: sctpStates[info.State], Since: c.since}
		for _, p := range pathsTo(own, []string{net.JoinHostPort(s.Remote, strconv.Itoa(int(info.Remote.Port())))}) {
			if p.local.IsValid() {
				s.Local = p.local.String()
			}
		}
		if i == active {
			s.Classes = []string{link.Urgent.String(), link.Control.String(), link.Bulk.String()}
		}
		out = append(out, s)
	}
	return out
}

// sctpStates has the words for the kernel's states of paths.
var sctpStates = map[sctpio.PathState]string{
	sctpio.Active: string(link.Up), sctpio.Failing: string(link.Suspect), sctpio.Unreachable: string(link.Down), sctpio.Unconfirmed: PathDialling,
}
