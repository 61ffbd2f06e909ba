package monitor

import (
	"fmt"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
)

// A judge says in which state everything is. It is a function of what it was
// shown, and when: it has no clock and asks nobody. What it remembers are past
// faults, which a later look must not forget.
type judge struct {
	links  map[string]*damper   // by interface
	reach  map[string]*damper   // by alias
	works  map[string]time.Time // aliases whose links work, and since when
	states map[string]Interface // as last said, for Since
	wire   conflicts
}

func newJudge() *judge {
	return &judge{
		links: map[string]*damper{}, reach: map[string]*damper{}, works: map[string]time.Time{},
		states: map[string]Interface{}, wire: conflicts{},
	}
}

// A look is one look at everything.
type look struct {
	*judge
	at     time.Time
	plan   Plan
	kernel *table
	asked  asked
	next   time.Time // when something changes by itself
	said   map[string]*Interface
	out    []*Interface
	ids    counts
}

// counts are how many addresses and routes each link has.
type counts struct{ addresses, routes map[int]int }

func (t *table) counts() counts {
	c := counts{map[int]int{}, map[int]int{}}
	for _, list := range t.addresses {
		for _, a := range list {
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				c.addresses[a.Index]++
			}
		}
	}
	for r := range t.routes {
		c.routes[r.Index]++
	}
	return c
}

// look returns the states at a time, and when to look again if nothing happens;
// zero for never.
func (j *judge) look(at time.Time, plan Plan, kernel *table, asked asked) (Snapshot, time.Time) {
	l := look{judge: j, at: at, plan: plan, kernel: kernel, asked: asked, said: map[string]*Interface{}, ids: kernel.counts()}
	groups := plan.groups(kernel)
	for _, g := range groups {
		l.group(g)
	}
	s := Snapshot{Time: at, Filer: plan.Filer}
	for _, i := range l.out {
		if old, ok := j.states[i.Name]; ok && old.State == i.State {
			i.Since = old.Since
		} else {
			i.Since = at
		}
		s.Interfaces = append(s.Interfaces, *i)
	}
	j.forget(s.Interfaces)
	s.Findings = l.findings(s.Interfaces)
	return s, l.next
}

// forget drops the memory of what is not watched any more.
func (j *judge) forget(now []Interface) {
	clear(j.states)
	for _, i := range now {
		j.states[i.Name] = i
	}
	for _, memory := range []map[string]*damper{j.links, j.reach} {
		for name := range memory {
			if _, ok := j.states[name]; !ok {
				delete(memory, name)
			}
		}
	}
	for name := range j.works {
		if _, ok := j.states[name]; !ok {
			delete(j.works, name)
		}
	}
}

// again asks for another look at a time.
func (l *look) again(at time.Time) {
	if !at.IsZero() && at.After(l.at) && (l.next.IsZero() || at.Before(l.next)) {
		l.next = at
	}
}

func (l *look) note(memory map[string]*damper, name string, bad bool, p pace) verdict {
	d := memory[name]
	if d == nil {
		d = &damper{}
		memory[name] = d
	}
	v := d.note(l.at, bad, p)
	l.again(v.until)
	return v
}

// group says the state of one group. Its members have been said before.
func (l *look) group(g Group) {
	i := &Interface{Name: g.Name, Layer: g.Layer, Below: g.Below}
	link, exists := l.kernel.named(g.Name)
	switch {
	case !exists:
		i.State, i.Reason = Offline, "the kernel has no such link"
	case !link.Up:
		i.State, i.Reason = Offline, "set down"
	default:
		l.link(i, g, link)
	}
	if exists {
		i.Addresses, i.Routes = l.ids.addresses[link.Index], l.ids.routes[link.Index]
	}
	if i.Layer == netquorum.LayerBond || i.Layer == netquorum.LayerFailover {
		l.members(i, g, link)
	}
	if netquorum.InterfaceName(g.Name).IsAlias() {
		l.probe(i)
	}
	l.said[g.Name] = i
	l.out = append(l.out, i)
}

// link says the state of a link that is there and set up, by itself and what it
// stands on.
func (l *look) link(i *Interface, g Group, link Link) {
	i.State = Running
	bad, why := false, ""
	if g.Below != "" {
		if below := l.said[g.Below]; below != nil {
			i.State, i.Reason = on(below.State, below.Name, below.Reason)
		}
	} else if !link.Carrier {
		bad, why = true, "no signal"
	}
	if p := link.Port; p != nil && p.Monitor == MonitorDown && !bad {
		bad, why = true, "its bond's own monitor gave it up"
	}
	v := l.note(l.links, g.Name, bad, pace{l.plan.Timing.LinkRepair})
	i.Faults = v.flaps
	if why == "" {
		why = v.reason
	}
	i.worsen(v.state, why)
	if link.Dormant {
		i.worsen(Up, "waits to be let in")
	}
}

// worsen takes a state over if it is worse.
func (i *Interface) worsen(s State, why string) {
	rank := map[State]int{Running: 0, Up: 1, Failed: 2, Offline: 3}
	if rank[s] > rank[i.State] {
		i.State, i.Reason = s, why
	}
}

// members says the states of members in their group, and the group's by theirs.
func (l *look) members(i *Interface, g Group, bond Link) {
	for _, name := range g.Members {
		said := l.said[name]
		if said == nil {
			said = &Interface{Name: name, State: Offline, Reason: "the kernel has no such link"}
		}
		link, exists := l.kernel.named(name)
		if exists && bond.Index != 0 && link.Master != bond.Index {
			said.worsen(Offline, "not a member of "+g.Name)
		}
		if exists && link.Port != nil && bond.Bond != nil {
			said.idle(g, bond.Bond, link.Port)
		}
		m := Member{Name: name, State: said.State, Reason: said.Reason}
		if bond.Bond.LACP() && link.Port != nil {
			d := l.kernel.details[g.Name][name]
			m.LACP = &Port8023AD{
				Partner: d.Partner, Aggregator: link.Port.Aggregator, PartnerKey: d.PartnerKey, Actor: link.Port.Actor, Partners: link.Port.Partner,
				ActorChurn: d.ActorChurn, PartnerChurn: d.PartnerChurn, Speed: d.Speed, Duplex: d.Duplex,
			}
		}
		if bond.Bond.idles() && link.Port != nil && link.Port.Active && said.State.Works() {
			i.Active = name
		}
		i.Members = append(i.Members, m)
	}
	if b := bond.Bond; b.LACP() {
		i.LACP = &Aggregate{Partner: b.Partner, Aggregator: b.Aggregator, Ports: b.Ports, Fast: b.LACPFast}
	}
	if i.State == Offline {
		return
	}
	state, why := together(i.Members)
	if i.State == Failed && state.Works() {
		// The bond itself has no signal although a member has: min_links, or
		// its own monitor is not through yet.
		if n := bond.Bond; n != nil && n.MinLinks > 1 {
			i.Reason = fmt.Sprintf("%s; min_links is %d", i.Reason, n.MinLinks)
		}
		return
	}
	if i.State != Failed || state != Failed {
		i.worsen(state, why)
		return
	}
	i.Reason = why // tells more than "no signal"
}

// idle marks a member that works and does not carry traffic.
func (i *Interface) idle(g Group, bond *Bond, p *Port) {
	if i.State != Running {
		return
	}
	switch {
	case p.Monitor == MonitorBack:
		i.State, i.Reason = Up, "waits for the bond's up delay"
	case bond.LACP() && p.Aggregator != bond.Aggregator:
		i.State, i.Reason = Inactive, fmt.Sprintf("in aggregator %d, and %d is in use", p.Aggregator, bond.Aggregator)
	case bond.LACP() && !p.Actor.Has(PortCollecting|PortDistributing):
		i.State, i.Reason = Up, "LACP is not through"
	case bond.idles() && !p.Active && g.Primary != "" && g.Primary != i.Name:
		i.State, i.Reason = Standby, g.Primary+" is primary"
	case bond.idles() && !p.Active:
		i.State, i.Reason = Inactive, "another member is in use"
	}
}

// probe says what an alias reaches, as long as its link works: silence behind a
// link without signal says nothing new, and time to answer begins anew when the
// signal is back.
func (l *look) probe(i *Interface) {
	linkWorks := i.State.Works()
	if !linkWorks {
		delete(l.works, i.Name)
	} else if _, ok := l.works[i.Name]; !ok {
		l.works[i.Name] = l.at
	}
	counted, silent := 0, 0
	var names []string
	for _, t := range l.plan.Targets {
		if t.Interface != i.Name {
			continue
		}
		a := l.asked[t.key()]
		state := Answering{Address: t.Address, Reason: t.Reason, State: Never, Answered: a.Answered}
		if len(l.kernel.addresses[t.Address]) > 0 {
			state.State, state.Answered = Here, time.Time{}
			i.Targets = append(i.Targets, state)
			continue
		}
		counts := !a.Answered.IsZero() || t.Reason == Configured && !a.First.IsZero()
		if !a.Answered.IsZero() {
			state.State = Answers
		}
		if counts && linkWorks {
			heard := latest(a.Answered, a.First, l.works[i.Name])
			if !a.Answered.IsZero() {
				heard = latest(a.Answered, l.works[i.Name])
			}
			end := heard.Add(l.plan.Timing.Fault)
			quiet := !l.at.Before(end)
			if quiet && !a.Answered.IsZero() {
				state.State = Silent
			}
			if t.Reason != Management {
				counted++
				if quiet {
					silent++
					names = append(names, t.Address.String())
				}
			}
			l.again(end)
		}
		i.Targets = append(i.Targets, state)
	}
	if !linkWorks || counted == 0 {
		return
	}
	bad := silent == counted
	v := l.note(l.reach, i.Name, bad, pace{l.plan.Timing.Repair})
	why := v.reason
	if bad {
		slices.Sort(names)
		why = fmt.Sprintf("no answer from %s for %v", listed(names), l.plan.Timing.Fault)
	}
	i.Faults = max(i.Faults, v.flaps)
	i.worsen(v.state, why)
}

func latest(times ...time.Time) (out time.Time) {
	for _, t := range times {
		if t.After(out) {
			out = t
		}
	}
	return out
}

// listed names the first few.
func listed(names []string) string {
	const few = 3
	out := ""
	for n, name := range names {
		switch {
		case n == few:
			return fmt.Sprintf("%s and %d more", out, len(names)-few)
		case n > 0:
			out += ", "
		}
		out += name
	}
	return out
}
