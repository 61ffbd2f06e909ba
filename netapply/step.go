package netapply

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// A Step is one change of the kernel. Its text reads like the command that an
// operator would type: ip, and sysctl for settings. The types in this file are
// all the steps there are.
type Step interface {
	fmt.Stringer
	// Object names what the step changes, as ObjectError does.
	Object() string
}

// AddLink makes a link, down and without a master.
type AddLink struct{ Link Link }

// SetLink changes a link in place. Nil fields stay.
type SetLink struct {
	Name    string
	Label   *string // our alias text; marks the link as ours
	MTU     *int
	MAC     *netquorum.MAC
	Master  *string // empty: none
	Up      *bool
	Kind    LinkKind // with Options
	Options Options
	// After names links without which this makes no sense: nothing makes way for
	// a bond that could not be made.
	After []string
}

// DelLink removes a link of ours.
type DelLink struct {
	Name  string
	After []string // as in SetLink
}

// SetSettings changes settings of a link below /proc/sys/net.
type SetSettings struct {
	Link     string
	Settings Settings
}

// AddAddress and DelAddress add and remove an address of ours.
type (
	AddAddress struct{ Address Address }
	DelAddress struct{ Address Address }
)

// AddRoute adds a route of ours. Beside says that another route of ours with
// the same destination and metric stays until it is removed by a later step;
// otherwise a route that is there already is somebody else's and an error.
type AddRoute struct {
	Route  Route
	Beside bool
}

// DelRoute removes a route of ours.
type DelRoute struct{ Route Route }

// AddRule and DelRule add and remove a rule of ours.
type (
	AddRule struct{ Rule Rule }
	DelRule struct{ Rule Rule }
)

func (s AddLink) Object() string     { return linkObject(s.Link.Name) }
func (s SetLink) Object() string     { return linkObject(s.Name) }
func (s DelLink) Object() string     { return linkObject(s.Name) }
func (s SetSettings) Object() string { return linkObject(s.Link) }
func (s AddAddress) Object() string  { return addressObject(s.Address) }
func (s DelAddress) Object() string  { return addressObject(s.Address) }
func (s AddRoute) Object() string    { return "route " + s.Route.String() }
func (s DelRoute) Object() string    { return "route " + s.Route.String() }
func (s AddRule) Object() string     { return "rule " + s.Rule.String() }
func (s DelRule) Object() string     { return "rule " + s.Rule.String() }

func linkObject(name string) string { return "link " + name }

func addressObject(a Address) string {
	return "address " + a.Prefix.String() + " dev " + a.Link
}

func (s AddLink) String() string {
	b := []string{"ip link add"}
	if s.Link.Parent != "" {
		b = append(b, "link", s.Link.Parent)
	}
	b = append(b, "name", s.Link.Name)
	if !s.Link.MAC.IsZero() {
		b = append(b, "address", s.Link.MAC.String())
	}
	if s.Link.MTU != 0 {
		b = append(b, "mtu", strconv.Itoa(s.Link.MTU))
	}
	return strings.Join(append(b, typeWords(s.Link.Kind, s.Link.Options)...), " ")
}

func (s SetLink) String() string {
	b := []string{"ip link set", s.Name}
	if s.Label != nil {
		b = append(b, "alias", strconv.Quote(*s.Label))
	}
	if s.MAC != nil {
		b = append(b, "address", s.MAC.String())
	}
	if s.MTU != nil {
		b = append(b, "mtu", strconv.Itoa(*s.MTU))
	}
	if s.Master != nil && *s.Master == "" {
		b = append(b, "nomaster")
	} else if s.Master != nil {
		b = append(b, "master", *s.Master)
	}
	if s.Up != nil && *s.Up {
		b = append(b, "up")
	} else if s.Up != nil {
		b = append(b, "down")
	}
	if len(s.Options) > 0 {
		b = append(b, typeWords(s.Kind, s.Options)...)
	}
	return strings.Join(b, " ")
}

func (s DelLink) String() string { return "ip link del " + s.Name }

func (s SetSettings) String() string {
	b := []string{"sysctl -w"}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		b = append(b, fmt.Sprintf("%s=%d", settingPath(s.Link, name), s.Settings[name]))
	}
	return strings.Join(b, " ")
}

// settingPath is the setting's place below /proc/sys, in the form that sysctl
// takes too: with slashes, because link names may contain dots.
func settingPath(link, name string) string {
	family, key, _ := strings.Cut(name, "/")
	return "net/" + family + "/conf/" + link + "/" + key
}

func (s AddAddress) String() string { return "ip addr add " + addressWords(s.Address, true) }
func (s DelAddress) String() string { return "ip addr del " + addressWords(s.Address, false) }

func addressWords(a Address, adding bool) string {
	text := a.Prefix.String() + " dev " + a.Link
	if !adding {
		return text
	}
	if a.Hosted && a.Prefix.Addr().Is6() {
		text += " nodad"
	}
	return text + " noprefixroute proto " + protocolText
}

func (s AddRoute) String() string {
	verb := "add"
	if s.Beside {
		verb = "append"
	}
	return ipFor(s.Route.To.Addr().Is6()) + " route " + verb + " " + s.Route.String() + " proto " + protocolText
}

func (s DelRoute) String() string {
	return ipFor(s.Route.To.Addr().Is6()) + " route del " + s.Route.String() + " proto " + protocolText
}

func (s AddRule) String() string {
	return ipFor(s.Rule.From.Addr().Is6()) + " rule add " + s.Rule.String() + " protocol " + protocolText
}

func (s DelRule) String() string {
	return ipFor(s.Rule.From.Addr().Is6()) + " rule del " + s.Rule.String() + " protocol " + protocolText
}

func (r Route) String() string {
	b := []string{}
	if r.Unreachable {
		b = append(b, "unreachable")
	}
	if r.To.Bits() == 0 {
		b = append(b, "default")
	} else {
		b = append(b, r.To.String())
	}
	if r.Via.IsValid() {
		b = append(b, "via", r.Via.String())
	}
	if r.Link != "" {
		b = append(b, "dev", r.Link)
	}
	if r.OnLink {
		b = append(b, "onlink")
	}
	if r.Source.IsValid() {
		b = append(b, "src", r.Source.String())
	}
	if r.Table != MainTable {
		b = append(b, "table", strconv.FormatUint(uint64(r.Table), 10))
	}
	if r.Metric != 0 {
		b = append(b, "metric", strconv.FormatUint(uint64(r.Metric), 10))
	}
	return strings.Join(b, " ")
}

func (r Rule) String() string {
	return fmt.Sprintf("pref %d from %s lookup %d", r.Priority, r.From.Addr(), r.Table)
}

func ipFor(six bool) string {
	if six {
		return "ip -6"
	}
	return "ip"
}

// typeWords prints a kind of link with its options, the mode first because ip
// wants it there.
func typeWords(kind LinkKind, options Options) []string {
	b := []string{"type", string(kind)}
	if mode, ok := options["mode"]; ok {
		b = append(b, "mode", mode)
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if name != "mode" {
			b = append(b, name, optionText(options[name]))
		}
	}
	return b
}

func optionText(v string) string {
	if v == "" {
		return "none"
	}
	return v
}
