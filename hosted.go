package netquorum

import (
	"iter"
	"net/netip"
)

// A Hosted is what moves between filers, seen the same way whether it is a
// virtual server or a service.
type Hosted struct {
	Key       Key // KindVirtualServer or KindService
	Group     string
	Routes    string // the policies that it names itself; see Config.RoutesOf
	Access    string
	Addresses []HostedAddress
}

// A HostedAddress is one floating address and the alias it is reached through.
type HostedAddress struct {
	Alias    InterfaceName
	Instance int
	Prefix   netip.Prefix
}

// Hosted yields all virtual servers and services: vs_mgmt first, because it
// fails over before any other (N24), then virtual servers, then services, each
// by name.
func (c Config) Hosted() iter.Seq[Hosted] {
	return func(yield func(Hosted) bool) {
		if d, ok := c.Get(KindVirtualServer, ManagementServer); ok && !yield(hosted(d)) {
			return
		}
		for _, kind := range []Kind{KindVirtualServer, KindService} {
			for d := range c.All(kind) {
				if (Key{d.Kind, d.Name}).Fold().Name == ManagementServer {
					continue
				}
				if !yield(hosted(d)) {
					return
				}
			}
		}
	}
}

func hosted(d Document) Hosted {
	h := Hosted{Key: d.Key()}
	switch s := d.Spec.(type) {
	case *VirtualServer:
		h.Group, h.Routes, h.Access = s.Group, s.Routes, s.Access
		for _, a := range s.Addresses {
			h.Addresses = append(h.Addresses, HostedAddress{a.Alias, a.Instance, a.Prefix})
		}
	case *Service:
		h.Group, h.Routes, h.Access = s.Group, s.Routes, s.Access
		for _, a := range s.Addresses {
			h.Addresses = append(h.Addresses, HostedAddress{a.Alias, 0, a.Prefix})
		}
	}
	return h
}

// Aliases returns the distinct aliases that the host must have.
func (h Hosted) Aliases() []InterfaceName {
	seen := map[InterfaceName]bool{}
	out := []InterfaceName{}
	for _, a := range h.Addresses {
		if !seen[a.Alias] {
			seen[a.Alias] = true
			out = append(out, a.Alias)
		}
	}
	return out
}
