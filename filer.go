package netquorum

import "fmt"

// A Filer is one machine of the cluster, or one that is expected to join.
type Filer struct {
	// Group is the filer group among whose filers virtual servers move. A filer
	// without one hosts none.
	Group string `json:"group,omitempty"`
	// Interfaces are this filer's own. One with the name of an interface of the
	// group replaces the group's.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Routes names the Routes policy for the filer's own mgmt and san
	// addresses; the group's or the cluster's when empty.
	Routes string `json:"routes,omitempty"`
	// Access names the Access policy for the filer's own addresses; the group's
	// or the cluster's when empty.
	Access string `json:"access,omitempty"`
	// Probes replace those of the cluster for this filer.
	Probes *Probes `json:"probes,omitempty"`
}

func (*Filer) Kind() Kind { return KindFiler }

func (s *Filer) check(c *checker) {
	checkInterfaces(c, s.Interfaces, true)
	s.Probes.check(c)
}

func (s *Filer) checkAmong(cfg Config, c *checker) {
	cfg.checkReference(c, "spec.group", KindFilerGroup, s.Group)
	Policies{s.Routes, s.Access}.check(cfg, c, "spec")
	cfg.topologyOf(c.doc, s).check(c)
	name, _, _ := cfg.RoutesOf(c.doc)
	checkOnLink(cfg, c, name, s.onLink(), false)
}

func (s *Filer) onLink() []HostedAddress {
	var out []HostedAddress
	for _, i := range s.Interfaces {
		for _, p := range i.Addresses {
			out = append(out, HostedAddress{Alias: i.Name, Prefix: p})
		}
	}
	return out
}

func (s *Filer) claims(owner Key) []claim {
	claims := []claim{claimName("hosts", owner.Name)}
	for i, iface := range s.Interfaces {
		for j, p := range iface.Addresses {
			claims = append(claims, claimAddress(fmt.Sprintf("spec.interfaces[%d].addresses[%d]", i, j), p))
		}
	}
	return claims
}

func (s *Filer) uses() []use {
	return append(useOf(KindFilerGroup, s.Group, "spec.group"), Policies{s.Routes, s.Access}.uses("spec")...)
}

// A FilerGroup is a set of filers among which virtual servers may move, and the
// place for settings that its filers share.
type FilerGroup struct {
	// Interfaces are inherited by every filer of the group. They carry no
	// addresses: an address belongs to one filer.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Routes and Access name the policies for the own addresses of the group's
	// filers, where a filer names none.
	Routes string `json:"routes,omitempty"`
	Access string `json:"access,omitempty"`
	// Servers names the policies of the group's virtual servers and services,
	// where they name none.
	Servers Policies `json:"servers,omitzero"`
}

func (*FilerGroup) Kind() Kind { return KindFilerGroup }

func (s *FilerGroup) check(c *checker) { checkInterfaces(c, s.Interfaces, false) }

func (s *FilerGroup) checkAmong(cfg Config, c *checker) {
	Policies{s.Routes, s.Access}.check(cfg, c, "spec")
	s.Servers.check(cfg, c, "spec.servers")
	if cfg.groupSize(c.doc.Name) == 0 {
		// Otherwise the filers are checked, with all that they inherit.
		groupTopology(c.doc, s).check(c)
	}
}

func (s *FilerGroup) claims(Key) []claim { return nil }

func (s *FilerGroup) uses() []use {
	return append(Policies{s.Routes, s.Access}.uses("spec"), s.Servers.uses("spec.servers")...)
}
