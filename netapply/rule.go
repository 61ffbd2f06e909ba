package netapply

import "net/netip"

// RulePriority is the place of our rules: before the kernel's rule for VRFs
// (1000) and the main table (32766), after the local table (0).
const RulePriority = 900

// sourceRules send packets from the carrier's addresses to its table.
func sourceRules(c carrier, table uint32) []Rule {
	rules := make([]Rule, len(c.prefixes))
	for i, p := range c.prefixes {
		rules[i] = Rule{RulePriority, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), table}
	}
	return rules
}
