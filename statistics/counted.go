package statistics

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
)

// An Owner is a virtual server or service.
type Owner = netquorum.Key

// Counted says whose each address is that is to be counted.
type Counted map[netip.Addr]Owner

// CountedOf lists the addresses of all virtual servers and services. It is pure,
// and the same on every filer.
func CountedOf(c netquorum.Config) Counted {
	out := Counted{}
	for h := range c.Hosted() {
		for _, a := range h.Addresses {
			out[a.Prefix.Addr()] = h.Key
		}
	}
	return out
}

// A claim is what stands beside a counter in the kernel: whose it is, and since
// when it counts for them.
type claim struct {
	owner Owner
	since time.Time
}

// text is the claim as the comment of an element, for people too:
// "VirtualServer/vsvra 1763719200".
func (c claim) text() string { return c.owner.String() + " " + strconv.FormatInt(c.since.Unix(), 10) }

func parseClaim(text string) (claim, bool) {
	owner, at, ok := strings.Cut(text, " ")
	kind, name, slash := strings.Cut(owner, "/")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !ok || !slash || kind == "" || name == "" || err != nil {
		return claim{}, false
	}
	return claim{Owner{Kind: netquorum.Kind(kind), Name: name}, time.Unix(seconds, 0).UTC()}, true
}
