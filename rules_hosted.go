package netquorum

import (
	"fmt"
	"slices"
	"strings"
)

// checkHosted checks what virtual servers and services have in common: their
// group can host them, and their policy's gateways can be reached.
func checkHosted(cfg Config, c *checker, h Hosted) {
	if h.Group == "" {
		c.add("spec.group", RuleRequired, "is missing; name the filer group whose filers may host it")
	}
	cfg.checkReference(c, "spec.group", KindFilerGroup, h.Group)
	Policies{h.Routes, h.Access}.check(cfg, c, "spec")
	checkEligible(cfg, c, h)
	checkHostMTU(cfg, c, h)
	name, _, from := cfg.RoutesOf(h.Key)
	checkOnLink(cfg, c, name, h.Addresses, from.Fold() != h.Key.Fold())
}

// checkEligible checks N4: some filer of the group has every alias. A group
// without filers is one whose machines have not been described yet.
func checkEligible(cfg Config, c *checker, h Hosted) {
	aliases := slices.DeleteFunc(h.Aliases(), func(a InterfaceName) bool { return a.Layer() == LayerNone })
	var lacking []string
	for d := range cfg.groupFilers(h.Group) {
		missing := cfg.missing(d.Spec.(*Filer), aliases)
		if len(missing) == 0 {
			return
		}
		lacking = append(lacking, d.Name+" lacks "+listOf(missing))
	}
	if len(lacking) > 0 {
		c.add("spec.addresses", RuleNoHost, "no filer of group %s has every alias that it uses: %s; add the aliases to a filer or the group", h.Group, strings.Join(lacking, "; "))
	}
}

// checkHostMTU checks that IPv6 addresses can live on every filer that has
// their alias.
func checkHostMTU(cfg Config, c *checker, h Hosted) {
	for n, a := range h.Addresses {
		if !a.Prefix.Addr().Is6() || a.Prefix.Addr().Is4In6() {
			continue
		}
		for d := range cfg.groupFilers(h.Group) {
			if mtu := cfg.mtu(d.Spec.(*Filer), a.Alias); mtu != 0 && mtu < minMTUIPv6 {
				c.add(fmt.Sprintf("spec.addresses[%d].alias", n), RuleMTUIPv6, "%s of %s has an MTU of %d and IPv6 needs %d; raise that MTU", a.Alias, d.Name, mtu, minMTUIPv6)
			}
		}
	}
}
