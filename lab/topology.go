package lab

import (
	"net/netip"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// A Topology is what is cabled to what. Read one with ParseTopology.
type Topology struct {
	// Name is the lab's name unless Options give another.
	Name     string    `yaml:"name"`
	Switches []Switch  `yaml:"switches"`
	Links    []Link    `yaml:"links,omitempty"`
	Filers   []Machine `yaml:"filers"`
	Clients  []Machine `yaml:"clients,omitempty"`

	source []byte
}

// A Switch forwards frames between its ports, VLAN tags and all; a VLAN-aware
// one only within the VLANs of each port.
type Switch struct {
	Name      string `yaml:"name"`
	VLANAware bool   `yaml:"vlanAware,omitempty"`
}

// A Link is a cable between two switches. It carries every VLAN.
type Link struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
}

// A Machine is a filer, or a client: anything else with cables. Routers are
// clients that forward.
type Machine struct {
	Name  string `yaml:"name"`
	Ports []Port `yaml:"ports"`
	// Forward makes a client a router.
	Forward bool `yaml:"forward,omitempty"`
	// Routes are a client's routes beside those of its addresses.
	Routes []ClientRoute `yaml:"routes,omitempty"`
}

// A Port is a network card and the cable from it to a switch.
type Port struct {
	Name   string `yaml:"name"`
	Switch string `yaml:"switch"`
	// LAG names a link aggregation group of the switch. Ports with the same
	// LAG speak LACP as one.
	LAG string `yaml:"lag,omitempty"`
	// Untagged and Tagged are the VLANs of the switch's side of the cable, on
	// a VLAN-aware switch. Without either, the port is in VLAN 1, untagged.
	Untagged int   `yaml:"untagged,omitempty"`
	Tagged   []int `yaml:"tagged,omitempty"`
	// MTU of the machine's side; 1500 when zero. A filer's daemon sets its own.
	MTU int `yaml:"mtu,omitempty"`
	// VLAN and Addresses are a client's: its addresses are on the card, or on a
	// VLAN of it.
	VLAN      int            `yaml:"vlan,omitempty"`
	Addresses []netip.Prefix `yaml:"addresses,omitempty"`
}

// A ClientRoute is a route of a client.
type ClientRoute struct {
	To  netip.Prefix `yaml:"to"`
	Via netip.Addr   `yaml:"via"`
}

// ReadTopology reads a topology file.
func ReadTopology(path string) (*Topology, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseTopology(path, data)
}

// ParseTopology reads a topology and checks it. name is used in errors, which
// carry line numbers.
func ParseTopology(name string, data []byte) (*Topology, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	if err := plain(name, file); err != nil {
		return nil, err
	}
	t := &Topology{source: data}
	if err := yaml.UnmarshalWithOptions(data, t, yaml.Strict()); err != nil {
		return nil, syntaxError(name, err)
	}
	c := topologyChecker{name: name, file: file}
	c.check(t)
	return t, c.err()
}

// Machines returns filers and clients.
func (t *Topology) Machines() []Machine {
	return append(append([]Machine(nil), t.Filers...), t.Clients...)
}

// FilerNames returns the names of the filers in the order of the file.
func (t *Topology) FilerNames() []string {
	names := make([]string, len(t.Filers))
	for i, f := range t.Filers {
		names[i] = f.Name
	}
	return names
}

// nodes returns the names of everything.
func (t *Topology) nodes() []string {
	var names []string
	for _, s := range t.Switches {
		names = append(names, s.Name)
	}
	for _, m := range t.Machines() {
		names = append(names, m.Name)
	}
	return names
}

// machine returns the filer or client of the name.
func (t *Topology) machine(name string) (m Machine, filer, ok bool) {
	for _, f := range t.Filers {
		if f.Name == name {
			return f, true, true
		}
	}
	for _, c := range t.Clients {
		if c.Name == name {
			return c, false, true
		}
	}
	return Machine{}, false, false
}

func (t *Topology) switchNamed(name string) (Switch, bool) {
	for _, s := range t.Switches {
		if s.Name == name {
			return s, true
		}
	}
	return Switch{}, false
}

// switchPort is the name of the switch's end of a machine's cable.
func switchPort(machine, port string) string { return machine + "-" + port }
