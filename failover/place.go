package failover

import (
	"maps"
	"slices"

	"github.com/netquorum/netquorum"
)

// A Standing is what the leader knows of a filer's right to host.
type Standing int

const (
	// Doubtful: the filer is silent, but a lease that it was granted may still
	// run. Nothing may be taken from it yet and nothing is given to it.
	Doubtful Standing = iota
	// Live: the filer reported lately and holds a lease.
	Live
	// Gone: the filer is silent and every lease it may hold has ended, so it
	// answers for no virtual server any more.
	Gone
)

// A Filer is what placement needs to know about one filer.
type Filer struct {
	Standing Standing
	// Settled is the newest revision that the filer's kernel follows.
	Settled netquorum.Revision
	// Aliases are those that do not carry what they should; the others do.
	Aliases map[netquorum.InterfaceName]Health
	// Draining filers are left by what can be hosted elsewhere.
	Draining bool
}

// Equal reports whether two filers are the same to placement.
func (f Filer) Equal(o Filer) bool {
	return f.Standing == o.Standing && f.Settled == o.Settled && f.Draining == o.Draining && maps.Equal(f.Aliases, o.Aliases)
}

// Place returns the placements to change, in the order to commit them: what
// comes first in Config.Hosted (vs_mgmt) comes first here. Placements that no
// virtual server or service owns any more are returned in orphans.
//
// A server stays where it is while that filer is live and has every alias, and
// while its aliases there work or those of every other filer have failed too: a
// fault that all filers see is no reason to move, and a filer that recovered is
// no reason to come back. It leaves a live filer in two steps, so that two filers never answer for it at
// once: a placement without a filer that names the one being left, and, when
// that filer has followed it (or is gone), one that names the new host.
func Place(c netquorum.Config, filers map[string]Filer, w Wishes) (changes []netquorum.Document, orphans []netquorum.Key) {
	owned := map[string]bool{}
	for h := range c.Hosted() {
		owned[h.Key.Fold().Name] = true
		doc, exists := c.Get(netquorum.KindPlacement, h.Key.Name)
		var now netquorum.Placement
		if exists {
			now = *doc.Spec.(*netquorum.Placement)
		}
		candidates, aliases := w.candidates(c, h), h.Aliases()
		next := place(now, doc.Revision, candidates, aliases, filers)
		next = w.homeward(h.Key.Name, now, next, candidates, aliases, filers)
		if !exists || next != now {
			next.Epoch = now.Epoch + 1
			changes = append(changes, netquorum.Document{Kind: netquorum.KindPlacement, Name: h.Key.Name, Spec: &next})
		}
	}
	for d := range c.All(netquorum.KindPlacement) {
		if !owned[d.Key().Fold().Name] {
			orphans = append(orphans, d.Key())
		}
	}
	return changes, orphans
}

// place decides for one server; the epoch is the caller's.
func place(now netquorum.Placement, at netquorum.Revision, candidates []netquorum.Candidate, aliases []netquorum.InterfaceName, filers map[string]Filer) netquorum.Placement {
	eligible := func(name string) bool {
		return slices.ContainsFunc(candidates, func(c netquorum.Candidate) bool { return c.Filer == name && len(c.Missing) == 0 })
	}
	chosen, health, found := best(candidates, aliases, filers)
	if now.Filer != "" {
		switch filers[now.Filer].Standing {
		case Doubtful:
			return now
		case Live:
			lost := filers[now.Filer].health(aliases) >= Draining && found && health < Draining
			if eligible(now.Filer) && !lost {
				return now
			}
			return netquorum.Placement{Leaving: now.Filer, Epoch: now.Epoch}
		}
	}
	if now.Leaving != "" {
		f := filers[now.Leaving]
		if f.Standing != Gone && f.Settled < at {
			return now
		}
	}
	if found {
		return netquorum.Placement{Filer: chosen, Epoch: now.Epoch}
	}
	// Nobody can host it. A host that is gone is not named any longer, so that
	// it asks for nothing when it comes back before the leader has decided.
	return netquorum.Placement{Epoch: now.Epoch}
}
