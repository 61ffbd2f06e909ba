package netapply

import (
	"fmt"
	"math"
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

// maxAccessWords is how many lines of a chain, and how many elements of a set, a
// step's text has: a server may have a thousand addresses.
const maxAccessWords = 4

// String prints the difference in nft's words, as far as a line takes it.
func (s SetAccess) String() string { return "nft " + strings.Join(s.words(maxAccessWords), "; ") }

// Lines prints the whole difference.
func (s SetAccess) Lines() []string { return s.words(math.MaxInt) }

func (s SetAccess) words(limit int) []string {
	if s.New == nil {
		return []string{"delete " + accessObject}
	}
	var all []string
	var was []statement
	switch {
	case s.Old == nil:
		all = append(all, "add "+accessObject)
	case len(s.Old.Strange) > 0:
		all = append(all, "flush "+accessObject)
	default:
		was = s.Old.statements()
	}
	now := s.New.statements()
	for _, st := range grouped(without(now, was)) {
		all = append(all, "add "+st.text(limit))
	}
	gone := grouped(without(was, now))
	slices.Reverse(gone) // chains go after what leads to them
	for _, st := range gone {
		if st.chain {
			all = append(all, "delete "+st.head)
		} else {
			all = append(all, "delete "+st.text(limit))
		}
	}
	for _, strange := range s.New.Strange {
		all = append(all, "# "+strange)
	}
	return all
}

// A statement makes one chain, or adds elements to one set.
type statement struct {
	head  string
	body  []string
	chain bool
}

func (s statement) text(limit int) string {
	body, between := s.body, ", "
	if s.chain {
		between = "; "
	}
	if more := len(body) - limit; more > 0 {
		body = append(slices.Clone(body[:limit]), fmt.Sprintf("and %d more", more))
	}
	return s.head + " { " + strings.Join(body, between) + " }"
}

// statements are what would make the ruleset, one element in each.
func (r *Ruleset) statements() []statement {
	var out []statement
	for _, c := range r.Chains {
		out = append(out, statement{"chain inet " + AccessTable + " " + c.Name, c.words(), true})
	}
	element := func(set, text string) {
		out = append(out, statement{head: "element inet " + AccessTable + " " + set, body: []string{text}})
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
	return out
}

// without returns the statements of a that are not in b.
func without(a, b []statement) []statement {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s.text(math.MaxInt)] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(s statement) bool { return in[s.text(math.MaxInt)] })
}

// grouped joins the elements of each set.
func grouped(list []statement) []statement {
	var out []statement
	for _, s := range list {
		i := slices.IndexFunc(out, func(o statement) bool { return o.head == s.head })
		if i < 0 {
			out = append(out, s)
			continue
		}
		out[i].body = append(out[i].body, s.body...)
	}
	return out
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
		ports := netquorum.Ports{Protocol: protocolNames[l.Protocol], Low: l.Low, High: l.High}
		b = append(b, strings.Replace(ports.String(), "/", " dport ", 1))
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
