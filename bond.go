package netquorum

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// DefaultMiimon is how often a bond looks at its members' links, in
// milliseconds, when nothing else is said. The kernel's own default is never.
const DefaultMiimon = 100

// EffectiveMode returns the bond's mode. It may be called on nil, a bond
// without options.
func (b *Bond) EffectiveMode() BondMode {
	if b == nil || b.Mode == "" {
		return Mode8023AD
	}
	return b.Mode
}

// EffectiveMiimon returns the interval of looking at links, in milliseconds; 0
// when ARP probes are used instead. It may be called on nil.
func (b *Bond) EffectiveMiimon() int {
	if b == nil {
		return DefaultMiimon
	}
	return effectiveMiimon(b.Miimon, b.ARPInterval)
}

// EffectiveMiimon returns the interval of looking at links, in milliseconds; 0
// when ARP probes are used instead. It may be called on nil.
func (f *Failover) EffectiveMiimon() int {
	if f == nil {
		return DefaultMiimon
	}
	return effectiveMiimon(f.Miimon, f.ARPInterval)
}

func effectiveMiimon(miimon, arpInterval int) int {
	if miimon == 0 && arpInterval == 0 {
		return DefaultMiimon
	}
	return miimon
}

// The values that the kernel takes, in its numbering (index = number).
var (
	lacpRates         = []string{"slow", "fast"}
	adSelects         = []string{"stable", "bandwidth", "count"}
	xmitHashPolicies  = []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}
	primaryReselects  = []string{"always", "better", "failure"}
	failOverMACs      = []string{"none", "active", "follow"}
	arpValidates      = []string{"none", "active", "backup", "all", "filter", "filter_active", "filter_backup"}
	arpAllTargets     = []string{"any", "all"}
	maxMilliseconds   = 3_600_000
	maxPeerNotifDelay = 300_000
	maxLPInterval     = 1<<31 - 1
	maxARPTargets     = 16 // BOND_MAX_ARP_TARGETS, and the same for IPv6
	modesWithPrimary  = []BondMode{ModeActiveBackup, ModeBalanceTLB, ModeBalanceALB}
	modesWithHash     = []BondMode{ModeBalanceXOR, Mode8023AD, ModeBalanceTLB}
	modesWithoutProbe = []BondMode{Mode8023AD, ModeBalanceTLB, ModeBalanceALB}
	modesWithLearning = []BondMode{ModeBalanceTLB, ModeBalanceALB}
	modesWithIGMP     = []BondMode{ModeBalanceRR, ModeActiveBackup, ModeBalanceTLB, ModeBalanceALB}
	modesWithInactive = []BondMode{ModeActiveBackup, Mode8023AD, ModeBalanceTLB, ModeBalanceALB}
)

func (b *Bond) check(c *checker, field string, members []InterfaceName) {
	mode := b.EffectiveMode()
	if !slices.Contains(BondModes, mode) {
		c.add(field+".mode", RuleOptionValue, "%q is no bonding mode; the kernel has %s", mode, listOf(BondModes))
		return
	}
	checkWord(c, field+".lacpRate", b.LACPRate, lacpRates)
	checkWord(c, field+".adSelect", b.ADSelect, adSelects)
	checkWord(c, field+".xmitHashPolicy", b.XmitHashPolicy, xmitHashPolicies)
	checkRange(c, field+".minLinks", b.MinLinks, len(members), fmt.Sprintf("%d members are there", len(members)))
	checkRange(c, field+".adPriority", b.ADPriority, 65535, "the kernel takes no more than 65535")
	checkRange(c, field+".adUserPortKey", b.ADUserPortKey, 1023, "the kernel takes no more than 1023")
	if b.ADSystem != nil && (b.ADSystem.IsZero() || b.ADSystem.Multicast()) {
		c.add(field+".adSystem", RuleOptionValue, "%s is no unicast MAC address", b.ADSystem)
	}
	checkWord(c, field+".arpAllTargets", b.ARPAllTargets, arpAllTargets)
	checkRange(c, field+".missedMax", b.MissedMax, 255, "the kernel takes no more than 255")
	checkRange(c, field+".lpInterval", b.LPInterval, maxLPInterval, "the kernel takes no more")
	if b.PacketsPerSlave != nil {
		checkRange(c, field+".packetsPerSlave", *b.PacketsPerSlave, 65535, "the kernel takes no more than 65535")
	}
	if b.ARPAllTargets != "" && (b.ARPValidate == "" || b.ARPValidate == "none") {
		c.add(field+".arpAllTargets", RuleOptionCombination, "counts answers, which only arpValidate looks at; add that or remove it")
	}
	if b.MissedMax != 0 && b.ARPInterval == 0 {
		c.add(field+".missedMax", RuleOptionCombination, "counts ARP probes, which there are with arpInterval only; add that or remove it")
	}
	b.checkMode(c, field, mode)
	shared{
		b.Miimon, b.UpDelay, b.DownDelay, b.ARPInterval, b.PeerNotifDelay, b.ARPTargets, b.ARPValidate,
		b.Primary, b.PrimaryReselect, b.FailOverMAC, b.NumGratARP, b.ResendIGMP,
	}.check(c, field, members)
}

// checkMode refuses options that the mode would ignore or the kernel refuse.
func (b *Bond) checkMode(c *checker, field string, mode BondMode) {
	only8023AD := []BondMode{Mode8023AD}
	for _, o := range []struct {
		name  string
		set   bool
		modes []BondMode
	}{
		{"lacpRate", b.LACPRate != "", only8023AD},
		{"lacpActive", b.LACPActive != nil, only8023AD},
		{"minLinks", b.MinLinks != 0, only8023AD},
		{"adSelect", b.ADSelect != "", only8023AD},
		{"adSystem", b.ADSystem != nil, only8023AD},
		{"adPriority", b.ADPriority != 0, only8023AD},
		{"adUserPortKey", b.ADUserPortKey != 0, only8023AD},
		{"xmitHashPolicy", b.XmitHashPolicy != "", modesWithHash},
		{"primary", b.Primary != "", modesWithPrimary},
		{"failOverMac", b.FailOverMAC != "", []BondMode{ModeActiveBackup}},
		{"numGratArp", b.NumGratARP != nil, []BondMode{ModeActiveBackup}},
		{"peerNotifDelay", b.PeerNotifDelay != 0, []BondMode{ModeActiveBackup}},
		{"resendIgmp", b.ResendIGMP != nil, modesWithIGMP},
		{"allSlavesActive", b.AllSlavesActive, modesWithInactive},
		{"lpInterval", b.LPInterval != 0, modesWithLearning},
		{"tlbDynamicLb", b.TLBDynamicLB != nil, modesWithLearning},
		{"packetsPerSlave", b.PacketsPerSlave != nil, []BondMode{ModeBalanceRR}},
	} {
		if o.set && !slices.Contains(o.modes, mode) {
			c.add(field+"."+o.name, RuleOptionCombination, "goes with mode %s only, not with %s; remove it or change the mode", listOf(o.modes), mode)
		}
	}
	if b.ARPInterval != 0 && slices.Contains(modesWithoutProbe, mode) {
		c.add(field+".arpInterval", RuleOptionCombination, "does not go with mode %s; use miimon", mode)
	}
}

func (f *Failover) check(c *checker, field string, members []InterfaceName) {
	shared{
		f.Miimon, f.UpDelay, f.DownDelay, f.ARPInterval, f.PeerNotifDelay, f.ARPTargets, f.ARPValidate,
		f.Primary, f.PrimaryReselect, f.FailOverMAC, f.NumGratARP, f.ResendIGMP,
	}.check(c, field, members)
}

// shared are the options that bonds and failover interfaces have in common.
type shared struct {
	miimon, upDelay, downDelay, arpInterval, peerNotifDelay int

	arpTargets            []netip.Addr
	arpValidate           string
	primary               InterfaceName
	reselect, failOverMAC string
	numGratARP, igmp      *int
}

func (s shared) check(c *checker, field string, members []InterfaceName) {
	checkWord(c, field+".primaryReselect", s.reselect, primaryReselects)
	checkWord(c, field+".failOverMac", s.failOverMAC, failOverMACs)
	checkWord(c, field+".arpValidate", s.arpValidate, arpValidates)
	const why = "an hour is the most"
	checkRange(c, field+".miimon", s.miimon, maxMilliseconds, why)
	checkRange(c, field+".upDelay", s.upDelay, maxMilliseconds, why)
	checkRange(c, field+".downDelay", s.downDelay, maxMilliseconds, why)
	checkRange(c, field+".arpInterval", s.arpInterval, maxMilliseconds, why)
	checkRange(c, field+".peerNotifDelay", s.peerNotifDelay, maxPeerNotifDelay, "five minutes are the most")
	if s.numGratARP != nil {
		checkRange(c, field+".numGratArp", *s.numGratARP, 255, "the kernel takes no more than 255")
	}
	if s.igmp != nil {
		checkRange(c, field+".resendIgmp", *s.igmp, 255, "the kernel takes no more than 255")
	}
	if s.primary != "" && !slices.Contains(members, s.primary) {
		c.add(field+".primary", RulePrimaryMember, "%s is no member; the members are %s", s.primary, listOf(members))
	}
	if s.reselect != "" && s.primary == "" {
		c.add(field+".primaryReselect", RuleOptionCombination, "means nothing without primary; add primary or remove it")
	}
	s.checkProbes(c, field)
}

// checkProbes checks how dead members are noticed: by their link or by ARP.
func (s shared) checkProbes(c *checker, field string) {
	if s.arpInterval != 0 && s.miimon != 0 {
		c.add(field+".arpInterval", RuleOptionCombination, "does not go with miimon; keep one of the two")
	}
	if s.arpInterval != 0 && len(s.arpTargets) == 0 {
		c.add(field+".arpTargets", RuleOptionCombination, "arpInterval needs addresses to ask for; name at least one")
	}
	if s.arpInterval == 0 && len(s.arpTargets) > 0 {
		c.add(field+".arpTargets", RuleOptionCombination, "mean nothing without arpInterval; add it or remove them")
	}
	if s.arpValidate != "" && s.arpInterval == 0 {
		c.add(field+".arpValidate", RuleOptionCombination, "looks at ARP probes, which there are with arpInterval only; add that or remove it")
	}
	families := map[bool]int{}
	for i, a := range s.arpTargets {
		at := fmt.Sprintf("%s.arpTargets[%d]", field, i)
		if why := notUnicast(a); why != "" {
			c.add(at, RuleOptionValue, "%s", why)
		}
		if slices.Index(s.arpTargets, a) < i {
			c.add(at, RuleOptionValue, "%s stands there twice; remove one", a)
		}
		if families[a.Is4()]++; families[a.Is4()] == maxARPTargets+1 {
			c.add(at, RuleOptionValue, "the kernel takes %d targets of one family at most", maxARPTargets)
		}
	}
	miimon := effectiveMiimon(s.miimon, s.arpInterval)
	for _, d := range []struct {
		name  string
		value int
	}{{"upDelay", s.upDelay}, {"downDelay", s.downDelay}, {"peerNotifDelay", s.peerNotifDelay}} {
		switch {
		case d.value > 0 && miimon == 0:
			c.add(field+"."+d.name, RuleOptionCombination, "works with miimon only, not with arpInterval; remove it")
		case d.value > 0 && miimon > 0 && d.value%miimon != 0:
			c.add(field+"."+d.name, RuleOptionCombination, "%d is no multiple of miimon (%d), and the kernel would round it down", d.value, miimon)
		}
	}
}

func checkWord(c *checker, field, value string, allowed []string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.add(field, RuleOptionValue, "%q is none of %s", value, listOf(allowed))
	}
}

func checkRange(c *checker, field string, value, most int, why string) {
	if value < 0 {
		c.add(field, RuleOptionValue, "%d is negative", value)
	} else if value > most {
		c.add(field, RuleOptionValue, "%d is too much: %s", value, why)
	}
}

func listOf[S ~string](words []S) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return strings.Join(out, ", ")
}
