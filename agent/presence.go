package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
)

// Presence implements api.Backend. It answers from what the kernel follows, with
// or without a quorum.
func (b backend) Presence(_ context.Context, server string) (api.Presence, error) {
	g, ok := b.follower.current()
	if !ok {
		_, err := b.running()
		return api.Presence{}, err
	}
	key, err := findServer(g.config, server)
	if err != nil {
		return api.Presence{}, err
	}
	if o, _ := b.follower.Outcome(); !slices.Contains(o.hosting, key.Name) {
		placed, _ := g.config.Placement(key.Name)
		return api.Presence{}, elsewhere(key.Name, g.filer, placed.Filer)
	}
	p, ok := netapply.PresenceOf(g.config, g.filer, key)
	if !ok {
		return api.Presence{}, api.Refuse(api.ErrElsewhere, fmt.Sprintf("%s is hosted here, but %s has none of its aliases", key.Name, g.filer), nil)
	}
	out := api.Presence{Kind: key.Kind, Name: key.Name, Filer: g.filer, VRF: p.VRF}
	for _, a := range p.Addresses {
		out.Addresses = append(out.Addresses, api.PresenceAddress(a))
	}
	for _, s := range p.Sources {
		out.Sources = append(out.Sources, api.PresenceSource(s))
	}
	return out, nil
}

// elsewhere says where a server is that is not on this filer.
func elsewhere(server, filer, host string) error {
	message := fmt.Sprintf("%s is on %s, not on this filer (%s): ask there", server, host, filer)
	switch {
	case host == "":
		message = fmt.Sprintf("%s is on no filer now; `netquorum status` shows why", server)
	case sameName(host, filer):
		message = fmt.Sprintf("%s is placed on this filer (%s) but not here yet, or not any more: this filer waits for a lease or for its kernel", server, filer)
	}
	return api.Refuse(api.ErrElsewhere, message, nil)
}
