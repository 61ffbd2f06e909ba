package failover

import (
	"slices"

	"github.com/netquorum/netquorum"
)

// Wishes are what decides where servers go beside the filers' own standing. The
// zero Wishes has none.
type Wishes struct {
	// Candidates lists the filers that may host a server now; Config.Candidates
	// when nil.
	Candidates func(netquorum.Hosted) []netquorum.Candidate
	// Home names the filer to which a server is to return as soon as it can; ""
	// for none.
	Home func(server string) string
}

func (w Wishes) candidates(c netquorum.Config, h netquorum.Hosted) []netquorum.Candidate {
	if w.Candidates == nil {
		return c.Candidates(h)
	}
	return w.Candidates(h)
}

// homeward turns a decision towards the server's home, if it can be there.
func (w Wishes) homeward(server string, now, next netquorum.Placement, candidates []netquorum.Candidate, aliases []netquorum.InterfaceName, filers map[string]Filer) netquorum.Placement {
	if w.Home == nil {
		return next
	}
	home := w.Home(server)
	if home == "" || next.Filer == "" || next.Filer == home {
		return next
	}
	f := filers[home]
	able := slices.ContainsFunc(candidates, func(c netquorum.Candidate) bool { return c.Filer == home && c.Eligible() })
	if !able || f.Standing != Live || f.health(aliases) >= Draining {
		return next
	}
	switch {
	case next != now: // it is nowhere
		next.Filer = home
	case filers[now.Filer].Standing == Live: // otherwise it may still be there
		next = netquorum.Placement{Leaving: now.Filer, Epoch: now.Epoch}
	}
	return next
}
