package rollout

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// View is what a filer follows now: the configuration itself when no rollout is
// open. A filer that is in the middle of its own step follows what was before:
// this is what it boots with when the step was cut short.
//
// In the view, every filer's mgmt addresses are the old and the new ones
// together, so that who follows it also dials both.
func View(c netquorum.Config, filer string) netquorum.Config { return view(c, filer, false) }

// Ahead is View for a filer that makes its step just now.
func Ahead(c netquorum.Config, filer string) netquorum.Config { return view(c, filer, true) }

func view(c netquorum.Config, filer string, ahead bool) netquorum.Config {
	_, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return c
	}
	s, problems := sidesOf(c, r)
	if len(problems) > 0 {
		return c
	}
	side, other := s.from, s.to
	if arrived(r, filer, ahead) {
		side, other = s.to, s.from
	}
	together, problems := joint(side, other)
	if len(problems) > 0 {
		return side
	}
	return together
}

// arrived reports whether a filer has got to where the rollout leads. One that
// has nothing to change is there as soon as everybody knows of the rollout.
func arrived(r *netquorum.Rollout, filer string, ahead bool) bool {
	switch step, ok := stepOf(r, filer); {
	case !ok:
		return r.Phase != netquorum.RolloutJoint
	case step.State == netquorum.StepApplying:
		return ahead
	default:
		return step.State == netquorum.StepDone
	}
}

func stepOf(r *netquorum.Rollout, filer string) (netquorum.RolloutStep, bool) {
	i := stepIndex(r, filer)
	if i < 0 {
		return netquorum.RolloutStep{}, false
	}
	return r.Steps[i], true
}

func stepIndex(r *netquorum.Rollout, filer string) int {
	return slices.IndexFunc(r.Steps, func(s netquorum.RolloutStep) bool { return strings.EqualFold(s.Filer, filer) })
}

// joint adds to each filer of one side the mgmt addresses that it has on the
// other. An alias that only the other side has is added with what it stands on,
// as long as that takes nothing away.
func joint(side, other netquorum.Config) (netquorum.Config, netquorum.Problems) {
	var puts []netquorum.Document
	for d := range side.All(netquorum.KindFiler) {
		if _, ok := other.Filer(d.Name); !ok {
			continue
		}
		if spec, more := jointFiler(d.Spec.(*netquorum.Filer), side.Interfaces(d.Name), other.Interfaces(d.Name)); more {
			d.Spec = spec
			puts = append(puts, d)
		}
	}
	if len(puts) == 0 {
		return side, nil
	}
	return side.Change(puts, nil)
}

func jointFiler(f *netquorum.Filer, mine, others []netquorum.Interface) (*netquorum.Filer, bool) {
	j := jointInterfaces{own: slices.Clone(f.Interfaces), mine: mine, others: others}
	have := map[netip.Addr]bool{}
	for _, i := range mine {
		for _, p := range i.Addresses {
			have[p.Addr()] = true
		}
	}
	more := false
	for _, o := range others {
		if o.Name.Stem() != "mgmt" {
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(o.Addresses), func(p netip.Prefix) bool { return have[p.Addr()] })
		if len(missing) == 0 {
			continue
		}
		more = true
		at := j.need(o.Name)
		j.own[at].Addresses = append(slices.Clone(j.own[at].Addresses), missing...)
	}
	out := *f
	out.Interfaces = j.own
	return &out, more
}

// jointInterfaces are a filer's own interfaces while others are added.
type jointInterfaces struct {
	own, mine, others []netquorum.Interface
}

// need returns where an interface is among the filer's own: addresses stand
// there only, even if the group has the interface.
func (j *jointInterfaces) need(name netquorum.InterfaceName) int {
	if i := indexOf(j.own, name); i >= 0 {
		return i
	}
	from := j.mine
	if indexOf(from, name) < 0 {
		from = j.others
	}
	i := indexOf(from, name)
	if i < 0 {
		return -1
	}
	add := from[i]
	add.Addresses = nil
	for _, below := range standsOn(add) {
		if indexOf(j.mine, below) < 0 && below.Layer() != netquorum.LayerPhysical {
			j.need(below)
		}
	}
	j.own = append(j.own, add)
	return len(j.own) - 1
}

func indexOf(list []netquorum.Interface, name netquorum.InterfaceName) int {
	return slices.IndexFunc(list, func(i netquorum.Interface) bool { return i.Name == name })
}

// standsOn returns what an interface is built on.
func standsOn(i netquorum.Interface) []netquorum.InterfaceName {
	out := slices.Clone(i.Members)
	if i.Parent != "" {
		out = append(out, i.Parent)
	}
	if parent, _, ok := i.Name.VLAN(); ok {
		out = append(out, parent)
	}
	return out
}
