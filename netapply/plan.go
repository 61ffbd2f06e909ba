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

	links  map[string]*ObservedLink
	rules  map[Rule]bool
	access *Ruleset

	// A server may have a thousand addresses and routes: each is looked up once,
	// and its entry says the rest.
	addresses map[addressKey]*plannedAddress
	routes    map[Route]*plannedRoute
	found     []plannedAddress // what there was at first, in its order
	foundOn   map[string]contents
	taken     map[routeKey]int // routes by what the kernel tells them apart by

	standing map[string][]*ObservedLink // on a link; those made since are added
	going    map[string]bool            // answers of leaving
}

type plannedAddress struct {
	ObservedAddress
	there, wanted bool
}

type plannedRoute struct{ there, wanted bool }

// contents are what a link had at first.
type contents struct {
	addresses []*plannedAddress
	routes    []Route
}

func newPlanner(want Desired, have Observed) *planner {
	p := &planner{
		want: want, have: have,
		wanted:    make(map[string]Link, len(want.Links)),
		failed:    map[string]bool{},
		failures:  slices.Clone(want.Problems),
		links:     make(map[string]*ObservedLink, len(have.Links)),
		rules:     make(map[Rule]bool, len(have.Rules)),
		addresses: make(map[addressKey]*plannedAddress, max(len(have.Addresses), len(want.Addresses))),
		routes:    make(map[Route]*plannedRoute, max(len(have.Routes), len(want.Routes))),
		found:     make([]plannedAddress, len(have.Addresses)),
		standing:  map[string][]*ObservedLink{},
		going:     map[string]bool{},
	}
	for _, l := range want.Links {
		p.wanted[l.Name] = l
	}
	links := slices.Clone(have.Links)
	for i := range links {
		l := &links[i]
		p.links[l.Name] = l
		p.standing[l.Parent] = append(p.standing[l.Parent], l)
	}
	for i, a := range have.Addresses {
		p.found[i] = plannedAddress{ObservedAddress: a, there: true}
		p.addresses[a.key()] = &p.found[i]
	}
	routes := make([]plannedRoute, len(have.Routes))
	for i, r := range have.Routes {
		routes[i].there = true
		p.routes[r] = &routes[i]
	}
	for _, r := range have.Rules {
		p.rules[r] = true
	}
	p.mtus = p.planMTUs()
	missing := len(want.Addresses) + len(want.Routes) + len(want.Rules) - len(have.Addresses) - len(have.Routes) - len(have.Rules)
	if missing > 0 {
		p.steps = make([]Step, 0, missing+4*len(want.Links))
	}
	return p
}

// on is what a link had at first.
func (p *planner) on(link string) contents {
	if p.foundOn == nil { // most plans change no link
		p.foundOn = map[string]contents{}
		for i := range p.found {
			a := &p.found[i]
			c := p.foundOn[a.Link]
			c.addresses = append(c.addresses, a)
			p.foundOn[a.Link] = c
		}
		for _, r := range p.have.Routes {
			c := p.foundOn[r.Link]
			c.routes = append(c.routes, r)
			p.foundOn[r.Link] = c
		}
	}
	return p.foundOn[link]
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
		is := p.addresses[a.key()]
		if is == nil {
			is = &plannedAddress{}
			p.addresses[a.key()] = is
		}
		is.wanted = true
		if !p.usable(a.Link) {
			p.fail(addressObject(a), "needs link %s", a.Link)
			continue
		}
		if a.Prefix.Addr().Is6() && !p.have.IPv6 {
			p.fail(addressObject(a), "%w", errNoIPv6)
			continue
		}
		if is.there && is.Prefix == a.Prefix {
			continue // whoever made it
		}
		if is.there {
			// IPv6 only: the kernel has no second entry for one address with
			// another subnet, so this is the one address that goes before it comes.
			p.emit(DelAddress{Address{Link: is.Link, Prefix: is.Prefix}})
		}
		p.emit(AddAddress{a})
		is.ObservedAddress, is.there = ObservedAddress{a.Link, a.Prefix, Protocol}, true
	}
}

func (p *planner) addRoutes(on func(link string) bool) {
	for _, r := range p.want.Routes {
		if !on(r.Link) {
			continue
		}
		is := p.routes[r]
		if is != nil {
			is.wanted = true
		}
		switch {
		case is != nil && is.there, r.To.Addr().Is6() && !p.have.IPv6,
			r.Link != "" && !p.usable(r.Link): // the link's failure says it all
			continue
		case is == nil:
			is = &plannedRoute{wanted: true}
			p.routes[r] = is
		}
		p.emit(AddRoute{Route: r, Beside: p.standsBeside(r)})
		is.there = true
	}
}

// standsBeside reports whether there is another route with the same key, of
// before: no two are wanted.
func (p *planner) standsBeside(r Route) bool {
	if len(p.have.Routes) == 0 {
		return false
	}
	if p.taken == nil {
		p.taken = make(map[routeKey]int, len(p.routes))
		for o, is := range p.routes {
			if is.there {
				p.taken[o.key()]++
			}
		}
	}
	return p.taken[r.key()] > 0
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
	for _, r := range p.have.Routes {
		if is := p.routes[r]; is.there && !is.wanted && !p.leaving(r.Link) {
			p.emit(DelRoute{r})
		}
	}
}

func (p *planner) delAddresses() {
	// The list is in the kernel's order, primary addresses first. Removing
	// from the end never promotes an address that goes next.
	for i, a := range slices.Backward(p.have.Addresses) {
		is := &p.found[i]
		if is.wanted || !is.there {
			continue
		}
		if l := p.links[a.Link]; l != nil && !p.leaving(a.Link) && p.have.oursAddress(a, l.Ours()) {
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
