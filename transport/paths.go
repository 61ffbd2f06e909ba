package transport

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// A path is how one carrier to another filer may go: from one of this filer's
// addresses to one of the other's. There is one carrier for each path.
type path struct {
	local  netip.Addr // invalid: the kernel chooses
	remote string     // host:port
	// An association has all addresses of both filers, separated by commas: from
	// and remote. bulk tells the one for bulk data from the other.
	sctp, bulk bool
	from       string
}

// maxPaths bounds how many connections one peer may cost, whatever the
// configuration says. More networks than this do not make a filer safer.
const maxPaths = 8

// pathsTo chooses, for each address of the other filer, from which of this filer's
// own it is dialled: from one in the same network, so that the connection uses
// the card of that network even where routes say otherwise; elsewhere the kernel
// knows best. The most specific network wins, then the one that comes first.
func pathsTo(own []netip.Prefix, remotes []string) []path {
	var out []path
	for _, remote := range remotes {
		p := path{remote: WithPort(remote)}
		if slices.ContainsFunc(out, func(o path) bool { return o.remote == p.remote }) {
			continue
		}
		if len(out) == maxPaths {
			break
		}
		best := -1
		for _, o := range own {
			if a, ok := host(p.remote); ok && o.Contains(a) && o.Bits() > best {
				p.local, best = o.Addr(), o.Bits()
			}
		}
		out = append(out, p)
	}
	return out
}

// host is the address in an endpoint; false for a name and for an address with
// a zone, which says its interface itself.
func host(endpoint string) (netip.Addr, bool) {
	name, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(name)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// backOff is how long a path rests after so many failures in a row: soon again at
// first, since most faults are short, and never longer than an operator who has
// put the cable back would wait. The random part, at most half, keeps filers that
// lost each other at one instant from calling each other at one instant; draw is
// a number from 0 to 1.
func backOff(failures int, draw float64) time.Duration {
	const first, longest = 100 * time.Millisecond, 2 * time.Second
	d := longest
	if failures < 5 {
		d = min(first<<max(failures-1, 0), longest)
	}
	return d - time.Duration(draw*float64(d)/2)
}
