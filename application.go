package netquorum

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// An Application is a service that clients reach, as the ports that it listens
// on. The usual ones are built in; a document of the same name replaces a
// built-in one, any other adds to them.
type Application struct {
	// Class is data for what clients come for, management for what
	// administrators do; without one, the application is in neither.
	Class Class `json:"class,omitempty"`
	// Ports are protocols with a port or a range, like tcp/2049 or udp/137-138.
	Ports []Ports `json:"ports"`
}

// A Class is a set of applications that rules can name as one.
type Class string

const (
	ClassData       Class = "data"
	ClassManagement Class = "management"
)

var classes = []Class{ClassData, ClassManagement}

func (*Application) Kind() Kind { return KindApplication }

func (s *Application) check(c *checker) {
	if t, err := parseTraffic(c.doc.Name); err != nil || t.name == "" {
		c.add("name", RuleApplicationName, "%s means something else in a rule; choose another name", c.doc.Name)
	}
	if s.Class != "" && !slices.Contains(classes, s.Class) {
		c.add("spec.class", RuleApplicationClass, "%q is no class; write data or management, or leave it out", s.Class)
	}
	if len(s.Ports) == 0 {
		c.add("spec.ports", RuleRequired, "is missing; say where the application listens, like tcp/8443")
	}
	for i, p := range s.Ports {
		if p == (Ports{}) {
			c.add(fmt.Sprintf("spec.ports[%d]", i), RuleRequired, "is missing; write a port like tcp/8443")
		}
	}
}

// builtins are the applications that every cluster knows. Ports are those of
// IANA's registry; where an application has more in practice, documentation says so.
var builtins = []Document{
	app("nfs", ClassData, "tcp/111", "udp/111", "tcp/2049", "udp/2049", "tcp/20048", "udp/20048"),
	app("smb", ClassData, "tcp/139", "tcp/445", "udp/137-138"),
	app("cifs", ClassData, "tcp/139", "tcp/445", "udp/137-138"),
	app("iscsi", ClassData, "tcp/860", "tcp/3260"),
	app("nvme", ClassData, "tcp/4420", "tcp/8009"),
	app("ftp", ClassData, "tcp/20-21"),
	app("tftp", ClassData, "udp/69"),
	app("rsync", ClassData, "tcp/873"),
	app("ndmp", ClassData, "tcp/10000"),
	app("ssh", ClassManagement, "tcp/22"),
	app("telnet", ClassManagement, "tcp/23"),
	app("web", ClassManagement, "tcp/80", "tcp/443"),
	app("snmp", ClassManagement, "udp/161-162"),
	app("dns", ClassManagement, "tcp/53", "udp/53"),
	app("dhcp", ClassManagement, "udp/67", "udp/547"),
	app("ntp", ClassManagement, "udp/123"),
	app("syslog", ClassManagement, "tcp/514", "udp/514", "tcp/6514"),
	app("mdns", "", "udp/5353"),
}

func app(name string, class Class, ports ...string) Document {
	a := &Application{Class: class}
	for _, text := range ports {
		p, err := ParsePorts(text)
		if err != nil {
			panic(err)
		}
		a.Ports = append(a.Ports, p)
	}
	return Document{Kind: KindApplication, Name: name, Spec: a}
}

func builtin(name string) (*Application, bool) {
	for _, d := range builtins {
		if strings.EqualFold(d.Name, name) {
			return d.Spec.(*Application), true
		}
	}
	return nil, false
}

func builtinNames() []string {
	names := make([]string, len(builtins))
	for i, d := range builtins {
		names[i] = d.Name
	}
	return names
}

// Application returns the application of the name: the cluster's own, or the
// one that is built in.
func (c Config) Application(name string) (*Application, bool) {
	if a, ok := find[*Application](c, KindApplication, name); ok {
		return a, true
	}
	return builtin(name)
}

// Applications yields every application that rules can name, built in or not,
// in the order of their names.
func (c Config) Applications() iter.Seq[Document] {
	all := slices.Clone(builtins)
	for d := range c.All(KindApplication) {
		all = slices.DeleteFunc(all, func(b Document) bool { return strings.EqualFold(b.Name, d.Name) })
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Document) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return slices.Values(all)
}

// Ports are one port of a protocol, or several in a row.
type Ports struct {
	Protocol  string // tcp, udp or sctp
	Low, High uint16
}

// protocols with ports, and the numbers that IP has for them.
var protocols = map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132}

// Number returns the number that IP has for the protocol.
func (p Ports) Number() uint8 { return protocols[p.Protocol] }

// ParsePorts reads tcp/2049 or udp/137-138.
func ParsePorts(s string) (Ports, error) {
	protocol, ports, _ := strings.Cut(strings.ToLower(s), "/")
	low, high, ranged := strings.Cut(ports, "-")
	if !ranged {
		high = low
	}
	if protocols[protocol] == 0 || !plainNumber(low, 65535) || !plainNumber(high, 65535) {
		return Ports{}, fmt.Errorf("%q is not a protocol (tcp, udp, sctp) with a port from 1 to 65535 or a range, like tcp/2049 or udp/137-138", s)
	}
	l, _ := strconv.Atoi(low)
	h, _ := strconv.Atoi(high)
	if l == 0 || l > h {
		return Ports{}, fmt.Errorf("%q is no range of ports: the first is above the last, or 0", s)
	}
	return Ports{protocol, uint16(l), uint16(h)}, nil
}

func (p Ports) String() string {
	switch {
	case p == Ports{}:
		return ""
	case p.Low == p.High:
		return fmt.Sprintf("%s/%d", p.Protocol, p.Low)
	}
	return fmt.Sprintf("%s/%d-%d", p.Protocol, p.Low, p.High)
}

func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p *Ports) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePorts(string(text))
	return err
}

// covers reports whether every port of q is one of p.
func (p Ports) covers(q Ports) bool {
	return p.Protocol == q.Protocol && p.Low <= q.Low && q.High <= p.High
}

// mergePorts sorts ports and joins those that touch, so that the same traffic
// is always written alike.
func mergePorts(list []Ports) []Ports {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Ports) int {
		return cmp.Or(cmp.Compare(a.Number(), b.Number()), cmp.Compare(a.Low, b.Low))
	})
	out := list[:0]
	for _, p := range list {
		if n := len(out) - 1; n >= 0 && out[n].Protocol == p.Protocol && int(p.Low) <= int(out[n].High)+1 {
			out[n].High = max(out[n].High, p.High)
			continue
		}
		out = append(out, p)
	}
	return out
}

// A traffic is one word of a rule's applications.
type traffic struct {
	name  string // of an application
	class Class
	ports Ports
}

var errNoTraffic = errors.New("is empty; name an application, a class or a port")

func parseTraffic(word string) (traffic, error) {
	switch {
	case word == "":
		return traffic{}, errNoTraffic
	case strings.Contains(word, "/") || protocols[strings.ToLower(word)] != 0:
		p, err := ParsePorts(word)
		return traffic{ports: p}, err
	}
	for _, c := range classes {
		if strings.EqualFold(word, string(c)) {
			return traffic{class: c}, nil
		}
	}
	if !validName(word, "._-") {
		return traffic{}, fmt.Errorf("%q is no name of an application", word)
	}
	return traffic{name: word}, nil
}

// traffic returns the ports that a rule is about; nil for everything.
func (c Config) traffic(words []string) []Ports {
	var list []Ports
	for _, word := range words {
		switch t, err := parseTraffic(word); {
		case err != nil: // the rules have refused it
		case t.class != "":
			for d := range c.Applications() {
				if a := d.Spec.(*Application); a.Class == t.class {
					list = append(list, a.Ports...)
				}
			}
		case t.name != "":
			if a, ok := c.Application(t.name); ok {
				list = append(list, a.Ports...)
			}
		default:
			list = append(list, t.ports)
		}
	}
	return mergePorts(list)
}
