package netquorum

import (
	"net/netip"
	"slices"
)

// ClusterPort is the port, of TCP and of SCTP, on which filers talk to each other. No policy can
// close it on a filer's mgmt addresses: a cluster must not cut itself apart.
const ClusterPort = 7480

// A Guard is an access policy with its applications looked up: what a packet
// filter is made from, and what it is compared with.
type Guard struct {
	Policy  string // the name of the Access document
	Rules   []GuardRule
	Default Verdict
}

// A GuardRule matches what matches each of its lists that is not empty. Lists
// are sorted and hold nothing twice.
type GuardRule struct {
	Index   int // in the document
	Action  Verdict
	Traffic []Ports // empty: everything
	From    []netip.Prefix
	On      []InterfaceName
	To      []netip.Addr
}

// Guard returns the access policy of a filer, virtual server or service, ready
// to be used; ok is false when it has none.
func (c Config) Guard(k Key) (Guard, bool) {
	name, policy, _ := c.AccessOf(k)
	if policy == nil {
		return Guard{}, false
	}
	return c.guard(name, policy), true
}

func (c Config) guard(name string, policy *Access) Guard {
	g := Guard{Policy: name, Default: policy.Default}
	for i, r := range policy.Rules {
		rule := GuardRule{Index: i, Action: r.Action, On: r.On, To: r.To, From: mergePrefixes(r.From)}
		if len(r.Applications) > 0 {
			if rule.Traffic = c.traffic(r.Applications); len(rule.Traffic) == 0 {
				continue // a class without applications
			}
		}
		g.Rules = append(g.Rules, rule)
	}
	return g
}

// mergePrefixes sorts networks and leaves out those within others.
func mergePrefixes(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if a.Addr() == b.Addr() {
			return a.Bits() - b.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	var out []netip.Prefix
	for _, p := range list {
		if n := len(out) - 1; n < 0 || !covers(out[n], p) {
			out = append(out, p)
		}
	}
	return out
}

func covers(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }

// At returns the rules that concern an address, without what limits them to it.
// Without an address it returns those that concern what else arrives on the
// alias: broadcasts, multicasts, link-local addresses.
func (g Guard) At(alias InterfaceName, address netip.Addr) []GuardRule {
	var out []GuardRule
	for _, r := range g.Rules {
		if len(r.On) > 0 && !slices.Contains(r.On, alias) || len(r.To) > 0 && !slices.Contains(r.To, address) {
			continue
		}
		r.On, r.To = nil, nil
		out = append(out, r)
	}
	return out
}

// Interface returns the part of a filer's policy that also holds for what the
// filer hosts: the rules that name aliases. What none of them denies goes on to
// the server's own policy.
func (g Guard) Interface() Guard {
	only := Guard{Policy: g.Policy, Default: Allow}
	for _, r := range g.Rules {
		if len(r.On) > 0 {
			only.Rules = append(only.Rules, r)
		}
	}
	return only
}

// A Packet is one that opens a connection, or asks for something by UDP.
type Packet struct {
	From, To netip.Addr
	Protocol string // tcp, udp, sctp; anything else has no ports
	Port     uint16 // that it goes to
	// Alias is the one that the address To is on.
	Alias InterfaceName
}

// Decide says what the policy does with a packet, and the index of the rule
// that decides; -1 when none matches.
func (g Guard) Decide(p Packet) (Verdict, int) {
	for _, r := range g.Rules {
		if r.matches(p) {
			return r.Action, r.Index
		}
	}
	return g.Default, -1
}

func (r GuardRule) matches(p Packet) bool {
	in := func(n netip.Prefix) bool { return n.Contains(p.From) }
	hit := func(t Ports) bool { return t.Protocol == p.Protocol && t.Low <= p.Port && p.Port <= t.High }
	return (len(r.Traffic) == 0 || slices.ContainsFunc(r.Traffic, hit)) &&
		(len(r.From) == 0 || slices.ContainsFunc(r.From, in)) &&
		(len(r.On) == 0 || slices.Contains(r.On, p.Alias)) &&
		(len(r.To) == 0 || slices.Contains(r.To, p.To))
}

// A Decision is what becomes of a packet on a filer, and why.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	Policy  string  `json:"policy,omitempty"` // the Access document that decides
	Rule    int     `json:"rule"`             // index of the rule in it; -1 for none
	Reason  string  `json:"reason"`
}

// Guarded reports whether the filer needs a packet filter: it, or anything that
// the cluster hosts, has an access policy.
func (c Config) Guarded(filer string) bool {
	if _, policy, _ := c.AccessOf(Key{KindFiler, filer}); policy != nil {
		return true
	}
	for h := range c.Hosted() {
		if _, policy, _ := c.AccessOf(h.Key); policy != nil {
			return true
		}
	}
	return false
}

// Decide says what a filer does with a packet that reaches it. hosts tells what
// it hosts. The alias of the packet need not be given.
func (c Config) Decide(filer string, hosts func(Key) bool, p Packet) Decision {
	open := func(why string) Decision { return Decision{Allow, "", -1, why} }
	if !c.Guarded(filer) {
		return open("there is no access policy")
	}
	owner, _, ok := c.OwnerOf(p.To)
	switch {
	case !ok:
		return open("the address is none of the configuration's")
	case owner.Kind == KindFiler:
		if !ownerIs(owner, filer) {
			return open("the address is another filer's")
		}
		f, _ := c.Filer(filer)
		p.Alias = aliasOf(f.onLink(), p.To)
	default:
		if !hosts(owner) {
			return Decision{Deny, "", -1, owner.String() + " is not hosted here"}
		}
		d, _ := c.Get(owner.Kind, owner.Name)
		p.Alias = aliasOf(hosted(d).Addresses, p.To)
	}
	switch {
	case p.Protocol == "icmp":
		return open("reachability is never cut")
	case owner.Kind == KindFiler && (p.Protocol == "tcp" || p.Protocol == "sctp") && p.Port == ClusterPort && p.Alias.Stem() == "mgmt":
		return open("filers always reach each other")
	}
	own, guarded := c.Guard(Key{KindFiler, filer})
	if owner.Kind != KindFiler {
		if v, i := own.Interface().Decide(p); guarded && v == Deny {
			return Decision{v, own.Policy, i, "a rule of the filer's policy for the alias"}
		}
		if own, guarded = c.Guard(owner); !guarded {
			return open(owner.String() + " has no access policy")
		}
	} else if !guarded {
		return open(owner.String() + " has no access policy")
	}
	v, i := own.Decide(p)
	if i < 0 {
		return Decision{v, own.Policy, i, "no rule matches"}
	}
	return Decision{v, own.Policy, i, "a rule matches"}
}

func ownerIs(k Key, filer string) bool { return k.Fold() == Key{KindFiler, filer}.Fold() }

func aliasOf(list []HostedAddress, a netip.Addr) InterfaceName {
	for _, h := range list {
		if h.Prefix.Addr() == a {
			return h.Alias
		}
	}
	return ""
}
