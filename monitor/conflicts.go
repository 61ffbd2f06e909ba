package monitor

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/netquorum/netquorum"
)

// Conflicts are the MACs that were heard to claim addresses of this filer, and
// when last. A switch that moves, or a neighbour that comes back from a long
// sleep, may say so once: a conflict is believed from the second time on.
type conflicts map[claim]heardClaim

type claim struct {
	name    string // interface
	address netip.Addr
	mac     netquorum.MAC
}

type heardClaim struct {
	first, last time.Time
	times       int
}

const (
	// conflictMemory is how long a conflict is reported after it was last heard.
	conflictMemory = time.Minute
	// maxConflicts bounds what a neighbour can make us remember.
	maxConflicts = 64
	// believed is how often a claim must be heard.
	believed = 2
)

// hear takes what was heard, if it is about an address of ours and from a MAC
// that is not.
func (c conflicts) hear(at time.Time, h Heard, t *table) {
	if h.MAC.IsZero() || len(t.addresses[h.Address]) == 0 || t.mine(h.MAC) {
		return
	}
	k := claim{h.Interface, h.Address, h.MAC}
	old, known := c[k]
	if !known && len(c) >= maxConflicts {
		return
	}
	if !known {
		old.first = at
	}
	old.last, old.times = at, old.times+1
	c[k] = old
}

// duplicates are the conflicts that are believed, and what the kernel's own
// detection found (IPv6).
func (l *look) duplicates() []Finding {
	maps.DeleteFunc(l.wire, func(k claim, h heardClaim) bool {
		return l.at.Sub(h.last) > conflictMemory || len(l.kernel.addresses[k.address]) == 0
	})
	var out []Finding
	const advice = "find the machine with that MAC in the switch's table and give it another address"
	for k, h := range l.wire {
		if h.times < believed {
			continue
		}
		l.again(h.last.Add(conflictMemory + 1))
		out = append(out, Finding{k.name, DuplicateAddress, fmt.Sprintf("%s says that it has %s, which is an address of this filer", k.mac, k.address), advice})
	}
	for _, list := range l.kernel.addresses {
		for _, a := range list {
			if link, ok := l.kernel.links[a.Index]; ok && a.Duplicate {
				out = append(out, Finding{link.Name, DuplicateAddress,
					fmt.Sprintf("another machine has %s: duplicate address detection failed, and the kernel does not use it", a.Prefix.Addr()),
					"find the machine that has the address and give it another; then delete and add the address here"})
			}
		}
	}
	return out
}
