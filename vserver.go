package netquorum

import "net/netip"

// ManagementServer is the reserved name of the virtual server that carries the
// cluster's own services (N24). No other name may begin with it.
const ManagementServer = "vs_mgmt"

// A VirtualServer is a server without a machine: it is hosted by one filer of
// its group at a time, and its addresses move with it.
type VirtualServer struct {
	// Group names the filer group that may host it.
	Group string `json:"group"`
	// Addresses are reached through data aliases of whichever filer hosts the
	// server; only vs_mgmt may have addresses on mgmt aliases.
	Addresses []Address `json:"addresses,omitempty"`
	// Routes names its Routes policy. Without one the server has the routes
	// that its addresses imply and nothing more.
	Routes string `json:"routes,omitempty"`
}

func (*VirtualServer) Kind() Kind { return KindVirtualServer }

// An Address belongs to a virtual server and moves with it. It is reached
// through the alias of the same name on whichever filer hosts the server.
type Address struct {
	Alias InterfaceName `json:"alias"`
	// Instance tells several addresses of one server on one alias apart; it is
	// the last part of the DHCP client identifier (N31).
	Instance int          `json:"instance"`
	Prefix   netip.Prefix `json:"prefix"`
	// Names are registered in DNS for this address only.
	Names []string `json:"names,omitempty"`
}

// A Service is a named cluster service with floating addresses on mgmt aliases
// (N29). It is placed like a virtual server and shares its name space.
type Service struct {
	Group     string           `json:"group"`
	Addresses []ServiceAddress `json:"addresses,omitempty"`
	Routes    string           `json:"routes,omitempty"`
}

func (*Service) Kind() Kind { return KindService }

// A ServiceAddress is a service's one address on a mgmt alias.
type ServiceAddress struct {
	Alias  InterfaceName `json:"alias"`
	Prefix netip.Prefix  `json:"prefix"`
}
