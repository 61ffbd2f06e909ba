package netquorum

import (
	"fmt"
	"slices"
	"strings"
)

// A Finding is something an operator should know about a valid configuration.
type Finding struct {
	Document Key         `json:"document"`
	Code     FindingCode `json:"code"`
	Message  string      `json:"message"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s [%s]", f.Document, f.Message, f.Code)
}

// A FindingCode is the stable name of a kind of finding, for scripts.
type FindingCode string

const (
	FindingCannotFailOver FindingCode = "cannot-fail-over" // one filer only has what it needs
	FindingFewerHosts     FindingCode = "fewer-hosts"      // some filer of the group cannot host it
	FindingNoFiler        FindingCode = "no-filer"         // the group has no filers
	FindingOneFiler       FindingCode = "one-filer"        // the group has one filer
	FindingNoGroup        FindingCode = "no-group"         // the filer hosts nothing
	FindingNoAddress      FindingCode = "no-address"       // nothing to reach it by
	FindingNotManaged     FindingCode = "no-mgmt-address"  // vs_mgmt is not where the filers manage
	FindingNoManagement   FindingCode = "no-management"    // the filer has no mgmt alias
	FindingOneMember      FindingCode = "one-member"       // nothing to fail over to
	FindingSameLink       FindingCode = "same-link"        // members that fail together
	FindingMTUUnset       FindingCode = "mtu-unset"        // an MTU that the link below may not have
	FindingUnused         FindingCode = "unused"           // nothing names it
	FindingMembersVLAN    FindingCode = "members-vlan"     // members in different VLANs
	FindingAliasVLAN      FindingCode = "alias-vlan"       // one name, different VLANs
	FindingNoFilerOf      FindingCode = "member-without-filer"

	FindingRoutesUnreached FindingCode = "routes-unreached" // inherited routes that lead nowhere
	FindingNeverMatches    FindingCode = "never-matches"    // a rule that decides nothing
)

// Findings lists what is allowed but probably not wanted, in the order of the
// documents.
func (c Config) Findings() []Finding {
	var out []Finding
	for d := range c.Documents() {
		add := func(code FindingCode, format string, args ...any) {
			out = append(out, Finding{d.Key(), code, fmt.Sprintf(format, args...)})
		}
		switch s := d.Spec.(type) {
		case *Routes:
			if !c.used(d.Key()) {
				add(FindingUnused, "no filer, group, virtual server or service names this policy")
			}
		case *Application:
			if _, known := builtin(d.Name); !known && !c.used(d.Key()) && s.Class == "" {
				add(FindingUnused, "no access policy names this application, and it is in no class")
			}
		case *Access:
			if !c.used(d.Key()) {
				add(FindingUnused, "no filer, group, virtual server or service has this policy")
			}
			c.findAccess(d.Name, s, add)
		case *FilerGroup:
			c.findGroup(d.Key(), add)
		case *Filer:
			c.findFiler(s, add)
		case *VirtualServer, *Service:
			c.findHosted(hosted(d), add)
			c.findRoutes(hosted(d), add)
		case *Member:
			if _, ok := c.Filer(d.Name); !ok {
				add(FindingNoFilerOf, "the filer is a member of the cluster and has no Filer document; add one, or remove the member")
			}
		}
	}
	return out
}

type addFinding func(code FindingCode, format string, args ...any)

func (c Config) used(k Key) bool {
	for range c.usersOf(string(docPath(k))) {
		return true
	}
	return false
}

func (c Config) findGroup(k Key, add addFinding) {
	c.findAliasVLAN(k.Name, add)
	hosts := func() (n int) {
		for _, kind := range []Kind{KindVirtualServer, KindService} {
			for range c.usersOfKind(string(docPath(k)), kind) {
				n++
			}
		}
		return n
	}
	switch n := c.groupSize(k.Name); {
	case !c.used(k):
		add(FindingUnused, "no filer, virtual server or service is in this group")
	case n == 0:
		add(FindingNoFiler, "the group has no filers; its %d virtual servers and services are hosted nowhere", hosts())
	case n == 1 && hosts() > 0:
		add(FindingOneFiler, "the group has one filer; its %d virtual servers and services cannot fail over", hosts())
	}
}

func (c Config) findFiler(f *Filer, add addFinding) {
	if f.Group == "" {
		add(FindingNoGroup, "the filer is in no group and hosts no virtual server")
	}
	all := c.effective(f)
	findMembersVLAN(all, add)
	if !slices.ContainsFunc(all, func(i Interface) bool { return i.Name.Stem() == "mgmt" }) {
		add(FindingNoManagement, "the filer has no mgmt alias, so that it cannot be reached for management")
	}
	for _, i := range all {
		if layer := i.Name.Layer(); len(i.Members) == 1 && (layer == LayerBond || layer == LayerFailover) {
			add(FindingOneMember, "%s has the one member %s; when that fails, all on %s fails", i.Name, i.Members[0], i.Name)
		}
		if link, ok := sameLink(all, i); ok {
			add(FindingSameLink, "all members of %s are on %s and fail with it", i.Name, link)
		}
		for _, b := range i.below() {
			if i.MTU > 1500 && b.Layer() == LayerPhysical && i.Name.Layer() != LayerBond && i.Name.Layer() != LayerFailover && EffectiveMTU(all, b) == 0 {
				add(FindingMTUUnset, "%s asks for an MTU of %d and %s below it for none, which usually means 1500; list %s with an mtu", i.Name, i.MTU, b, b)
			}
		}
	}
}

// sameLink reports the physical interface or bond on which all members of a
// failover interface are.
func sameLink(all []Interface, i Interface) (InterfaceName, bool) {
	if i.Name.Layer() != LayerFailover || len(i.Members) < 2 {
		return "", false
	}
	roots := map[InterfaceName]bool{}
	for _, m := range i.Members {
		root, _, _ := strings.Cut(string(m), ".")
		roots[InterfaceName(root)] = true
	}
	for root := range roots {
		return root, len(roots) == 1
	}
	return "", false
}

func (c Config) findHosted(h Hosted, add addFinding) {
	if len(h.Addresses) == 0 {
		add(FindingNoAddress, "it has no address")
	}
	if strings.EqualFold(h.Key.Name, ManagementServer) &&
		!slices.ContainsFunc(h.Addresses, func(a HostedAddress) bool { return a.Alias.Stem() == "mgmt" }) {
		add(FindingNotManaged, "it has no address on a mgmt alias, where every filer could reach it")
	}
	candidates := c.Candidates(h)
	var can, lacking []string
	for _, f := range candidates {
		if f.Eligible() {
			can = append(can, f.Filer)
		} else {
			lacking = append(lacking, f.Filer+" lacks "+listOf(f.Missing))
		}
	}
	switch {
	case len(candidates) < 2 || len(lacking) == 0: // of one filer the group's finding tells
	case len(can) == 1:
		add(FindingCannotFailOver, "only %s can host it, and it cannot fail over: %s", can[0], strings.Join(lacking, "; "))
	default:
		add(FindingFewerHosts, "not every filer of group %s can host it: %s", h.Group, strings.Join(lacking, "; "))
	}
}
