package fakekernel

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

// newTuning is what a new link shows: all have a few offloads, and physical ones
// the rest of a network card with two queues and two interrupts.
func newTuning(physical bool) netapply.Tuning {
	t := netapply.Tuning{
		"features/rx-gro": "on", "features/tx-generic-segmentation": "on",
		"features/tx-tcp-segmentation": "on", "features/tx-tcp6-segmentation": "on",
		"fixed/tx-lockless": "off", "fixed/rx-lro": "off",
	}
	if !physical {
		return t
	}
	maps.Copy(t, netapply.Tuning{
		"link/autoneg": "on", "link/advertise": "1000baseT/Full,100baseT/Full,100baseT/Half",
		"modes/100baseT/Half": "on", "modes/100baseT/Full": "on", "modes/1000baseT/Full": "on",
		"rings/rx": "256", "rings/tx": "256", "channels/combined": "2",
		"coalesce/rx-usecs": "3", "coalesce/tx-usecs": "0", "coalesce/adaptive-rx": "off", "coalesce/adaptive-tx": "off",
		"pause/autoneg": "on", "pause/rx": "on", "pause/tx": "on",
		"device/threaded": "0", "device/napi_defer_hard_irqs": "0", "device/gro_flush_timeout": "0",
		"irq/24/smp_affinity_list": "0-3", "irq/25/smp_affinity_list": "0-3",
	})
	queues(t, 2)
	return t
}

// The card's limits, and the machine's.
const processors = 4

var limits = map[string]int{"rings/rx": 4096, "rings/tx": 4096, "channels/combined": 4, "coalesce/rx-usecs": 10_000, "coalesce/tx-usecs": 10_000}

// queues gives a link so many queues, with nothing set on new ones.
func queues(t netapply.Tuning, n int) {
	fresh := netapply.Tuning{}
	for q := range n {
		rx, tx := fmt.Sprintf("queues/rx-%d/", q), fmt.Sprintf("queues/tx-%d/", q)
		fresh[rx+"rps_cpus"], fresh[rx+"rps_flow_cnt"], fresh[tx+"xps_cpus"] = "", "0", ""
	}
	maps.DeleteFunc(t, func(name, _ string) bool { return strings.HasPrefix(name, "queues/") })
	maps.Copy(t, fresh)
}

// show is what an observer gets who asked for some sets of the link.
func (l *link) show(looks []netapply.Look) netapply.Tuning {
	var sets []string
	for _, k := range looks {
		if k.Link == l.Name {
			sets = k.Sets
		}
	}
	for name := range l.Before {
		sets = append(slices.Clone(sets), setOf(name))
	}
	if len(sets) == 0 {
		return nil
	}
	t := netapply.Tuning{}
	for name, v := range l.tuning {
		set := setOf(name)
		if with, ok := map[string]string{"modes": "link", "fixed": "features"}[set]; ok {
			set = with
		}
		if slices.Contains(sets, set) {
			t[name] = v
		}
	}
	return t
}

func setOf(name string) string {
	set, _, _ := strings.Cut(name, "/")
	return set
}

func (k *Kernel) setTuning(s netapply.SetTuning) error {
	l := k.links[s.Link]
	if l == nil {
		return refuse(unix.ENODEV, "link %s", s.Link)
	}
	for name, v := range s.Values {
		_, there := l.tuning[name]
		once, ours := l.Before[name]
		if !there && !(ours && once == v) {
			if err := l.lacks(name, s.Values); err != nil {
				return err
			}
		}
		if err := l.accepts(name, v); err != nil {
			return err
		}
	}
	l.Before = l.Before.After(l.tuning.TouchedBy(s.Values), s.Values)
	for name, v := range s.Values {
		if _, there := l.tuning[name]; there || setOf(name) == "link" {
			l.tuning[name] = v
		}
	}
	l.negotiate()
	if n, err := strconv.Atoi(s.Values["channels/combined"]); err == nil {
		queues(l.tuning, n)
	}
	return nil
}

// negotiate shows either what is offered or what is forced. The card keeps what
// it would offer.
func (l *link) negotiate() {
	if v, shown := l.tuning["link/advertise"]; shown {
		l.offers = v
	}
	switch l.tuning["link/autoneg"] {
	case "on":
		delete(l.tuning, "link/speed")
		delete(l.tuning, "link/duplex")
		l.tuning["link/advertise"] = l.offers
	case "off":
		delete(l.tuning, "link/advertise")
	}
}

// lacks refuses what the link does not have; a speed is shown only where it is
// forced.
func (l *link) lacks(name string, values netapply.Tuning) error {
	switch {
	case name == "link/speed" || name == "link/duplex":
		if values["link/autoneg"] == "off" && l.physical {
			return nil
		}
		return refuse(unix.EOPNOTSUPP, "no mode with %s %s", name, values[name])
	case name == "link/advertise" && l.physical:
		return nil
	case strings.HasPrefix(name, "features/"):
		return refuse(unix.EINVAL, "bit name not found")
	}
	return refuse(unix.EOPNOTSUPP, "%s of %s", name, l.Name)
}

// accepts refuses values beyond the limits.
func (l *link) accepts(name, v string) error {
	if most, ok := limits[name]; ok {
		if n, err := strconv.Atoi(v); err != nil || n > most {
			return refuse(unix.EINVAL, "requested %s exceeds maximum of %d", name, most)
		}
	}
	if name == "link/speed" && v != "10" && v != "100" {
		return refuse(unix.EINVAL, "speed %s cannot be forced", v)
	}
	if setOf(name) == "irq" {
		if n, err := strconv.Atoi(v); err == nil && n >= processors {
			return refuse(unix.EINVAL, "processor %s", v)
		}
	}
	return nil
}
