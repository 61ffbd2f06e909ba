package netquorum

import (
	"fmt"
	"net/netip"
	"slices"
)

// Probes say how a filer finds out that an alias whose link is good reaches
// nobody (N28), and how soon a link that was bad is trusted again. Times are in
// milliseconds; 0 takes the default.
type Probes struct {
	// Automatic asks the gateways of the routes in use, and the other filers'
	// addresses on mgmt aliases. It is on unless set to false.
	Automatic *bool `json:"automatic,omitempty"`
	// Targets are asked beside that.
	Targets []ProbeTarget `json:"targets,omitempty"`
	// Interval is the time between two questions to one target; 500 by default.
	Interval int `json:"interval,omitempty"`
	// Fault is how long all targets of an alias must be silent until the alias
	// has failed; 2000 by default.
	Fault int `json:"fault,omitempty"`
	// Repair is how long they must answer until it runs again; 10000 by default.
	Repair int `json:"repair,omitempty"`
	// LinkRepair is how long a link must be good after a fault until it runs
	// again; 3000 by default. Each further fault within a minute doubles it.
	LinkRepair int `json:"linkRepair,omitempty"`
}

// A ProbeTarget is an address that an alias should reach. One in a subnet of
// the alias is asked by ARP or neighbour discovery, any other by ICMP echo, for
// which the filer needs an address of its own on the alias.
type ProbeTarget struct {
	Alias   InterfaceName `json:"alias"`
	Address netip.Addr    `json:"address"`
}

// The defaults of Probes, in milliseconds.
const (
	DefaultProbeInterval   = 500
	DefaultProbeFault      = 2000
	DefaultProbeRepair     = 10_000
	DefaultProbeLinkRepair = 3000
)

const (
	minProbeInterval = 100
	maxProbeTargets  = 32
)

// Effective returns the probes with every default filled in. It may be called
// on nil.
func (p *Probes) Effective() Probes {
	out := Probes{}
	if p != nil {
		out = *p
	}
	if out.Automatic == nil {
		yes := true
		out.Automatic = &yes
	}
	for _, f := range []struct {
		field *int
		value int
	}{
		{&out.Interval, DefaultProbeInterval}, {&out.Fault, max(DefaultProbeFault, 3*out.Interval)},
		{&out.Repair, DefaultProbeRepair}, {&out.LinkRepair, DefaultProbeLinkRepair},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return out
}

// Probes returns what holds for a filer: its own settings, or the cluster's. One
// replaces the other whole.
func (c Config) Probes(filer string) Probes {
	if f, ok := c.Filer(filer); ok && f.Probes != nil {
		return f.Probes.Effective()
	}
	_, cluster, ok := c.Cluster()
	if !ok {
		return (*Probes)(nil).Effective()
	}
	return cluster.Probes.Effective()
}

// check checks the probes of a document; nil has no rule to break.
func (p *Probes) check(c *checker) {
	if p == nil {
		return
	}
	for _, f := range []struct {
		name  string
		value int
		least int
	}{
		{"interval", p.Interval, minProbeInterval}, {"fault", p.Fault, 0}, {"repair", p.Repair, 0}, {"linkRepair", p.LinkRepair, 0},
	} {
		field := "spec.probes." + f.name
		checkRange(c, field, f.value, maxMilliseconds, "an hour is the most")
		if f.value > 0 && f.value < f.least {
			c.add(field, RuleProbeTime, "%d ms is too often; %d is the least", f.value, f.least)
		}
	}
	interval := p.Interval
	if interval == 0 {
		interval = DefaultProbeInterval
	}
	if p.Fault > 0 && p.Fault < 2*interval {
		c.add("spec.probes.fault", RuleProbeTime, "%d ms is less than two intervals of %d ms: one lost packet would be a fault; raise it", p.Fault, interval)
	}
	if len(p.Targets) > maxProbeTargets {
		c.add("spec.probes.targets", RuleProbeTarget, "%d targets are too many; %d are the most", len(p.Targets), maxProbeTargets)
	}
	for i, t := range p.Targets {
		field := fmt.Sprintf("spec.probes.targets[%d]", i)
		switch {
		case t.Alias == "":
			c.add(field+".alias", RuleRequired, "is missing; name the alias that should reach %s", t.Address)
		case t.Alias.Layer() == LayerNone || !t.Alias.IsAlias():
			c.add(field+".alias", RuleProbeTarget, "%q is no alias; name a mgmt, data or san alias", t.Alias)
		}
		if why := notUnicast(t.Address); why != "" {
			c.add(field+".address", RuleProbeTarget, "%s", why)
		} else if t.Address.Is4In6() {
			c.add(field+".address", RuleProbeTarget, "%s is an IPv4 address in the form of IPv6; write %s", t.Address, t.Address.Unmap())
		}
		if slices.Index(p.Targets, t) < i {
			c.add(field, RuleProbeTarget, "%s on %s stands there twice; remove one", t.Address, t.Alias)
		}
	}
}
