package netquorum

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

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
	// Routes names its Routes policy; the group's or the cluster's for servers
	// when empty. Without any the server has the routes that its addresses imply
	// and nothing more.
	Routes string `json:"routes,omitempty"`
	// Access names its Access policy; the group's or the cluster's for servers
	// when empty. Without any everything is allowed.
	Access string `json:"access,omitempty"`
}

func (*VirtualServer) Kind() Kind { return KindVirtualServer }

// An Address belongs to a virtual server and moves with it. It is reached
// through the alias of the same name on whichever filer hosts the server.
type Address struct {
	Alias InterfaceName `json:"alias"`
	// Instance tells several addresses of one server on one alias apart; it is
	// the last part of the DHCP client identifier (N31).
	Instance int `json:"instance"`
	// Prefix is the address with the length of its subnet.
	Prefix netip.Prefix `json:"prefix"`
	// Names are registered in DNS for this address only.
	Names []string `json:"names,omitempty"`
}

// A Service is a named cluster service with floating addresses on mgmt aliases
// (N29). It is placed like a virtual server and shares its name space.
type Service struct {
	// Group names the filer group that may host it.
	Group string `json:"group"`
	// Addresses are at most one on each mgmt alias.
	Addresses []ServiceAddress `json:"addresses,omitempty"`
	// Routes and Access name its policies; the group's or the cluster's for
	// servers when empty.
	Routes string `json:"routes,omitempty"`
	Access string `json:"access,omitempty"`
}

func (*Service) Kind() Kind { return KindService }

// A ServiceAddress is a service's one address on a mgmt alias.
type ServiceAddress struct {
	Alias InterfaceName `json:"alias"`
	// Prefix is the address with the length of its subnet.
	Prefix netip.Prefix `json:"prefix"`
}

const maxInstance = 65535

func (s *VirtualServer) check(c *checker) {
	stems, place := []string{"data"}, "virtual servers have addresses on data aliases only"
	if strings.EqualFold(c.doc.Name, ManagementServer) {
		stems, place = []string{"data", "mgmt"}, ManagementServer+" has addresses on data and mgmt aliases only"
	}
	type slot struct {
		alias    InterfaceName
		instance int
	}
	first := map[slot]int{}
	for i, a := range s.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		checkHostedAddress(c, field, a.Alias, a.Prefix, stems, place)
		if a.Instance < 0 || a.Instance > maxInstance {
			c.add(field+".instance", RuleAddressInstance, "%d is not between 0 and %d", a.Instance, maxInstance)
		}
		if j, again := first[slot{a.Alias, a.Instance}]; again {
			c.add(field+".instance", RuleAddressInstance, "instance %d on %s is that of spec.addresses[%d] already; give each address on an alias an instance of its own", a.Instance, a.Alias, j)
		} else {
			first[slot{a.Alias, a.Instance}] = i
		}
		for j, name := range a.Names {
			at := fmt.Sprintf("%s.names[%d]", field, j)
			if !validHostName(name) {
				c.add(at, RuleAddressName, "%q is no DNS name: labels of letters, digits and dashes with dots between them", name)
			}
		}
	}
}

func (s *VirtualServer) checkAmong(cfg Config, c *checker) {
	checkHosted(cfg, c, hosted(Document{Kind: KindVirtualServer, Name: c.doc.Name, Spec: s}))
}

func (s *VirtualServer) claims(owner Key) []claim {
	return hostedClaims(owner, hosted(Document{Kind: owner.Kind, Name: owner.Name, Spec: s}))
}

func (s *VirtualServer) uses() []use {
	return append(useOf(KindFilerGroup, s.Group, "spec.group"), Policies{s.Routes, s.Access}.uses("spec")...)
}

func (s *Service) check(c *checker) {
	first := map[InterfaceName]int{}
	for i, a := range s.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		checkHostedAddress(c, field, a.Alias, a.Prefix, []string{"mgmt"}, "services have addresses on mgmt aliases only")
		if j, again := first[a.Alias]; again {
			c.add(field+".alias", RuleAddressInstance, "%s has the address of spec.addresses[%d] already, and a service has one on each alias; choose another alias", a.Alias, j)
		} else {
			first[a.Alias] = i
		}
	}
}

func (s *Service) checkAmong(cfg Config, c *checker) {
	checkHosted(cfg, c, hosted(Document{Kind: KindService, Name: c.doc.Name, Spec: s}))
}

func (s *Service) claims(owner Key) []claim {
	claims := hostedClaims(owner, hosted(Document{Kind: owner.Kind, Name: owner.Name, Spec: s}))
	return append(claims, claimName("hosts", owner.Name))
}

func (s *Service) uses() []use {
	return append(useOf(KindFilerGroup, s.Group, "spec.group"), Policies{s.Routes, s.Access}.uses("spec")...)
}

// checkHostedAddress checks one floating address and its alias (N13).
func checkHostedAddress(c *checker, field string, alias InterfaceName, p netip.Prefix, stems []string, place string) {
	checkHost(c, field+".prefix", p)
	switch {
	case alias == "":
		c.add(field+".alias", RuleRequired, "is missing; name the alias that the address is reached through")
	case alias.Layer() == LayerNone || string(alias) != strings.ToLower(string(alias)):
		c.add(field+".alias", RuleInterfaceName, "%q is no interface name", alias)
	case !slices.Contains(stems, alias.Stem()):
		c.add(field+".alias", RuleAddressPlace, "%s: %s", alias, place)
	}
}

// hostedClaims claims the name among all that is placed, the addresses, and a
// port on each alias.
func hostedClaims(owner Key, h Hosted) []claim {
	claims := make([]claim, 0, 2+2*len(h.Addresses))
	claims = append(claims, claimName("hosted", owner.Name))
	for i, a := range h.Addresses {
		claims = append(claims, claimAddress(fmt.Sprintf("spec.addresses[%d].prefix", i), a.Prefix))
	}
	for _, alias := range h.Aliases() {
		claims = append(claims, claimPort(owner, alias, "name"))
	}
	return claims
}
