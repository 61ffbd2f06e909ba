package monitor

import (
	"maps"
	"net/netip"
	"time"

	"github.com/netquorum/netquorum"
)

// A targetKey is what tells answers apart.
type targetKey struct {
	name    string
	address netip.Addr
}

func (t Target) key() targetKey { return targetKey{t.Interface, t.Address} }

// A question is how far asking one target has come.
type question struct {
	First    time.Time // asked
	Answered time.Time // last; zero for never
}

// asked are the questions under way.
type asked map[targetKey]question

// ask notes that targets are asked now.
func (a asked) ask(at time.Time, list []Ask) {
	for _, t := range list {
		q := a[t.key()]
		if q.First.IsZero() {
			q.First = at
			a[t.key()] = q
		}
	}
}

// answer notes an answer, if it was asked for.
func (a asked) answer(at time.Time, k targetKey) {
	if q, ok := a[k]; ok {
		q.Answered = at
		a[k] = q
	}
}

// only forgets what is not asked any more.
func (a asked) only(targets []Target) {
	keep := map[targetKey]bool{}
	for _, t := range targets {
		keep[t.key()] = true
	}
	maps.DeleteFunc(a, func(k targetKey, _ question) bool { return !keep[k] })
}

// An Ask is a target with what is needed to ask it now.
type Ask struct {
	Target
	Index     int
	MAC       netquorum.MAC
	LinkLocal netip.Addr // of the interface; invalid without IPv6
}

// A Heard is what came in from a link: a MAC that says it has an address, or an
// answer to ICMP, which names no MAC.
type Heard struct {
	Interface string
	Address   netip.Addr
	MAC       netquorum.MAC
	// Answer says that it was sent to us; otherwise it was overheard.
	Answer bool
}

// asks returns the targets that can be asked now: those on aliases whose links
// work.
func (p Plan) asks(t *table, works map[string]time.Time) []Ask {
	var out []Ask
	for _, x := range p.Targets {
		l, ok := t.named(x.Interface)
		if _, working := works[x.Interface]; !ok || !working {
			continue
		}
		a := Ask{Target: x, Index: l.Index, MAC: l.MAC}
		if x.Address.Is6() {
			a.LinkLocal = t.linkLocal(l.Index)
		}
		// The target is an address of this filer itself when a server is hosted
		// here; it would answer itself.
		if len(t.addresses[x.Address]) > 0 || !a.possible() {
			continue
		}
		out = append(out, a)
	}
	return out
}

// possible reports whether there is an address to ask from.
func (a Ask) possible() bool {
	switch {
	case !a.OnLink:
		return a.Source.IsValid()
	case a.Address.Is6():
		return a.LinkLocal.IsValid()
	}
	return true // ARP can ask from nowhere (RFC 5227)
}

func (t *table) linkLocal(index int) netip.Addr {
	for a, list := range t.addresses {
		if !a.Is6() || !a.IsLinkLocalUnicast() {
			continue
		}
		for _, on := range list {
			if on.Index == index && !on.Tentative && !on.Duplicate {
				return a
			}
		}
	}
	return netip.Addr{}
}
