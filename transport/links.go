package transport

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport/link"
)

// A LinkStatus is how the link to one filer does.
type LinkStatus struct {
	Filer netquorum.FilerID
	Name  string    // from its certificate; empty until it was reached
	Up    bool      // there is a link, and a path of it works
	Since time.Time // when the link was made; zero when there is none
	// Kind is what carries it, tcp or sctp; Reason why not the latter.
	Kind, Reason string
	// Estranged says that the filer showed a certificate of this cluster that an
	// authority unknown here has issued, when it was called last: see PeerError.Ours.
	Estranged bool
	// Paths are those that the link has or should have, the best first.
	Paths []PathStatus
	link.Status
}

// A PathStatus is how one path does.
type PathStatus struct {
	Kind     string // tcp, sctp
	Local    string // addresses without ports; empty when nobody knows yet
	Remote   string
	Dialled  string // host:port, of one that this filer dialled
	State    string // a link.State, or "dialling" of one that has no carrier
	Since    time.Time
	RTT      time.Duration
	Classes  []string // whose data goes there
	Sent     uint64
	Received uint64
	Failure  string // why it has no carrier
}

// PathDialling is the state of a path that has no carrier: it is dialled, again
// and again.
const PathDialling = "dialling"

// Links says how the links to all filers do that this one talks to, or tried to.
func (e *Endpoint) Links() []LinkStatus {
	var out []LinkStatus
	for _, k := range e.allKeepers() {
		out = append(out, k.status(e.paths(k.id)))
	}
	slices.SortFunc(out, func(a, b LinkStatus) int { return cmp.Compare(a.Filer, b.Filer) })
	return out
}

func (k *keeper) status(wanted []path) LinkStatus {
	e := k.endpoint
	bound, why := e.sctp.addresses()
	k.mu.Lock()
	defer k.mu.Unlock()
	out := LinkStatus{Filer: k.id, Name: k.peer.name}
	var v view
	if l := k.usable(); l != nil {
		v = k.look(l, time.Now())
		out.Status, out.Since, out.Up = l.Status(), k.since, v.alive()
		out.Kind, out.Reason = k.kind(v, why)
	}
	for _, err := range k.failures {
		peer := new(PeerError)
		out.Estranged = out.Estranged || !out.Up && errors.As(err, &peer) && peer.Ours
	}
	of := map[link.Path]link.CarrierStatus{}
	for _, c := range out.Status.Carriers {
		of[c.Path] = c
	}
	for i, h := range v.have {
		c := of[k.carriers[i].path]
		s := PathStatus{
			Kind: c.Path.Kind, Local: h.local.String(), Remote: h.remote.String(), Dialled: h.path.remote,
			State: string(c.State), Since: c.Since, RTT: c.RTT, Classes: c.Classes, Sent: c.Sent, Received: c.Received,
		}
		switch {
		case !h.sctp:
			out.Paths = append(out.Paths, s)
		case !h.bulk:
			list := k.carriers[i].kernelPaths(e.cfg.Addresses())
			if len(list) > 0 { // the kernel counts for all paths together
				list[0].Sent, list[0].Received = s.Sent, s.Received
			}
			out.Paths = append(out.Paths, list...)
		}
	}
	if out.Kind == kindSCTP {
		out.Paths = append(out.Paths, missingPaths(e.cfg.Addresses(), e.cfg.Resolver.Endpoints(k.id), out.Paths, bound)...)
		wanted = nil
	}
	for _, p := range wanted {
		if !slices.ContainsFunc(v.have, func(h held) bool { return h.on(p) }) {
			out.Paths = append(out.Paths, k.dialling(p))
		}
	}
	slices.SortStableFunc(out.Paths, func(a, b PathStatus) int {
		return cmp.Compare(place(wanted, a), place(wanted, b))
	})
	return out
}

// kind is what carries the link, and why that is not SCTP. The caller holds the
// lock.
func (k *keeper) kind(v view, why error) (kind, reason string) {
	switch {
	case v.associated():
		return kindSCTP, ""
	case !k.endpoint.cfg.SCTP:
		return kindTCP, ""
	case why != nil:
		return kindTCP, why.Error()
	case !k.both:
		return kindTCP, "the other filer takes no SCTP"
	}
	for p, err := range k.failures {
		if p.sctp {
			return kindTCP, "no association: " + plain(err)
		}
	}
	return kindTCP, "no association yet"
}

// dialling is the status of a path without a carrier. The caller holds the lock.
func (k *keeper) dialling(p path) PathStatus {
	s := PathStatus{Kind: kindTCP, Dialled: p.remote, State: PathDialling}
	s.Remote, _, _ = net.SplitHostPort(p.remote)
	if p.local.IsValid() {
		s.Local = p.local.String()
	}
	if err := k.failures[p]; err != nil {
		s.Failure = plain(err)
	}
	return s
}

// place is where a path is in the configuration's order.
func place(wanted []path, s PathStatus) int {
	for i, p := range wanted {
		if a, ok := host(p.remote); p.remote == s.Dialled || ok && a.String() == s.Remote {
			return i
		}
	}
	return len(wanted)
}

// plain is an error without the addresses, which stand beside it.
func plain(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	return err.Error()
}
