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
	// addresses; the group's when empty.
	Routes string `json:"routes,omitempty"`
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
	cfg.checkReference(c, "spec.routes", KindRoutes, s.Routes)
	cfg.topologyOf(c.doc, s).check(c)
	checkOnLink(cfg, c, cfg.filerRoutes(s), s.onLink())
}

// filerRoutes returns the name of the policy for the filer's own addresses.
func (c Config) filerRoutes(f *Filer) string {
	if g, ok := find[*FilerGroup](c, KindFilerGroup, f.Group); ok && f.Routes == "" {
		return g.Routes
	}
	return f.Routes
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
	return append(useOf(KindFilerGroup, s.Group, "spec.group"), useOf(KindRoutes, s.Routes, "spec.routes")...)
}

// A FilerGroup is a set of filers among which virtual servers may move, and the
// place for settings that its filers share.
type FilerGroup struct {
	// Interfaces are inherited by every filer of the group. They carry no
	// addresses: an address belongs to one filer.
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Routes names the Routes policy that the group's filers inherit.
	Routes string `json:"routes,omitempty"`
}

func (*FilerGroup) Kind() Kind { return KindFilerGroup }

func (s *FilerGroup) check(c *checker) { checkInterfaces(c, s.Interfaces, false) }

func (s *FilerGroup) checkAmong(cfg Config, c *checker) {
	cfg.checkReference(c, "spec.routes", KindRoutes, s.Routes)
	if cfg.groupSize(c.doc.Name) == 0 {
		// Otherwise the filers are checked, with all that they inherit.
		groupTopology(c.doc, s).check(c)
	}
}

func (s *FilerGroup) claims(Key) []claim { return nil }
func (s *FilerGroup) uses() []use        { return useOf(KindRoutes, s.Routes, "spec.routes") }
