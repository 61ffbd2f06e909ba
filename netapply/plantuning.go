package netapply

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// advertise is the list of link modes that are offered to the other end.
const advertise = setLink + "/advertise"

// tuning brings about the settings of a link, and gives back what is no longer
// wanted: such a setting becomes again what it was before we changed it. What we
// never changed is left alone.
//
// A link that is to be made has shown nothing yet; its turn is the next round.
func (p *planner) tuning(want Link, have *ObservedLink) {
	if have.Tuning == nil && len(want.Tuning) > 0 || len(want.Tuning)+len(have.Before) == 0 {
		return
	}
	wanted, err := expand(want.Tuning, have.Tuning)
	if err != nil {
		p.fail(linkObject(want.Name), "%w", err)
	}
	back := Tuning{}
	mode := cmp.Or(wanted["link/autoneg"], have.Before["link/autoneg"])
	for name, v := range have.Before {
		if _, ok := wanted[name]; !ok && !pointless(name, mode) {
			wanted[name], back[name] = v, v
		}
	}
	for _, set := range tuningSets {
		differ := Tuning{}
		for name, v := range wanted.in(set) {
			// What is given back is said even when it is so already: the step is what
			// makes us forget it.
			cur, shown := have.Tuning[name]
			if _, given := back[name]; !shown || cur != v || given {
				differ[name] = v
			}
		}
		if len(differ) == 0 {
			continue
		}
		if _, speed := differ["link/speed"]; speed && set == setLink {
			differ["link/autoneg"] = wanted["link/autoneg"] // a speed means one thing with it and another without
		}
		if _, joined := ethtoolFlags[set]; joined {
			p.emit(SetTuning{want.Name, differ})
			continue
		}
		for _, name := range differ.names() {
			p.emit(SetTuning{want.Name, Tuning{name: differ[name]}})
		}
	}
}

// giveBack gives back what we changed on interfaces that the configuration has
// no longer.
func (p *planner) giveBack() {
	for _, l := range p.have.Links {
		if _, wanted := p.wanted[l.Name]; !wanted && !l.Ours() {
			p.tuning(Link{Name: l.Name}, &l)
		}
	}
}

// formerTuning is what a link showed of the settings that a change is about. The
// rest is not to be set back: the kernel switches some features along with others,
// and does so in the other direction, too.
func formerTuning(want Tuning, l ObservedLink) Tuning {
	about, _ := expand(want, l.Tuning)
	maps.Copy(about, l.Before)
	var out Tuning
	for name, v := range l.Tuning {
		_, changes := about[name]
		if set, _ := setOf(name); changes || set == setLink && len(about.in(setLink)) > 0 {
			if out == nil {
				out = Tuning{}
			}
			out[name] = v
		}
	}
	return out
}

// pointless reports whether a setting means nothing with autonegotiation on or
// off: a speed while both ends agree on one, or what is offered while it is
// forced.
func pointless(setting, autoneg string) bool {
	switch setting {
	case "link/speed", "link/duplex":
		return autoneg == "on"
	case advertise:
		return autoneg == "off"
	}
	return false
}

// expand turns what is wanted into settings that the kernel has. What it cannot
// know is left as it is: the driver says best itself why it has no such thing.
func expand(want, have Tuning) (Tuning, error) {
	out := Tuning{}
	var errs []error
	for _, name := range want.names() {
		set, what := setOf(name)
		switch set {
		case setOffload:
			maps.Copy(out, expandOffload(what, want[name], have))
		case setSpread:
			part, err := expandSpread(name, want[name], have)
			maps.Copy(out, part)
			errs = append(errs, err)
		case setFixed, setModes:
		default:
			out[name] = want[name]
		}
	}
	expandModes(out, have)
	return out, errors.Join(errs...)
}

// expandModes turns the one speed that is to be offered into the link modes
// that have it.
func expandModes(out, have Tuning) {
	speed, ok := out["link/speed"]
	if !ok || out["link/autoneg"] != "on" {
		return
	}
	var modes []string
	for name := range have.in(setModes) {
		_, mode := setOf(name)
		if s, d, ok := linkMode(mode); ok && s == speed && d == out["link/duplex"] {
			modes = append(modes, mode)
		}
	}
	if len(modes) == 0 {
		return
	}
	slices.Sort(modes)
	out[advertise] = strings.Join(modes, ",")
	delete(out, "link/speed")
	delete(out, "link/duplex")
}

// linkMode reads the name of a link mode, like 1000baseT/Full; what else a
// network card can offer (pause, autonegotiation itself) is none.
func linkMode(name string) (speed, duplex string, ok bool) {
	medium, d, ok := strings.Cut(name, "/")
	speed = leadingDigits(medium)
	if !ok || speed == "" || !strings.HasPrefix(medium[len(speed):], "base") {
		return "", "", false
	}
	return speed, strings.ToLower(d), true
}

// expandOffload turns an offload into those of its features that the link can
// switch. One that cannot be switched and is as wanted is fine as it is.
func expandOffload(name, value string, have Tuning) Tuning {
	features := netquorum.OffloadFeatures(name)
	out := Tuning{}
	var fixed []string
	for _, f := range features {
		if _, ok := have[setFeatures+"/"+f]; ok {
			out[setFeatures+"/"+f] = value
		}
		if v, ok := have[setFixed+"/"+f]; ok && v == value {
			fixed = append(fixed, f)
		}
	}
	asWanted := len(fixed) > 0 // on: one of them is enough
	if value == "off" {
		for _, f := range features {
			asWanted = asWanted && have[setFixed+"/"+f] != "on"
		}
	}
	if len(out) == 0 && !asWanted {
		out[setFeatures+"/"+features[0]] = value
	}
	return out
}

// expandSpread shares processors out among the queues and interrupts there are.
func expandSpread(what, value string, have Tuning) (Tuning, error) {
	out := Tuning{}
	cpus := netquorum.CPUList(value).CPUs()
	switch what {
	case wantInterrupts:
		for n, name := range have.in(setIRQ).names() {
			out[name] = strconv.Itoa(cpus[n%len(cpus)])
		}
		if len(out) == 0 {
			return nil, errNoInterrupts
		}
	case wantRPS:
		for _, name := range queueFiles(have, "rx-", "rps_cpus") {
			out[name] = value
		}
	case wantXPS:
		// A link with one transmit queue has nothing to choose, and no such file.
		files := queueFiles(have, "tx-", "xps_cpus")
		for n, name := range files {
			out[name] = string(share(cpus, n, len(files)))
		}
	case wantFlows:
		flows, _ := strconv.Atoi(value)
		files := queueFiles(have, "rx-", "rps_flow_cnt")
		for _, name := range files {
			out[name] = strconv.Itoa(powerOfTwo((flows + len(files) - 1) / len(files)))
		}
		// The machine's table must hold the flows of its interfaces. Others may
		// need it larger.
		if v, ok := have[flowTable]; ok {
			if cur, err := strconv.Atoi(v); err == nil && cur < flows {
				out[flowTable] = value
			}
		}
	}
	if len(out) == 0 && what != wantXPS && what != wantInterrupts {
		return nil, fmt.Errorf("%s: this kernel shows no receive queues of it", map[string]string{wantRPS: "cpu.rps", wantFlows: "cpu.rpsFlows"}[what])
	}
	return out, nil
}

const flowTable = setSysctl + "/net/core/rps_sock_flow_entries"

var errNoInterrupts = errors.New("cpu.interrupts: the interface has no interrupts of its own to place")

// queueFiles lists the files of one name that queues of a direction have.
func queueFiles(have Tuning, direction, file string) []string {
	var list []string
	for _, name := range have.in(setQueues).names() {
		if _, queue := setOf(name); strings.HasPrefix(queue, direction) && strings.HasSuffix(queue, "/"+file) {
			list = append(list, name)
		}
	}
	return list
}

// share gives each of several queues its part of the processors, in turn; when
// there are fewer processors than queues, queues share them.
func share(cpus []int, queue, queues int) netquorum.CPUList {
	var mine []int
	for i, c := range cpus {
		if i%queues == queue {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		mine = []int{cpus[queue%len(cpus)]}
	}
	return netquorum.FormatCPUList(mine)
}

// powerOfTwo is the next one from n on, which is what the kernel makes of it.
func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}
