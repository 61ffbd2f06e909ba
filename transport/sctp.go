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
	"time"

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
	before   []netip.Addr // what was bound before changed
	changed  time.Time
	why      error // why it takes none; nil when it does
}

var (
	errNoAddresses = errors.New("this filer has no mgmt addresses to take associations at")
	errAbsent      = errors.New("this filer's mgmt addresses are not in its kernel")
)

// rebind makes the port listen at this filer's addresses as they are now, as far
// as the kernel has them: with one that is missing the others are as good as
// before. It reports whether that changed anything. What fails is tried again at
// the next change or pass.
func (s *sctpPort) rebind() (changed bool) {
	e := s.endpoint
	if !e.cfg.SCTP {
		return false
	}
	var want []netip.Addr
	for _, p := range e.cfg.Addresses() {
		want = append(want, p.Addr().Unmap())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(want) == 0 {
		if s.listener == nil {
			s.why = errNoAddresses
		}
		return false
	}
	var have []netip.Addr
	err := e.cfg.Sockets(func() (err error) {
		if have, err = sctpio.Present(want...); err != nil {
			return err
		}
		switch {
		case len(have) == 0: // what is bound may come back, and nothing would be no better
			return errAbsent
		case s.listener != nil && slices.Equal(have, s.bound):
			return nil
		case s.listener != nil:
			return s.listener.SetAddrs(have...)
		}
		s.listener, err = sctpio.Listen(sctpio.Addr(addrPort(e.ln.Addr()).Port(), have...), sctpio.Control())
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
	case err == nil && slices.Equal(have, s.bound):
	case err == nil:
		if s.before = s.bound; s.before == nil {
			s.before = have
		}
		s.bound, s.changed, s.why = have, time.Now(), nil
		if len(have) < len(want) {
			e.log.Warn("associations do without addresses that this filer's kernel does not have", "have", have, "want", want)
		}
		return true
	case s.listener == nil:
		s.why = err
	case errors.Is(err, errAbsent): // found anew at each call that fails
		e.log.Debug("all addresses of the SCTP port have gone", "addresses", want)
	default:
		e.log.Warn("the SCTP port does not follow this filer's addresses yet", "addresses", want, "err", err)
	}
	return false
}

// callTakes is for how long an association that is accepted may have been under way.
const callTakes = time.Second

// calledAt says which addresses of this filer an association goes by that was
// accepted just now and has the given ones at this end: those that were bound when
// the peer called. The kernel may leave some out, by their scope; they would be
// left out again.
func (s *sctpPort) calledAt(local []netip.AddrPort) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	lacks := func(a netip.Addr) bool {
		return !slices.ContainsFunc(local, func(l netip.AddrPort) bool { return l.Addr() == a })
	}
	if time.Since(s.changed) < callTakes && slices.ContainsFunc(s.bound, lacks) {
		return s.before
	}
	return s.bound
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

// associations are the two paths to a filer by SCTP, from all the given addresses
// of this filer to all of the other's, or to those in networks of the former if
// there are such. There are none when either has none.
func associations(own []netip.Addr, ownNets []netip.Prefix, remotes []string) []path {
	ownNets = slices.DeleteFunc(slices.Clone(ownNets), func(p netip.Prefix) bool { return !slices.Contains(own, p.Addr().Unmap()) })
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
	local := sctpio.AddrPorts(c.sctp.LocalAddr())
	var out []PathStatus
	for i, info := range infos {
		s := PathStatus{Kind: kindSCTP, Remote: info.Remote.Addr().Unmap().String(), RTT: info.RTT, State: sctpStates[info.State], Since: c.since}
		for _, p := range pathsTo(own, []string{net.JoinHostPort(s.Remote, strconv.Itoa(int(info.Remote.Port())))}) {
			has := slices.ContainsFunc(local, func(l netip.AddrPort) bool { return l.Addr() == p.local.Unmap() })
			switch {
			case p.local.IsValid() && has:
				s.Local = p.local.String()
			case p.local.IsValid() && info.State != sctpio.Active: // otherwise the kernel has found another way
				s.Local, s.Failure = p.local.String(), lacksOwn
			}
		}
		if i == active {
			s.Classes = []string{link.Urgent.String(), link.Control.String(), link.Bulk.String()}
		}
		out = append(out, s)
	}
	return out
}

// Why an association does not have a path that there should be.
const (
	lacksOwn    = "the association was made without this filer's address"
	lacksRemote = "the association was made without the other filer's address"
)

// missingPaths are those that an association should have, of what is configured,
// and does not.
func missingPaths(own []netip.Prefix, remotes []string, have []PathStatus, bound []netip.Addr) []PathStatus {
	var all []netip.Addr
	for _, p := range own {
		all = append(all, p.Addr().Unmap())
	}
	should := associations(all, own, remotes)
	if len(should) == 0 {
		return nil
	}
	var out []PathStatus
	for _, p := range pathsTo(own, split(should[0].remote, func(s string) (string, error) { return s, nil })) {
		a, _ := host(p.remote)
		if slices.ContainsFunc(have, func(s PathStatus) bool { return s.Remote == a.String() }) {
			continue
		}
		s := PathStatus{Kind: kindSCTP, Remote: a.String(), State: string(link.Down), Failure: lacksRemote}
		if p.local.IsValid() {
			s.Local = p.local.String()
			if !slices.Contains(bound, p.local.Unmap()) {
				s.Failure = lacksOwn
			}
		}
		out = append(out, s)
	}
	return out
}

// sctpStates has the words for the kernel's states of paths.
var sctpStates = map[sctpio.PathState]string{
	sctpio.Active: string(link.Up), sctpio.Failing: string(link.Suspect), sctpio.Unreachable: string(link.Down), sctpio.Unconfirmed: PathDialling,
}
