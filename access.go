package netquorum

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// An Access policy says which applications of whoever has it can be reached,
// and from where (N26). The rules are tried from the first to the last; the
// first that matches decides, and Default decides about what matches none.
//
// Policies speak of connections being opened. What belongs to a connection that
// the owner itself opened is never cut, nor is ICMP, nor netquorum's own port on
// a filer's mgmt addresses.
type Access struct {
	Rules []AccessRule `json:"rules,omitempty"`
	// Default is allow or deny. It must be said.
	Default Verdict `json:"default"`
}

func (*Access) Kind() Kind { return KindAccess }

// A Verdict is what becomes of a packet.
type Verdict string

const (
	Allow Verdict = "allow"
	Deny  Verdict = "deny" // dropped without an answer
)

// An AccessRule matches what matches each of its lists that is not empty.
type AccessRule struct {
	// Action is allow or deny.
	Action Verdict `json:"action"`
	// Applications are names of applications like nfs, the classes data and
	// management, or protocols with ports like tcp/8443 and udp/5000-5010.
	// Without any, the rule is about everything.
	Applications []string `json:"applications,omitempty"`
	// From are the networks that packets come from; without any, everywhere.
	From []netip.Prefix `json:"from,omitempty"`
	// On limits the rule to addresses on these aliases. In a filer's policy such
	// a rule also holds for the virtual servers and services on the alias.
	On []InterfaceName `json:"on,omitempty"`
	// To limits the rule to these addresses.
	To []netip.Addr `json:"to,omitempty"`
}

func (s *Access) check(c *checker) {
	if s.Default != Allow && s.Default != Deny {
		c.add("spec.default", RuleAccessAction, "is %q; say allow or deny, for what no rule matches", s.Default)
	}
	for i, r := range s.Rules {
		r.check(c, fmt.Sprintf("spec.rules[%d]", i))
	}
}

func (r AccessRule) check(c *checker, field string) {
	if r.Action != Allow && r.Action != Deny {
		c.add(field+".action", RuleAccessAction, "is %q; say allow or deny", r.Action)
	}
	for i, word := range r.Applications {
		if _, err := parseTraffic(word); err != nil {
			c.add(fmt.Sprintf("%s.applications[%d]", field, i), RuleAccessTraffic, "%v", err)
		}
	}
	for i, p := range r.From {
		at := fmt.Sprintf("%s.from[%d]", field, i)
		switch {
		case !p.IsValid():
			c.add(at, RuleAccessSource, "is missing; write a network like 10.0.0.0/8")
		case p.Addr().Is4In6():
			c.add(at, RuleAccessSource, "%s is an IPv4 network in the form of IPv6; write it as IPv4", p)
		case p != p.Masked():
			c.add(at, RuleAccessSource, "%s has bits beyond its length; write %s", p, p.Masked())
		}
	}
	for i, a := range r.On {
		if a.Layer() == LayerNone || !a.IsAlias() {
			c.add(fmt.Sprintf("%s.on[%d]", field, i), RuleAccessPlace, "%q is no alias; name a mgmt, data or san alias", a)
		}
	}
	for i, a := range r.To {
		if why := notUnicast(a); why != "" {
			c.add(fmt.Sprintf("%s.to[%d]", field, i), RuleAccessPlace, "%s", why)
		}
	}
	if len(r.From) > 0 && len(r.To) > 0 && !r.sharesFamily() {
		c.add(field+".from", RuleAccessFamily, "and to are of different address families, so that no packet can match; remove one or add the other family")
	}
}

func (r AccessRule) sharesFamily() bool {
	return slices.ContainsFunc(r.From, func(p netip.Prefix) bool {
		return slices.ContainsFunc(r.To, func(a netip.Addr) bool { return p.Addr().Is4() == a.Is4() })
	})
}

func (s *Access) checkAmong(cfg Config, c *checker) {
	s.named(func(field, name string) {
		if _, ok := cfg.Application(name); !ok {
			c.add(field, RuleReference, "there is no application %q; write a built-in one (%s), data, management, a port like tcp/8443, or add an Application document",
				name, strings.Join(builtinNames(), ", "))
		}
	})
}

func (*Access) claims(Key) []claim { return nil }

// uses tells which Application documents the policy needs. What is built in is
// there without one: its redefinition may be deleted at any time.
func (s *Access) uses() []use {
	var out []use
	s.named(func(field, name string) {
		if _, ok := builtin(name); !ok {
			out = append(out, useOf(KindApplication, name, field)...)
		}
	})
	return out
}

// named calls back for every application that the policy names.
func (s *Access) named(each func(field, name string)) {
	for i, r := range s.Rules {
		for j, word := range r.Applications {
			if t, err := parseTraffic(word); err == nil && t.name != "" {
				each(fmt.Sprintf("spec.rules[%d].applications[%d]", i, j), t.name)
			}
		}
	}
}
