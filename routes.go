package netquorum

import (
	"fmt"
	"net/netip"
)

// A Routes policy says how packets of the virtual servers or filers that name
// it leave the filer.
type Routes struct {
	// VRF gives each virtual server that names the policy a routing domain of
	// its own in the kernel (a VRF) instead of source-address rules: sockets
	// bound to it see no other server's routes at all. Ignored for filers.
	VRF    bool    `json:"vrf,omitempty"`
	Routes []Route `json:"routes,omitempty"`
}

func (*Routes) Kind() Kind { return KindRoutes }

// A Route sends packets for a destination to a gateway.
type Route struct {
	To  Destination `json:"to"`
	Via netip.Addr  `json:"via"`
	// Alias names the alias to leave by. It may be left out when exactly one
	// address of the server or filer shares a subnet with the gateway.
	Alias InterfaceName `json:"alias,omitempty"`
	// Metric prefers the smaller; 0 lets the kernel choose.
	Metric int `json:"metric,omitempty"`
}

// A Destination is a prefix, or "default": everything, in the family of the
// route's gateway.
type Destination struct{ netip.Prefix }

// Default reports whether the destination is everything.
func (d Destination) Default() bool { return !d.IsValid() || d.Bits() == 0 }

// For returns the destination as a prefix in the family of the gateway.
func (d Destination) For(via netip.Addr) netip.Prefix {
	if d.IsValid() {
		return d.Prefix
	}
	if via.Is6() {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func (d Destination) MarshalText() ([]byte, error) {
	if !d.IsValid() {
		return []byte("default"), nil
	}
	return d.Prefix.MarshalText()
}

func (d *Destination) UnmarshalText(text []byte) error {
	if string(text) == "default" {
		*d = Destination{}
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a prefix like 10.0.0.0/8 nor \"default\"", text)
	}
	*d = Destination{p}
	return nil
}
