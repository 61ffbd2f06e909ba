package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/netquorum/netquorum"
)

// A PresenceBackend knows what a hosted server is in this filer's kernel.
type PresenceBackend interface {
	// Presence tells what a program on this filer needs to speak as a virtual
	// server or service. ErrNotFound when there is none of that name,
	// ErrElsewhere when this filer does not host it.
	Presence(ctx context.Context, server string) (Presence, error)
}

// A Presence is what a hosted virtual server or service is in the kernel of its
// host. It holds until the server moves or the configuration changes.
type Presence struct {
	Kind  netquorum.Kind `json:"kind"`
	Name  string         `json:"name"`
	Filer string         `json:"filer"` // this one
	// VRF is the device of the server's routing domain, to bind sockets to; empty
	// for a server without one.
	VRF       string            `json:"vrf,omitempty"`
	Addresses []PresenceAddress `json:"addresses"`
	// Sources say which address the server reaches a destination from: the first
	// one that has the destination in it. They are its routes, the most
	// particular first.
	Sources []PresenceSource `json:"sources"`
}

// A PresenceAddress is one of the server's addresses.
type PresenceAddress struct {
	Prefix netip.Prefix            `json:"prefix"`
	Alias  netquorum.InterfaceName `json:"alias"`
	Link   string                  `json:"link"`  // that has the address in the kernel
	Table  uint32                  `json:"table"` // by which packets from the address are routed
}

// A PresenceSource is a route, as far as a program has to know it.
type PresenceSource struct {
	To      netip.Prefix `json:"to"`
	Address netip.Addr   `json:"address"`
	Link    string       `json:"link"`
}

func (s *Server) getPresence(w http.ResponseWriter, r *http.Request) error {
	p, err := s.backend.Presence(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	p.Addresses, p.Sources = list(p.Addresses), list(p.Sources)
	return answer(w, p)
}

// Presence asks what a virtual server or service is in this filer's kernel.
func (c *Client) Presence(ctx context.Context, server string) (p Presence, err error) {
	return p, c.get(ctx, "/v1/presence/"+url.PathEscape(server), nil, &p)
}
