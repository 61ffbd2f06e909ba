package netapply

import (
	"strings"

	"github.com/netquorum/netquorum"
)

// PortOf returns the virtual server or service whose port the link is.
func (l ObservedLink) PortOf() (owner netquorum.Key, ok bool) {
	role, ours := strings.CutPrefix(l.Alias, labelPrefix+"port ")
	_, name, found := strings.Cut(role, " ")
	kind, name, slash := strings.Cut(name, "/")
	if !ours || !found || !slash {
		return netquorum.Key{}, false
	}
	return netquorum.Key{Kind: netquorum.Kind(kind), Name: name}, true
}
