package behalf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netquorum/netquorum/api"
)

// A Source says that destinations are reached from an address.
type Source struct {
	To      netip.Prefix
	Address netip.Addr
	Link    string // the port that has the address; needed for Identity.Rules only
}

// An Identity is what a virtual server is on its host.
type Identity struct {
	Server    string
	VRF       string // the device of its routing domain; empty without one
	Addresses []netip.Addr
	Sources   []Source // the first that has the destination in it counts
}

// A Finder tells what a server is. *api.Client is one, by the daemon's local
// socket; a Given is one without a daemon.
type Finder interface {
	Presence(ctx context.Context, server string) (api.Presence, error)
}

// A Given is the identity of each server by its name, for programs that have
// them from elsewhere.
type Given map[string]api.Presence

// Presence implements Finder.
func (g Given) Presence(_ context.Context, server string) (api.Presence, error) {
	for name, p := range g {
		if strings.EqualFold(name, server) {
			return p, nil
		}
	}
	return api.Presence{}, api.Refuse(api.ErrElsewhere, fmt.Sprintf("nothing is known of %s here", server), nil)
}

// Find returns what a server is. With a nil Finder the daemon at the default
// socket is asked.
func Find(ctx context.Context, f Finder, server string) (Identity, error) {
	if f == nil {
		c := api.NewClient("")
		defer c.Close()
		f = c
	}
	p, err := f.Presence(ctx, server)
	if err != nil {
		return Identity{}, fmt.Errorf("speaking as %s: %w", server, err)
	}
	id := Identity{Server: p.Name, VRF: p.VRF}
	for _, a := range p.Addresses {
		id.Addresses = append(id.Addresses, a.Prefix.Addr())
	}
	for _, s := range p.Sources {
		id.Sources = append(id.Sources, Source(s))
	}
	return id, nil
}

// Only returns the identity with one of its addresses for everything, whatever
// its routes prefer.
func (id Identity) Only(a netip.Addr) (Identity, error) {
	if !slices.Contains(id.Addresses, a) {
		return id, &AddressError{id, fmt.Sprintf("%s is none of its addresses", a)}
	}
	link := ""
	for _, s := range id.Sources {
		if s.Address == a {
			link = s.Link
		}
	}
	id.Addresses = []netip.Addr{a}
	id.Sources = []Source{{netip.PrefixFrom(unspecified(a), 0), a, link}}
	return id, nil
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// SourceFor returns the address from which the server reaches a destination.
func (id Identity) SourceFor(to netip.Addr) (netip.Addr, error) {
	to = to.Unmap()
	for _, s := range id.Sources {
		if s.To.Contains(to.WithZone("")) {
			return s.Address, nil
		}
	}
	return netip.Addr{}, &AddressError{id, fmt.Sprintf("it has no route to %s", to)}
}

// An AddressError tells what a server cannot do with the addresses it has.
type AddressError struct {
	Identity Identity
	Reason   string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("speaking as %s: %s; it has %s", e.Identity.Server, e.Reason, e.Identity.list())
}

func (id Identity) list() string {
	if len(id.Addresses) == 0 {
		return "no address"
	}
	var text []string
	for _, a := range id.Addresses {
		text = append(text, a.String())
	}
	return strings.Join(text, ", ")
}
