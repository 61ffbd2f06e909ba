package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// A Finding is something that works less well than it looks, with what to do
// about it. Findings are comparable, and say the same as long as the cause is
// the same.
type Finding struct {
	Interface string
	Code      FindingCode
	Message   string // what is wrong
	Advice    string // what to do
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s; %s [%s]", f.Interface, f.Message, f.Advice, f.Code)
}

// A FindingCode is the stable name of a kind of finding, for scripts.
type FindingCode string

// The findings; docs/monitor.md has the table.
const (
	NoPartner        FindingCode = "lacp-no-partner"     // nobody speaks LACP opposite
	PartnersDiffer   FindingCode = "lacp-partners"       // the members end at different switches
	NotAggregated    FindingCode = "lacp-not-aggregated" // a member's switch port speaks no LACP
	AggregatorsSplit FindingCode = "lacp-split"          // one switch, several aggregates
	RateDiffers      FindingCode = "lacp-rate"           // the two sides differ in lacp_rate
	OutOfSync        FindingCode = "lacp-churn"          // a member does not get into sync
	SpeedDiffers     FindingCode = "speed"               // members of an aggregate differ
	DuplexDiffers    FindingCode = "duplex"              // members differ, or one is half duplex
	LinkMissing      FindingCode = "link-missing"        // configured, and not in the kernel
	NotMember        FindingCode = "not-a-member"        // a link that should be a member is not
	Flapping         FindingCode = "flapping"            // comes and goes
	TargetSilent     FindingCode = "target-silent"       // a probe target is silent, others answer
	TargetNever      FindingCode = "target-never"        // a probe target has never answered
	NotAskable       FindingCode = "target-not-askable"  // there is no address to ask from
	NoManagement     FindingCode = "vs-mgmt-unreachable" // vs_mgmt does not answer
	DuplicateAddress FindingCode = "duplicate-address"   // somebody else has an address of ours
)

// findings lists what is wrong, in the order of interfaces and codes.
func (l *look) findings(all []Interface) []Finding {
	var out []Finding
	for _, i := range all {
		add := func(code FindingCode, advice, format string, args ...any) {
			out = append(out, Finding{i.Name, code, fmt.Sprintf(format, args...), advice})
		}
		link, exists := l.kernel.named(i.Name)
		if !exists {
			add(LinkMissing, "see the errors in `netquorum status`, and whether the card is in the machine", "the configuration has it, the kernel does not")
		}
		if i.Faults >= flapping {
			add(Flapping, "change cable, transceiver or switch port", "it came and went %d times or more within %v", flapping, faultWindow)
		}
		l.memberFindings(i, link, add)
		if i.LACP != nil {
			lacpFindings(i, add)
		}
		l.targetFindings(i, add)
	}
	out = append(out, l.duplicates()...)
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(out)
}

type addFinding func(code FindingCode, advice, format string, args ...any)

func (l *look) memberFindings(i Interface, bond Link, add addFinding) {
	for _, m := range i.Members {
		link, exists := l.kernel.named(m.Name)
		if exists && bond.Index != 0 && link.Master != bond.Index {
			add(NotMember, "see the errors in `netquorum status`", "%s should be a member and is none", m.Name)
		}
	}
}

// lacpFindings compares what the members of one bond negotiated. Only members
// that are up count: a dead one negotiates nothing.
func lacpFindings(i Interface, add addFinding) {
	var live []Member
	for _, m := range i.Members {
		if m.LACP != nil && m.State.Works() {
			live = append(live, m)
		}
	}
	if len(live) == 0 {
		return
	}
	speedFindings(live, add)
	if i.LACP.Partner.IsZero() && !slices.ContainsFunc(live, func(m Member) bool { return !m.LACP.Partner.IsZero() }) {
		add(NoPartner, "configure an LACP aggregate on the switch ports of "+namesOf(live)+", or give the bond another mode",
			"nobody speaks LACP at the other side: the partner's MAC is 00:00:00:00:00:00, and one member of %d carries traffic", len(i.Members))
		return
	}
	partners := map[netquorum.MAC][]Member{}
	for _, m := range live {
		partners[m.LACP.Partner] = append(partners[m.LACP.Partner], m)
	}
	for _, m := range partners[netquorum.MAC{}] {
		add(NotAggregated, "put its switch port into the aggregate of the others", "%s hears no LACP from its switch port, the other members do", m.Name)
	}
	delete(partners, netquorum.MAC{})
	if len(partners) > 1 {
		add(PartnersDiffer, "connect all members to one switch, or to switches that act as one (MLAG); for two switches use a failover interface of two bonds",
			"the members end at different switches: %s", partnerList(partners))
	}
	for _, mac := range slices.SortedFunc(maps.Keys(partners), compareMACs) {
		partnerFindings(i, mac, partners[mac], add)
	}
}

// partnerFindings looks at the members that end at one partner.
func partnerFindings(i Interface, mac netquorum.MAC, list []Member, add addFinding) {
	aggregators := map[int][]Member{}
	for _, m := range list {
		aggregators[m.LACP.Aggregator] = append(aggregators[m.LACP.Aggregator], m)
	}
	if len(aggregators) > 1 {
		var parts []string
		for _, a := range slices.Sorted(maps.Keys(aggregators)) {
			parts = append(parts, fmt.Sprintf("%s in aggregator %d (partner's key %d)", namesOf(aggregators[a]), a, aggregators[a][0].LACP.PartnerKey))
		}
		add(AggregatorsSplit, "put the switch ports of all members into one aggregate, at one speed",
			"switch %s has the members in different aggregates: %s", mac, strings.Join(parts, ", "))
	}
	for _, m := range list {
		p := m.LACP
		if p.ActorChurn == Churned || p.PartnerChurn == Churned {
			add(OutOfSync, "see what the switch says of the port's LACP state, and whether its aggregate is full",
				"%s does not get into sync with switch %s (actor %s, partner %s)", m.Name, mac, orUnknown(p.ActorChurn), orUnknown(p.PartnerChurn))
		}
		if p.Partners.Has(PortFast) != i.LACP.Fast {
			add(RateDiffers, "give the bond's lacpRate and the switch's LACP rate (time-out) the same value",
				"the bond's rate is %s and the switch's, on %s, is %s: a silent break in one direction is noticed after 3 s at one side and 90 s at the other",
				rate(i.LACP.Fast), m.Name, rate(p.Partners.Has(PortFast)))
		}
	}
}

func speedFindings(live []Member, add addFinding) {
	speeds, duplexes := map[int][]Member{}, map[string][]Member{}
	for _, m := range live {
		if m.LACP.Speed > 0 {
			speeds[m.LACP.Speed] = append(speeds[m.LACP.Speed], m)
		}
		if m.LACP.Duplex != "" {
			duplexes[m.LACP.Duplex] = append(duplexes[m.LACP.Duplex], m)
		}
	}
	if len(speeds) > 1 {
		var parts []string
		for _, s := range slices.Sorted(maps.Keys(speeds)) {
			parts = append(parts, fmt.Sprintf("%s at %d Mbit/s", namesOf(speeds[s]), s))
		}
		add(SpeedDiffers, "bring all members to one speed; LACP aggregates no others", "the members differ in speed: %s", strings.Join(parts, ", "))
	}
	if half := duplexes["half"]; len(half) > 0 {
		add(DuplexDiffers, "let both sides negotiate, or fix both to full duplex", "%s is at half duplex, and LACP aggregates no such link", namesOf(half))
	}
}

func (l *look) targetFindings(i Interface, add addFinding) {
	answering := slices.ContainsFunc(i.Targets, func(t Answering) bool { return t.State == Answers })
	for _, t := range l.plan.Targets {
		n := slices.IndexFunc(i.Targets, func(a Answering) bool { return a.Address == t.Address })
		if t.Interface != i.Name || n < 0 {
			continue
		}
		asked := l.asked[t.key()]
		state := i.Targets[n].State
		// What was asked a moment ago may still answer.
		patience := asked.First.Add(l.plan.Timing.Fault)
		late := !asked.First.IsZero() && !l.at.Before(patience)
		if state == Never && !asked.First.IsZero() {
			l.again(patience)
		}
		switch {
		case !t.OnLink && !t.Source.IsValid() && t.Reason == Configured:
			add(NotAskable, "give the filer an address there, or name a target in a subnet of the alias",
				"%s is in no subnet of it, and the filer has no address on it to send ICMP from", t.Address)
		case t.Reason == Management && i.State.Works() && (state == Silent || state == Never && late):
			add(NoManagement, "compare the VLANs and switch ports of the filers' "+i.Name, "%s does not answer here (%s)", netquorum.ManagementServer, t.Address)
		case state == Silent && answering:
			add(TargetSilent, "see whether it is down; the alias works, as others answer", "%s %s has fallen silent", t.Reason, t.Address)
		case state == Never && late && i.State.Works() && (t.Reason == Gateway || t.Reason == Configured):
			add(TargetNever, "see whether the address is right and its VLAN reaches here; until it answers once, its silence counts for nothing",
				"%s %s has never answered", t.Reason, t.Address)
		}
	}
}

func namesOf(list []Member) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.Name
	}
	return strings.Join(names, ", ")
}

func partnerList(partners map[netquorum.MAC][]Member) string {
	var parts []string
	for _, mac := range slices.SortedFunc(maps.Keys(partners), compareMACs) {
		parts = append(parts, fmt.Sprintf("%s at %s", namesOf(partners[mac]), mac))
	}
	return strings.Join(parts, ", ")
}

func compareMACs(a, b netquorum.MAC) int { return slices.Compare(a[:], b[:]) }

func rate(fast bool) string {
	if fast {
		return "fast"
	}
	return "slow"
}

func orUnknown(c Churn) Churn {
	if c == "" {
		return "unknown"
	}
	return c
}
