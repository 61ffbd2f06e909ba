package lab

import (
	"strings"
	"testing"
)

func TestTopologyErrorsNameTheLineAndWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"an unknown field": {`
name: x
switches:
- {name: sw1, colour: red}
`, "t.yaml:4: unknown field \"colour\""},
		"a key twice": {`
name: x
name: y
`, "t.yaml:3: mapping key \"name\" already defined"},
		"no YAML at all":   {"\x00\x01", "t.yaml"},
		"an empty file":    {"", "t.yaml:1: a topology needs a name"},
		"a broken address": {"name: x\nclients:\n- name: c\n  ports:\n  - {name: eth0, switch: s, addresses: [10.0.0.300/24]}", "10.0.0.300/24"},
		"a switch that is not there": {`
name: x
filers:
- name: filer1
  ports:
  - {name: eth0, switch: sw9}
`, `t.yaml:6: there is no switch "sw9"`},
		"two nodes of one name": {`
name: x
switches:
- {name: a}
filers:
- {name: a}
`, "t.yaml:6: the name a is taken by switches[0].name already"},
		"a name that makes the switch's end too long": {`
name: x
switches:
- {name: sw1}
filers:
- name: averylongname
  ports:
  - {name: eth0, switch: sw1}
`, "t.yaml:8: the switch's end would be named averylongname-eth0"},
		"a YAML tag":    {"name: x\nlinks: !odd 00", "t.yaml:2: a topology has no place for a YAML tag"},
		"a YAML anchor": {"name: x\nlinks: &odd []", "t.yaml:2: a topology has no place for a YAML anchor"},
		"a loop of switches": {`
name: x
switches: [{name: a}, {name: b}, {name: c}]
links:
- {from: a, to: b}
- {from: b, to: c}
- {from: c, to: a}
`, "t.yaml:7: the link from c to a closes a loop"},
		"addresses of a filer": {`
name: x
switches: [{name: a}]
filers:
- name: filer1
  ports:
  - {name: eth0, switch: a, addresses: [10.0.0.1/24]}
`, "t.yaml:7: filer1 is a filer: its daemon decides on addresses"},
		"VLANs on a switch that knows none": {`
name: x
switches: [{name: a}]
filers:
- name: filer1
  ports:
  - {name: eth0, switch: a, tagged: [10]}
`, "t.yaml:7: a is not VLAN-aware"},
		"a LAG of two machines": {`
name: x
switches: [{name: a}]
filers:
- {name: f1, ports: [{name: eth0, switch: a, lag: bond0}]}
- {name: f2, ports: [{name: eth0, switch: a, lag: bond0}]}
`, "t.yaml:6: LAG bond0 belongs to f1 already"},
		"a VLAN beyond the last": {`
name: x
switches: [{name: a, vlanAware: true}]
filers:
- {name: f1, ports: [{name: eth0, switch: a, untagged: 4095}]}
`, "t.yaml:5: VLAN 4095 is not between 1 and 4094"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTopology("t.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got:  %v\nwant: %s", err, c.want)
			}
		})
	}
}

func TestEveryBrokenRuleIsReported(t *testing.T) {
	_, err := ParseTopology("t.yaml", []byte("name: Bad Name\nfilers:\n- {name: f1, ports: [{name: eth0, switch: a}, {name: eth0, switch: b}]}\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got: %v", err)
	}
}

func TestATopologyNeedsWhatItUses(t *testing.T) {
	top, err := ParseTopology("t.yaml", []byte(`
name: x
switches: [{name: a, vlanAware: true}]
filers: [{name: f1, ports: [{name: eth0, switch: a, lag: l1}]}]
clients: [{name: c1, ports: [{name: eth0, switch: a, vlan: 5}]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	got := top.Needs()
	for _, f := range []Feature{Cables, Bridges, Bonding, VLAN, VLANFiltering} {
		found := false
		for _, g := range got {
			found = found || f == g
		}
		if !found {
			t.Errorf("%s is not in %v", f, got)
		}
	}
}

func FuzzParseTopology(f *testing.F) {
	f.Add([]byte(smallTopology))
	f.Add([]byte("name: x\nfilers: [{name: f, ports: [{name: eth0, lag: l, tagged: [1, 2]}]}]"))
	f.Add([]byte("links: [{}, {from: a}]"))
	f.Add([]byte("links: !00000 00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		top, err := ParseTopology("t.yaml", data)
		if err == nil && top.Name == "" {
			t.Error("a topology without a name is accepted")
		}
	})
}
