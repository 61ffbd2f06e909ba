package rollout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// A Reason is why a change needs a rollout; the zero Reason says that it needs
// none.
type Reason struct {
	Text  string
	Steps []netquorum.RolloutStep // the filers that change, by name
}

// Needed reports whether there is a reason.
func (r Reason) Needed() bool { return r.Text != "" }

// Guard looks for what a change from one configuration to another does to the
// members of the cluster that must not happen to all of them at once: mgmt
// addresses that go, links under an alias that go down or are replaced, and
// routes by which filers reach each other.
func Guard(before, after netquorum.Config) Reason {
	var out Reason
	for d := range before.All(netquorum.KindMember) {
		if _, stays := after.Filer(d.Name); !stays {
			continue // it leaves the cluster, which is another matter
		}
		e := effectOn(before, after, d.Name)
		if e.text == "" {
			continue
		}
		if out.Text == "" {
			out.Text = fmt.Sprintf("%s: %s", d.Name, e.text)
		}
		out.Steps = append(out.Steps, netquorum.RolloutStep{Filer: d.Name, State: netquorum.StepWaiting, Interrupts: e.interrupts})
	}
	if n := len(out.Steps); n > 1 {
		out.Text += fmt.Sprintf("; %d filers in all", n)
	}
	return out
}

// An effect is what a change does to one filer.
type effect struct {
	text       string
	interrupts bool
}

func effectOn(before, after netquorum.Config, filer string) effect {
	was, is := before.Interfaces(filer), after.Interfaces(filer)
	for _, i := range was {
		if !i.Name.IsAlias() || indexOf(is, i.Name) < 0 {
			continue
		}
		if link, how := interruption(was, is, i.Name, i.Name); how != "" {
			return effect{fmt.Sprintf("%s under %s %s", link, i.Name, how), true}
		}
	}
	old, now := mgmtPlaces(was), mgmtPlaces(is)
	for _, p := range slices.SortedFunc(maps.Keys(old), netip.Prefix.Compare) {
		switch alias, stays := now[p]; {
		case !stays:
			return effect{fmt.Sprintf("mgmt address %s goes", p), false}
		case alias != old[p]:
			return effect{fmt.Sprintf("mgmt address %s moves to %s", p, alias), true}
		}
	}
	if reachedByRoutes(before, filer) && routesChange(before, after, filer) {
		return effect{"the routes by which it reaches other filers change", false}
	}
	return effect{}
}

// mgmtPlaces tells on which alias each mgmt address is.
func mgmtPlaces(list []netquorum.Interface) map[netip.Prefix]netquorum.InterfaceName {
	out := map[netip.Prefix]netquorum.InterfaceName{}
	for _, i := range list {
		if i.Name.Stem() == "mgmt" {
			for _, p := range i.Addresses {
				out[p] = i.Name
			}
		}
	}
	return out
}

// interruption tells which link under an alias goes down or is replaced, and
// how.
func interruption(was, is []netquorum.Interface, name, alias netquorum.InterfaceName) (netquorum.InterfaceName, string) {
	old, now := indexOf(was, name), indexOf(is, name)
	switch {
	case old < 0:
		return "", "" // a physical interface that nobody configured
	case now < 0:
		return name, "goes"
	}
	if how := disturbed(was[old], is[now], alias); how != "" {
		return name, how
	}
	for _, below := range standsOn(was[old]) {
		if link, how := interruption(was, is, below, alias); how != "" {
			return link, how
		}
	}
	return "", ""
}

// disturbed tells what a change of one interface does to who stands on it.
// Settings that nothing here knows to be harmless are taken to be none.
func disturbed(was, is netquorum.Interface, alias netquorum.InterfaceName) string {
	if was.Parent != is.Parent {
		return "is put on " + string(is.Parent)
	}
	for _, m := range was.Members {
		if !slices.Contains(is.Members, m) {
			return fmt.Sprintf("loses its member %s", m)
		}
	}
	if was.MTU != is.MTU && was.Name != alias && was.Name.Layer() != netquorum.LayerVLAN {
		return "gets another MTU"
	}
	if !bytes.Equal(weighty(was), weighty(is)) {
		return "is set up anew"
	}
	return ""
}

// weighty is what of an interface cannot be changed while packets flow.
func weighty(i netquorum.Interface) []byte {
	i.MTU, i.Addresses, i.Members, i.Parent, i.CPU = 0, nil, nil, "", nil
	if i.Bond != nil {
		b := *i.Bond
		i.Bond = &netquorum.Bond{Mode: b.EffectiveMode(), LACPRate: b.LACPRate, LACPActive: b.LACPActive, ADSelect: b.ADSelect,
			ADSystem: b.ADSystem, ADPriority: b.ADPriority, ADUserPortKey: b.ADUserPortKey, FailOverMAC: b.FailOverMAC, TLBDynamicLB: b.TLBDynamicLB}
	} else if i.Name.Layer() == netquorum.LayerBond {
		i.Bond = &netquorum.Bond{Mode: (*netquorum.Bond)(nil).EffectiveMode()}
	}
	if i.Failover != nil {
		i.Failover = &netquorum.Failover{FailOverMAC: i.Failover.FailOverMAC}
	} else if i.Name.Layer() == netquorum.LayerFailover {
		i.Failover = &netquorum.Failover{}
	}
	if e := i.Ethernet; e != nil {
		link := netquorum.Ethernet{Autoneg: e.Autoneg, Speed: e.Speed, Duplex: e.Duplex, Rings: e.Rings, Channels: e.Channels, Pause: e.Pause}
		i.Ethernet = &link
		if reflect.ValueOf(link).IsZero() {
			i.Ethernet = nil
		}
	}
	text, err := json.Marshal(i)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// routesChange reports whether a route of the filer's own addresses goes.
func routesChange(before, after netquorum.Config, filer string) bool {
	key := netquorum.Key{Kind: netquorum.KindFiler, Name: filer}
	_, was, _ := before.RoutesOf(key)
	if was == nil {
		return false
	}
	_, is, _ := after.RoutesOf(key)
	for _, r := range was.Routes {
		if is == nil || !slices.Contains(is.Routes, r) {
			return true
		}
	}
	return false
}

// reachedByRoutes reports whether some other member is in none of the filer's
// own mgmt networks.
func reachedByRoutes(c netquorum.Config, filer string) bool {
	mine := mgmtAddresses(c, filer)
	for d := range c.All(netquorum.KindMember) {
		if other := mgmtAddresses(c, d.Name); !strings.EqualFold(d.Name, filer) && len(other) > 0 && !onLink(mine, other) {
			return true
		}
	}
	return false
}
