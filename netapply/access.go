package netapply

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// A Ruleset is the content of our nftables table: what may reach which address.
// Everything that is not about one address of ours is the same in all rulesets
// (see accessBase). Lists are sorted, so that equal rulesets have equal texts.
type Ruleset struct {
	// Absent are addresses that belong to servers which are not placed here.
	// Nothing reaches them, whoever put them on this machine.
	Absent []netip.Addr
	// Peers are addresses on which filers reach each other, whatever policies say.
	Peers []netip.Addr
	// Addresses and Links lead to the chains of their policies. A link's is for
	// what arrives there and is to none of our addresses: broadcasts, multicasts,
	// link-local addresses.
	Addresses []GuardedAddress
	Links     []GuardedLink
	Chains    []Chain
	// Strange is what was found in the table and is like nothing that we make.
	Strange []string
}

// A GuardedAddress is an address with the chain that decides about it.
type GuardedAddress struct {
	Address netip.Addr
	Chain   string
}

// A GuardedLink is a link with the chain that decides about it.
type GuardedLink struct {
	Link  string
	Chain string
}

// A Chain is a list of lines, named after the policy that it is made of and its
// own content: two addresses with the same lines share it.
type Chain struct {
	Name  string
	Lines []Line
}

// A Line matches packets by where they come from and go to; what is zero
// matches all.
type Line struct {
	From      netip.Prefix
	Protocol  uint8
	Low, High uint16 // destination ports
	Verdict   Verdict
	Note      string // for people: which rule of which policy
}

// A Verdict is what a line does: Accept, Drop, or go on in another chain. After
// a jump the lines behind it follow, after a goto they do not.
type Verdict struct {
	Word  string // accept, drop, jump, goto
	Chain string
}

var (
	accept = Verdict{Word: "accept"}
	drop   = Verdict{Word: "drop"}
)

// access wants the rules that go with the filer's and the hosted addresses.
func access(c netquorum.Config, self netquorum.Key, interfaces []netquorum.Interface, hosts func(netquorum.Key) bool) *Ruleset {
	if !c.Guarded(self.Name) {
		return nil
	}
	b := &accessBuilder{config: c, chains: map[string]bool{}, known: map[chainKey]string{}, heirs: map[string]*netquorum.Guard{}}
	if g, ok := c.Guard(self); ok {
		b.filer, b.stage = &g, new(g.Interface())
	}
	for _, i := range interfaces {
		if !i.Name.IsAlias() {
			// It has a link-local address of its own, and hears broadcasts to the
			// aliases above it.
			b.link(string(i.Name), "", b.filer, nil)
			continue
		}
		b.link(string(i.Name), i.Name, b.filer, nil)
		for _, p := range i.Addresses {
			b.address(i.Name, p.Addr(), b.filer, nil)
			if i.Name.Stem() == "mgmt" {
				b.out.Peers = append(b.out.Peers, p.Addr())
			}
		}
	}
	for h := range c.Hosted() {
		if !hosts(h.Key) {
			for _, a := range h.Addresses {
				b.out.Absent = append(b.out.Absent, a.Prefix.Addr())
			}
			continue
		}
		guard := b.guardOf(h)
		for _, a := range h.Aliases() {
			b.link(portName(h.Key, a), a, guard, b.stage)
		}
		for _, a := range h.Addresses {
			b.address(a.Alias, a.Prefix.Addr(), guard, b.stage)
		}
	}
	b.out.sort()
	return &b.out
}

func (r *Ruleset) sort() {
	slices.SortFunc(r.Absent, netip.Addr.Compare)
	slices.SortFunc(r.Peers, netip.Addr.Compare)
	slices.SortFunc(r.Addresses, func(a, b GuardedAddress) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(r.Links, func(a, b GuardedLink) int { return strings.Compare(a.Link, b.Link) })
	slices.SortFunc(r.Chains, func(a, b Chain) int { return strings.Compare(a.Name, b.Name) })
	r.Absent, r.Peers = slices.Compact(r.Absent), slices.Compact(r.Peers)
}

// An accessBuilder turns policies into chains.
type accessBuilder struct {
	config       netquorum.Config
	filer, stage *netquorum.Guard            // the filer's policy, and its part for what is hosted
	heirs        map[string]*netquorum.Guard // of servers, by what they inherit from
	chains       map[string]bool             // that are made
	known        map[chainKey]string
	out          Ruleset
}

// guardOf returns a server's policy. Servers of a group that name none have the
// same one, which is looked up once.
func (b *accessBuilder) guardOf(h netquorum.Hosted) *netquorum.Guard {
	key := strings.ToLower(h.Access + "\x00" + h.Group)
	g, known := b.heirs[key]
	if !known {
		if found, ok := b.config.Guard(h.Key); ok {
			g = &found
		}
		b.heirs[key] = g
	}
	return g
}

func (b *accessBuilder) address(alias netquorum.InterfaceName, a netip.Addr, guard, stage *netquorum.Guard) {
	if chain := b.chain(alias, a, guard, stage); chain != "" {
		b.out.Addresses = append(b.out.Addresses, GuardedAddress{a, chain})
	}
}

func (b *accessBuilder) link(name string, alias netquorum.InterfaceName, guard, stage *netquorum.Guard) {
	if chain := b.chain(alias, netip.Addr{}, guard, stage); chain != "" {
		b.out.Links = append(b.out.Links, GuardedLink{name, chain})
	}
}

// chain returns the chain for an address on an alias: first the stage, which
// only denies, then the policy itself; none when everything is allowed.
//
// Most addresses of an alias have the same: the chain is written for the first.
func (b *accessBuilder) chain(alias netquorum.InterfaceName, a netip.Addr, guard, stage *netquorum.Guard) string {
	key := chainKey{alias, a.IsValid(), a.Is6(), netip.Addr{}, guard, stage}
	if names(guard, a) || names(stage, a) {
		key.address = a
	}
	chain, known := b.known[key]
	if !known {
		chain = b.newChain(alias, a, guard, stage)
		b.known[key] = chain
	}
	return chain
}

// A chainKey is what a chain depends on.
type chainKey struct {
	alias        netquorum.InterfaceName
	valid, six   bool
	address      netip.Addr // when a rule names it
	guard, stage *netquorum.Guard
}

func names(g *netquorum.Guard, a netip.Addr) bool {
	return g != nil && slices.ContainsFunc(g.Rules, func(r netquorum.GuardRule) bool { return slices.Contains(r.To, a) })
}

func (b *accessBuilder) newChain(alias netquorum.InterfaceName, a netip.Addr, guard, stage *netquorum.Guard) string {
	onward := accept
	if guard != nil {
		lines := b.lines(*guard, alias, a, accept)
		if !slices.Equal(lines, []Line{{Verdict: accept, Note: note(guard.Policy, -1)}}) {
			onward = Verdict{"goto", b.make(guard.Policy, lines)}
		}
	}
	if stage == nil || len(stage.At(alias, a)) == 0 {
		return onward.Chain
	}
	return b.make(stage.Policy, b.lines(*stage, alias, a, onward))
}

// lines writes the rules of a policy that concern an address. What is allowed
// goes onward.
func (b *accessBuilder) lines(g netquorum.Guard, alias netquorum.InterfaceName, a netip.Addr, onward Verdict) []Line {
	verdicts := map[netquorum.Verdict]Verdict{netquorum.Allow: onward, netquorum.Deny: drop}
	var lines []Line
	for _, r := range g.At(alias, a) {
		from := slices.Clone(r.From)
		if a.IsValid() {
			from = slices.DeleteFunc(from, func(p netip.Prefix) bool { return p.Addr().Is4() != a.Is4() })
			if len(from) == 0 && len(r.From) > 0 {
				continue
			}
		}
		v, n := verdicts[r.Action], note(g.Policy, r.Index)
		if len(from) > 1 && len(r.Traffic) > 1 {
			// Ports first, then networks: their sum in lines, not their product.
			v = Verdict{"jump", b.make(g.Policy, product(from, nil, v, n))}
			from = nil
		}
		lines = append(lines, product(from, r.Traffic, v, n)...)
		if len(r.From) == 0 && len(r.Traffic) == 0 {
			return lines // nothing is left for the rules behind
		}
	}
	return append(lines, Line{Verdict: verdicts[g.Default], Note: note(g.Policy, -1)})
}

func product(from []netip.Prefix, ports []netquorum.Ports, v Verdict, note string) []Line {
	if len(from) == 0 {
		from = []netip.Prefix{{}}
	}
	if len(ports) == 0 {
		ports = []netquorum.Ports{{}}
	}
	var lines []Line
	for _, f := range from {
		for _, p := range ports {
			lines = append(lines, Line{From: f, Protocol: p.Number(), Low: p.Low, High: p.High, Verdict: v, Note: note})
		}
	}
	return lines
}

// make returns the name of the chain with these lines.
func (b *accessBuilder) make(policy string, lines []Line) string {
	c := Chain{Lines: lines}
	sum := sha256.Sum256([]byte(strings.Join(c.words(), "\n")))
	c.Name = "policy-" + policy + "-" + hex.EncodeToString(sum[:6])
	if !b.chains[c.Name] {
		b.chains[c.Name] = true
		b.out.Chains = append(b.out.Chains, c)
	}
	return c.Name
}
