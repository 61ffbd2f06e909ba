package lab

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// maxLinkName is what the kernel allows for the name of a link.
const maxLinkName = 15

// maxSwitchName leaves room for what uplink appends.
const maxSwitchName = maxLinkName - 3

var (
	nodeName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	cardName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
)

// topologyChecker collects every broken rule with the line that breaks it.
type topologyChecker struct {
	name     string
	file     *ast.File
	problems []error
}

func (c *topologyChecker) err() error { return errors.Join(c.problems...) }

func (c *topologyChecker) add(path, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("%s%s: %s", c.name, c.line(path), fmt.Sprintf(format, args...)))
}

// line finds where a path like $.filers[0].name is written. What is missing
// has no line: then its owner's is told.
func (c *topologyChecker) line(path string) string {
	for path != "$" && path != "" {
		if p, err := yaml.PathString(path); err == nil {
			if node, err := p.FilterFile(c.file); err == nil && node != nil {
				return fmt.Sprintf(":%d", firstLine(node))
			}
		}
		path = path[:slices.Max([]int{lastIndex(path, '.'), lastIndex(path, '[')})]
	}
	return ":1"
}

// firstLine is where the node begins: a flow mapping's own token is its first
// brace, a block mapping's is the colon of its first pair.
func firstLine(n ast.Node) int { return n.GetToken().Position.Line }

func lastIndex(s string, b byte) int {
	for i := len(s) - 1; i > 0; i-- {
		if s[i] == b {
			return i
		}
	}
	return 0
}

func (c *topologyChecker) check(t *Topology) {
	if !nodeName.MatchString(t.Name) {
		c.add("$.name", "a topology needs a name of lower-case letters, digits and dashes, like two-filers")
	}
	taken := map[string]string{}
	node := func(path, name string) {
		switch {
		case !nodeName.MatchString(name):
			c.add(path, "%q is no name for a node: it starts with a lower-case letter and has only letters, digits and dashes", name)
		case taken[name] != "":
			c.add(path, "the name %s is taken by %s already", name, taken[name])
		}
		taken[name] = path[2:]
	}
	for i, s := range t.Switches {
		path := fmt.Sprintf("$.switches[%d].name", i)
		node(path, s.Name)
		if len(s.Name) > maxSwitchName {
			c.add(path, "the name %s is longer than %d characters", s.Name, maxSwitchName)
		}
	}
	c.links(t)
	lags := map[string]lag{}
	for i, m := range t.Filers {
		path := fmt.Sprintf("$.filers[%d]", i)
		node(path+".name", m.Name)
		c.machine(t, path, m, true, lags)
	}
	for i, m := range t.Clients {
		path := fmt.Sprintf("$.clients[%d]", i)
		node(path+".name", m.Name)
		c.machine(t, path, m, false, lags)
	}
}

// links refuses loops: the switches speak no spanning tree, and a loop would
// carry one broadcast round for ever.
func (c *topologyChecker) links(t *Topology) {
	root := map[string]string{}
	find := func(s string) string {
		for root[s] != "" {
			s = root[s]
		}
		return s
	}
	for i, l := range t.Links {
		path := fmt.Sprintf("$.links[%d]", i)
		for _, s := range []string{l.From, l.To} {
			if _, ok := t.switchNamed(s); !ok {
				c.add(path, "there is no switch %q", s)
			}
		}
		from, to := find(l.From), find(l.To)
		if from == to {
			c.add(path, "the link from %s to %s closes a loop; the switches have no spanning tree", l.From, l.To)
			continue
		}
		root[from] = to
	}
}

// lag is what the ports of one aggregation group must agree on.
type lag struct {
	machine string
	port    Port
}

func (c *topologyChecker) machine(t *Topology, path string, m Machine, filer bool, lags map[string]lag) {
	if filer && (m.Forward || len(m.Routes) > 0) {
		c.add(path, "%s is a filer: its daemon decides on forwarding and routes", m.Name)
	}
	names := map[string]bool{}
	for i, p := range m.Ports {
		path := fmt.Sprintf("%s.ports[%d]", path, i)
		if !cardName.MatchString(p.Name) {
			c.add(path+".name", "%q is no name for a network card; use one like eth0", p.Name)
		}
		if names[p.Name] {
			c.add(path+".name", "%s has two cards named %s", m.Name, p.Name)
		}
		names[p.Name] = true
		if n := switchPort(m.Name, p.Name); len(n) > maxLinkName {
			c.add(path+".name", "the switch's end would be named %s, longer than the %d characters that Linux allows; shorten the machine's name", n, maxLinkName)
		}
		if filer && (p.VLAN != 0 || len(p.Addresses) > 0) {
			c.add(path, "%s is a filer: its daemon decides on addresses and VLANs", m.Name)
		}
		c.port(t, path, m, p, lags)
	}
}

func (c *topologyChecker) port(t *Topology, path string, m Machine, p Port, lags map[string]lag) {
	sw, ok := t.switchNamed(p.Switch)
	if !ok {
		c.add(path+".switch", "there is no switch %q", p.Switch)
	}
	if ok && !sw.VLANAware && (p.Untagged != 0 || len(p.Tagged) > 0) {
		c.add(path, "%s is not VLAN-aware: it carries every tag; give it vlanAware: true", sw.Name)
	}
	for _, v := range append([]int{p.Untagged, p.VLAN}, p.Tagged...) {
		if v < 0 || v > 4094 {
			c.add(path, "VLAN %d is not between 1 and 4094", v)
		}
	}
	if p.MTU != 0 && (p.MTU < 68 || p.MTU > switchMTU) {
		c.add(path+".mtu", "MTU %d is not between 68 and %d", p.MTU, switchMTU)
	}
	if p.LAG == "" {
		return
	}
	if !nodeName.MatchString(p.LAG) || len(p.LAG) > maxLinkName {
		c.add(path+".lag", "%q is no name for a LAG: at most %d lower-case letters, digits and dashes", p.LAG, maxLinkName)
	}
	first, known := lags[p.Switch+" "+p.LAG]
	if !known {
		lags[p.Switch+" "+p.LAG] = lag{m.Name, p}
		return
	}
	if first.machine != m.Name {
		c.add(path+".lag", "LAG %s belongs to %s already", p.LAG, first.machine)
	}
	if first.port.Untagged != p.Untagged || !slices.Equal(first.port.Tagged, p.Tagged) {
		c.add(path+".lag", "the ports of LAG %s must have the same VLANs", p.LAG)
	}
}

// plain refuses YAML's tags, anchors and aliases: a topology needs none, and the
// decoder does not survive all of them.
func plain(name string, file *ast.File) error {
	v := &plainVisitor{}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(v, doc.Body)
		}
	}
	if v.odd == nil {
		return nil
	}
	return fmt.Errorf("%s:%d: a topology has no place for a YAML %s", name, firstLine(v.odd), strings.ToLower(v.odd.Type().String()))
}

type plainVisitor struct{ odd ast.Node }

func (v *plainVisitor) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.DirectiveNode:
		if v.odd == nil {
			v.odd = n
		}
	}
	return v
}

// syntaxError puts the file's name and the line in front of what the YAML
// library says.
func syntaxError(name string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", name, y.GetToken().Position.Line, y.GetMessage())
	}
	return fmt.Errorf("%s: %w", name, err)
}
