package failover

import "github.com/netquorum/netquorum"

// Health is how well an alias of a filer carries what it should (N28).
type Health int

// From best to worst. What nobody speaks of is sound: a filer without a monitor
// hosts as any other.
const (
	Sound Health = iota
	// Recovering: the link is good again, or does not carry traffic yet. It is
	// good enough to stay, and worse than a sound one to go to.
	Recovering
	// Draining: the filer is about to take its links down.
	Draining
	// Failed: no signal, or nobody answers.
	Failed
)

// health is that of the worst of the aliases that a server needs: it must be
// reached through all of them.
func (f Filer) health(aliases []netquorum.InterfaceName) Health {
	worst := Sound
	if f.Draining {
		worst = Draining
	}
	for _, a := range aliases {
		worst = max(worst, f.Aliases[a])
	}
	return worst
}

// best chooses among the candidates that may be given a server the first of the
// soundest ones.
func best(candidates []netquorum.Candidate, aliases []netquorum.InterfaceName, filers map[string]Filer) (name string, h Health, ok bool) {
	for _, c := range candidates {
		f := filers[c.Filer]
		if !c.Eligible() || f.Standing != Live {
			continue
		}
		if now := f.health(aliases); !ok || now < h {
			name, h, ok = c.Filer, now, true
		}
	}
	return name, h, ok
}
