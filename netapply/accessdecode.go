package netapply

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// decodeAccess turns what the kernel has in our table back into a ruleset.
// What we could not have written ends up in Strange, so that the ruleset
// differs from every wanted one and is written again.
func decodeAccess(t *nftables.Table, chains []*nftables.Chain, rules map[string][]*nftables.Rule, sets []*nftables.Set, elements map[string][]nftables.SetElement) *Ruleset {
	r := &Ruleset{}
	strange := func(format string, args ...any) { r.Strange = append(r.Strange, fmt.Sprintf(format, args...)) }
	if t.Flags != 0 {
		strange("the table has flags %#x", t.Flags)
	}
	hooked := false
	for _, c := range chains {
		if c.Name == inputChain {
			hooked = c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookInput && c.Type == nftables.ChainTypeFilter &&
				c.Priority != nil && *c.Priority == *nftables.ChainPriorityFilter && c.Policy != nil && *c.Policy == nftables.ChainPolicyAccept
			checkBase(rules[c.Name], strange)
			continue
		}
		if c.Hooknum != nil {
			strange("chain %s has a hook", c.Name)
		}
		chain := Chain{Name: c.Name}
		for i, rule := range rules[c.Name] {
			l, ok := decodeLine(rule)
			if !ok {
				strange("chain %s: rule %d is not netquorum's", c.Name, i)
				continue
			}
			chain.Lines = append(chain.Lines, l)
		}
		r.Chains = append(r.Chains, chain)
	}
	if !hooked {
		strange("the chain %s is missing or hooked otherwise", inputChain)
	}
	known := map[string]bool{}
	for _, s := range accessSets(t) {
		known[s.Name] = true
	}
	for _, s := range sets {
		if !known[s.Name] {
			strange("set %s is not netquorum's", s.Name)
		}
		delete(known, s.Name)
		for _, e := range elements[s.Name] {
			if !r.take(s.Name, e) {
				strange("set %s: element %x is not netquorum's", s.Name, e.Key)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		strange("set %s is missing", name)
	}
	r.sort()
	return r
}

// checkBase compares the hooked chain with what it always is.
func checkBase(have []*nftables.Rule, strange func(string, ...any)) {
	want := accessBase()
	if len(have) != len(want) {
		strange("chain %s has %d rules instead of %d", inputChain, len(have), len(want))
		return
	}
	for i, w := range want {
		if !sameExprs(have[i].Exprs, w.exprs) {
			strange("chain %s: rule %d is not %q", inputChain, i, w.words)
		}
	}
}

// sameExprs compares expressions by what they are on the wire.
func sameExprs(a, b []expr.Any) bool {
	return slices.EqualFunc(a, b, func(a, b expr.Any) bool {
		x, errX := expr.Marshal(unix.NFPROTO_INET, a)
		y, errY := expr.Marshal(unix.NFPROTO_INET, b)
		return errX == nil && errY == nil && bytes.Equal(x, y)
	})
}

// decodeLine reads a line. That it was read right is known by writing it again.
func decodeLine(rule *nftables.Rule) (Line, bool) {
	var l Line
	var loaded expr.Any
	for _, e := range rule.Exprs {
		switch e := e.(type) {
		case *expr.Meta, *expr.Payload, *expr.Bitwise:
			loaded = e
		case *expr.Cmp:
			l.compared(loaded, e.Data)
		case *expr.Range:
			if len(e.FromData) == 2 && len(e.ToData) == 2 {
				l.Low, l.High = binary.BigEndian.Uint16(e.FromData), binary.BigEndian.Uint16(e.ToData)
			}
		case *expr.Verdict:
			words := map[expr.VerdictKind]string{expr.VerdictAccept: "accept", expr.VerdictDrop: "drop", expr.VerdictJump: "jump", expr.VerdictGoto: "goto"}
			l.Verdict = Verdict{words[e.Kind], e.Chain}
		}
	}
	l.Note, _ = userdata.GetString(rule.UserData, userdata.TypeComment)
	return l, l.Verdict.Word != "" && sameExprs(rule.Exprs, l.exprs())
}

// compared takes down what a loaded value is compared with.
func (l *Line) compared(loaded expr.Any, data []byte) {
	switch e := loaded.(type) {
	case *expr.Meta:
		if e.Key == expr.MetaKeyL4PROTO && len(data) == 1 {
			l.Protocol = data[0]
		}
	case *expr.Bitwise:
		if a, ok := netip.AddrFromSlice(data); ok {
			n := 0
			for _, b := range e.Mask {
				n += bits.OnesCount8(b)
			}
			l.From = netip.PrefixFrom(a, n)
		}
	case *expr.Payload:
		if len(data) == 2 {
			l.Low = binary.BigEndian.Uint16(data)
			l.High = l.Low
		}
	}
}

// take adds an element of a set.
func (r *Ruleset) take(set string, e nftables.SetElement) bool {
	if set == "links" {
		chain, ok := goesTo(e)
		r.Links = append(r.Links, GuardedLink{strings.TrimRight(string(e.Key), "\x00"), chain})
		return ok
	}
	a, ok := netip.AddrFromSlice(e.Key)
	if !ok || len(set) < 2 || setFor(set[:len(set)-1], a) != set {
		return false
	}
	switch set[:len(set)-1] {
	case "absent":
		r.Absent = append(r.Absent, a)
	case "peers":
		r.Peers = append(r.Peers, a)
	case "addresses":
		chain, ok := goesTo(e)
		r.Addresses = append(r.Addresses, GuardedAddress{a, chain})
		return ok
	default:
		return false
	}
	return true
}

// goesTo returns the chain that a map's element leads to. The library hands the
// verdict over as the attributes that it is made of.
func goesTo(e nftables.SetElement) (string, bool) {
	if e.VerdictData != nil {
		return e.VerdictData.Chain, e.VerdictData.Kind == expr.VerdictGoto
	}
	var chain string
	var code uint32
	for a, err := range attributes(e.Val) {
		if err != nil {
			return "", false
		}
		switch a.kind {
		case unix.NFTA_VERDICT_CODE:
			if len(a.value) == 4 {
				code = binary.BigEndian.Uint32(a.value)
			}
		case unix.NFTA_VERDICT_CHAIN:
			chain = a.text()
		}
	}
	goes := int32(expr.VerdictGoto)
	return chain, code == uint32(goes) && chain != ""
}
