package netapply

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Plan returns the steps that turn what is there into what is wanted, and the
// objects that cannot be had. No steps means that the kernel matches. It is
// pure.
//
// The order of steps:
//
//  0. The rules of access policies, so that no address is here without them.
//  1. Links are made and changed from the lowest layer up, each with everything
//     that belongs to it before the next. An alias or port that must
//     be made again is made beside the old one, takes its place, and has its
//     addresses and routes at once; members of a bond that carry such links
//     enter when these have moved. What else stands in the way is removed at
//     that moment and not before, so that the addresses above are away for as
//     short as possible.
//  2. New addresses, then routes, then rules: a route needs its source address
//     and its gateway's subnet, and a rule must not lead to an empty table.
//  3. Only then what is no longer wanted goes, in the opposite order. An
//     interface whose addresses change has the new ones before it loses the
//     old, and a rule never points to a table that was emptied before. Last of
//     all go the access rules of what went.
func Plan(want Desired, have Observed) ([]Step, []ObjectError) {
	p := newPlanner(want, have)
	p.guard()
	p.global()
	for _, l := range want.Links {
		p.link(l)
	}
	p.lateMembers()
	p.addAddresses(anyLink)
	p.addRoutes(anyLink)
	p.addRules()
	p.delRules()
	p.delRoutes()
	p.delAddresses()
	p.delLinks()
	p.giveBack()
	p.unguard()
	return p.steps, p.failures
}

// A planner writes steps and keeps the state that the kernel will have after
// them.
type planner struct {
	want Desired
	have Observed

	wanted   map[string]Link // by name
	mtus     map[string]int  // what every wanted link should have; 0: as it is
	failed   map[string]bool // links that cannot be had
	late     []string        // members that enter their bonds when all links are made
	after    []string        // why links are removed now, if not because they are unwanted
	steps    []Step
	failures []ObjectError

	links     map[string]*ObservedLink
	addresses map[addressKey]ObservedAddress
	routes    map[Route]bool
	rules     map[Rule]bool
	access    *Ruleset

	// What there was at first, by link: a server may have a thousand addresses.
	standing    map[string][]*ObservedLink // on a link; those made since are added
	addressesOn map[string][]addressKey
	routesOn    map[string][]Route
	going       map[string]bool // answers of leaving
}

func newPlanner(want Desired, have Observed) *planner {
	p := &planner{
		want: want, have: have,
		wanted:    make(map[string]Link, len(want.Links)),
		failed:    map[string]bool{},
		failures:  slices.Clone(want.Problems),
		links:     make(map[string]*ObservedLink, len(have.Links)),
		addresses: make(map[addressKey]ObservedAddress, len(have.Addresses)),
		routes:    make(map[Route]bool, len(have.Routes)),
		rules:     make(map[Rule]bool, len(have.Rules)),

		standing:    map[string][]*ObservedLink{},
		addressesOn: map[string][]addressKey{},
		routesOn:    map[string][]Route{},
		going:       map[string]bool{},
	}
	for _, l := range want.Links {
		p.wanted[l.Name] = l
	}
	for _, l := range have.Links {
		p.links[l.Name] = &l
		p.standing[l.Parent] = append(p.standing[l.Parent], &l)
	}
	for _, a := range have.Addresses {
		p.addresses[a.key()] = a
		p.addressesOn[a.Link] = append(p.addressesOn[a.Link], a.key())
	}
	for _, r := range have.Routes {
		p.routes[r] = true
		p.routesOn[r.Link] = append(p.routesOn[r.Link], r)
	}
	for _, r := range have.Rules {
		p.rules[r] = true
	}
	p.mtus = p.planMTUs()
	return p
}

func (p *planner) emit(s Step) { p.steps = append(p.steps, s) }

func (p *planner) fail(object string, format string, args ...any) {
	p.failures = append(p.failures, ObjectError{object, fmt.Errorf(format, args...)})
}

// failLink gives a link up; what needs it is given up in its turn.
func (p *planner) failLink(name, format string, args ...any) {
	p.failed[name] = true
	p.fail(linkObject(name), format, args...)
}

// usable reports whether the link will be there, as wanted, after the steps so
// far.
func (p *planner) usable(name string) bool { return p.links[name] != nil && !p.failed[name] }

var errNoIPv6 = errors.New("this kernel has no IPv6")

func anyLink(string) bool { return true }

func (p *planner) addAddresses(on func(link string) bool) {
	for _, a := range p.want.Addresses {
		if !on(a.Link) {
			continue
		}
		if !p.usable(a.Link) {
			p.fail(addressObject(a), "needs link %s", a.Link)
			continue
		}
		if a.Prefix.Addr().Is6() && !p.have.IPv6 {
			p.fail(addressObject(a), "%w", errNoIPv6)
			continue
		}
		old, there := p.addresses[a.key()]
		if there && old.Prefix == a.Prefix {
			continue // whoever made it
		}
		if there {
			// IPv6 only: the kernel has no second entry for one address with
			// another subnet, so this is the one address that goes before it comes.
			p.emit(DelAddress{Address{Link: old.Link, Prefix: old.Prefix}})
		}
		p.emit(AddAddress{a})
		p.addresses[a.key()] = ObservedAddress{a.Link, a.Prefix, Protocol}
	}
}

func (p *planner) addRoutes(on func(link string) bool) {
	taken := make(map[routeKey]bool, len(p.routes))
	for r := range p.routes {
		taken[r.key()] = true
	}
	for _, r := range p.want.Routes {
		if !on(r.Link) || p.routes[r] || r.To.Addr().Is6() && !p.have.IPv6 {
			continue
		}
		if r.Link != "" && !p.usable(r.Link) {
			continue // the link's failure says it all
		}
		p.emit(AddRoute{Route: r, Beside: taken[r.key()]})
		p.routes[r] = true
	}
}

func (p *planner) addRules() {
	for _, r := range p.want.Rules {
		if p.rules[r] || r.From.Addr().Is6() && !p.have.IPv6 {
			continue
		}
		p.emit(AddRule{r})
		p.rules[r] = true
	}
}

func (p *planner) delRules() {
	wanted := make(map[Rule]bool, len(p.want.Rules))
	for _, r := range p.want.Rules {
		wanted[r] = true
	}
	for _, r := range p.have.Rules {
		if !wanted[r] {
			p.emit(DelRule{r})
		}
	}
}

func (p *planner) delRoutes() {
	wanted := make(map[Route]bool, len(p.want.Routes))
	for _, r := range p.want.Routes {
		wanted[r] = true
	}
	for _, r := range p.have.Routes {
		if p.routes[r] && !wanted[r] && !p.leaving(r.Link) {
			p.emit(DelRoute{r})
		}
	}
}

func (p *planner) delAddresses() {
	wanted := make(map[addressKey]bool, len(p.want.Addresses))
	for _, a := range p.want.Addresses {
		wanted[a.key()] = true
	}
	// The list is in the kernel's order, primary addresses first. Removing
	// from the end never promotes an address that goes next.
	for _, a := range slices.Backward(p.have.Addresses) {
		l := p.links[a.Link]
		if l == nil || wanted[a.key()] || p.leaving(a.Link) || !p.have.oursAddress(a, l.Ours()) {
			continue
		}
		if cur, there := p.addresses[a.key()]; there && cur == a {
			p.emit(DelAddress{Address{Link: a.Link, Prefix: a.Prefix}})
		}
	}
}

// leaving reports whether the link goes in the last phase and takes with it
// what is on it.
func (p *planner) leaving(name string) bool {
	answer, known := p.going[name]
	if !known {
		_, wanted := p.wanted[name]
		l := p.links[name]
		answer = l != nil && l.Ours() && !wanted && p.foreignAbove(name) == ""
		p.going[name] = answer
	}
	return answer
}

func (p *planner) delLinks() {
	unwanted := []*ObservedLink{}
	for name, l := range p.links {
		if _, wanted := p.wanted[name]; !wanted && l.Ours() {
			unwanted = append(unwanted, l)
		}
	}
	// The newest first: what stands on others was made after them.
	slices.SortFunc(unwanted, func(a, b *ObservedLink) int { return cmp.Compare(b.Index, a.Index) })
	for _, l := range unwanted {
		if p.links[l.Name] != nil {
			p.remove(l.Name)
		}
	}
}
