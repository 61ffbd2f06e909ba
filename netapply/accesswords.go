package netapply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// AccessTable is our nftables table, in the family inet.
const AccessTable = "netquorum_access"

const accessObject = "table inet " + AccessTable

// SetAccess replaces the content of our nftables table at once; nil stands for
// no table.
type SetAccess struct{ Old, New *Ruleset }

// Object implements Step.
func (s SetAccess) Object() string { return accessObject }

// maxAccessWords is how many statements a step's text has at most: a server may
// have a thousand addresses.
const maxAccessWords = 12

// String prints the difference in nft's words, as far as a line takes it.
func (s SetAccess) String() string {
	all := s.Lines()
	if more := len(all) - maxAccessWords; more > 0 {
		all = append(all[:maxAccessWords], fmt.Sprintf("and %d more", more))
	}
	return "nft " + strings.Join(all, "; ")
}

// Lines prints the whole difference.
func (s SetAccess) Lines() []string {
	if s.New == nil {
		return []string{"delete " + accessObject}
	}
	var all []string
	if s.Old == nil {
		all = append(all, "add "+accessObject)
	}
	var was []string
	if s.Old != nil {
		was = s.Old.words()
		if len(s.Old.Strange) > 0 {
			all = append(all, "flush "+accessObject)
			was = nil
		}
	}
	now := s.New.words()
	for _, w := range without(now, was) {
		all = append(all, "add "+w)
	}
	gone := without(was, now)
	slices.Reverse(gone) // chains go after what leads to them
	for _, w := range gone {
		all = append(all, "delete "+w)
	}
	return all
}

// without returns the lines of a that are not in b.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, w := range b {
		in[w] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(w string) bool { return in[w] })
}

// words prints the ruleset as the statements that would make it.
func (r *Ruleset) words() []string {
	var out []string
	for _, c := range r.Chains {
		out = append(out, fmt.Sprintf("chain inet %s %s { %s }", AccessTable, c.Name, strings.Join(c.words(), "; ")))
	}
	element := func(set, text string) {
		out = append(out, fmt.Sprintf("element inet %s %s { %s }", AccessTable, set, text))
	}
	for _, a := range r.Absent {
		element(setFor("absent", a), a.String())
	}
	for _, a := range r.Peers {
		element(setFor("peers", a), a.String())
	}
	for _, g := range r.Addresses {
		element(setFor("addresses", g.Address), g.Address.String()+" : goto "+g.Chain)
	}
	for _, g := range r.Links {
		element("links", g.Link+" : goto "+g.Chain)
	}
	return append(out, r.Strange...)
}

// setFor is the set for addresses of a family.
func setFor(name string, a netip.Addr) string {
	if a.Is4() {
		return name + "4"
	}
	return name + "6"
}

// Equal compares contents; nil is no table.
func (r *Ruleset) Equal(o *Ruleset) bool {
	if r == nil || o == nil {
		return r == o
	}
	return slices.Equal(r.Absent, o.Absent) && slices.Equal(r.Peers, o.Peers) &&
		slices.Equal(r.Addresses, o.Addresses) && slices.Equal(r.Links, o.Links) &&
		slices.EqualFunc(r.Chains, o.Chains, func(a, b Chain) bool { return a.Name == b.Name && slices.Equal(a.Lines, b.Lines) }) &&
		len(r.Strange) == 0 && len(o.Strange) == 0
}

func (c Chain) words() []string {
	out := make([]string, len(c.Lines))
	for i, l := range c.Lines {
		out[i] = l.String()
	}
	return out
}

var protocolNames = map[uint8]string{6: "tcp", 17: "udp", 132: "sctp"}

func (l Line) String() string {
	var b []string
	switch {
	case !l.From.IsValid():
	case l.From.Addr().Is4():
		b = append(b, "ip saddr", l.From.String())
	default:
		b = append(b, "ip6 saddr", l.From.String())
	}
	if l.Protocol != 0 {
		b = append(b, strings.TrimPrefix(netquorum.Ports{Protocol: protocolNames[l.Protocol], Low: l.Low, High: l.High}.String(), protocolNames[l.Protocol]+"/"))
		b[len(b)-1] = protocolNames[l.Protocol] + " dport " + b[len(b)-1]
	}
	b = append(b, l.Verdict.String())
	if l.Note != "" {
		b = append(b, fmt.Sprintf("comment %q", l.Note))
	}
	return strings.Join(b, " ")
}

func (v Verdict) String() string { return strings.TrimSpace(v.Word + " " + v.Chain) }

// note names a rule of a policy; -1 is its default.
func note(policy string, rule int) string {
	if rule < 0 {
		return "Access/" + policy + " default"
	}
	return fmt.Sprintf("Access/%s rules[%d]", policy, rule)
}
