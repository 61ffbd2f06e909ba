package netquorum

// A Cluster document is the cluster itself: there is exactly one in a
// configuration, and its name is the cluster's.
type Cluster struct {
	// MAC identifies the cluster in DHCP client identifiers. It has the form of
	// a MAC address and is never used on the wire as one (N30).
	MAC MAC `json:"mac"`
	// History is how many past revisions are kept for `history`, `diff` and
	// `watch`; 1000 when zero.
	History int `json:"history,omitempty"`
	// Routes and Access name the policies for the own addresses of filers, where
	// neither the filer nor its group names one.
	Routes string `json:"routes,omitempty"`
	Access string `json:"access,omitempty"`
	// Servers names the policies of virtual servers and services, where neither
	// they nor their group name one.
	Servers Policies `json:"servers,omitzero"`
	// Probes are how filers find out what their aliases reach.
	Probes *Probes `json:"probes,omitempty"`
}

// DefaultHistory is how many revisions are kept when the cluster does not say.
const DefaultHistory = 1000

const maxHistory = 100_000

func (*Cluster) Kind() Kind { return KindCluster }

// EffectiveHistory returns how many past revisions are kept.
func (s *Cluster) EffectiveHistory() int {
	if s.History == 0 {
		return DefaultHistory
	}
	return s.History
}

func (s *Cluster) check(c *checker) {
	switch {
	case s.MAC.IsZero():
		c.add("spec.mac", RuleClusterMAC, "is missing; give the cluster an identifier in the form of a MAC address, like 00:07:34:04:12:0e")
	case s.MAC.Multicast():
		c.add("spec.mac", RuleClusterMAC, "%s is a multicast address; the first byte must be even", s.MAC)
	}
	if s.History < 0 || s.History > maxHistory {
		c.add("spec.history", RuleClusterHistory, "%d is not between 0 and %d", s.History, maxHistory)
	}
	s.Probes.check(c)
}

func (s *Cluster) checkAmong(cfg Config, c *checker) {
	Policies{s.Routes, s.Access}.check(cfg, c, "spec")
	s.Servers.check(cfg, c, "spec.servers")
}

func (*Cluster) claims(Key) []claim {
	return []claim{{thing: nameThing + "cluster", field: "name", rule: RuleClusterOne, what: "the cluster"}}
}

func (s *Cluster) uses() []use {
	return append(Policies{s.Routes, s.Access}.uses("spec"), s.Servers.uses("spec.servers")...)
}
