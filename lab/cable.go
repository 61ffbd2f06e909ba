package lab

import (
	"errors"
	"fmt"
)

// A cable goes from a machine, or a switch, to a switch. It is named like
// filer1:eth0, or sw1:sw2 when it is between switches.
type cable struct {
	name   string
	owner  string // the machine, or the switch that the link is from
	far    string // the switch at the other end
	port   string // the end whose state makes the signal; on far
	onFrom bool   // port is the owner's, as both ends are switches
}

func portCable(machine string, p Port) cable {
	return cable{name: machine + ":" + p.Name, owner: machine, far: p.Switch, port: switchPort(machine, p.Name)}
}

func linkCable(l Link) cable {
	return cable{name: l.From + ":" + l.To, owner: l.From, far: l.To, port: l.To, onFrom: true}
}

// iface is the owner's end.
func (c cable) iface() string { return c.name[len(c.owner)+1:] }

// cables lists all of them.
func (t *Topology) cables() []cable {
	var all []cable
	for _, m := range t.Machines() {
		for _, p := range m.Ports {
			all = append(all, portCable(m.Name, p))
		}
	}
	for _, link := range t.Links {
		all = append(all, linkCable(link))
	}
	return all
}

// lit reports whether there is a signal on the cable.
func (l *Lab) lit(s *state, c cable) bool {
	off := func(node string) bool { n := s.Nodes[node]; return n != nil && n.Off }
	return !s.Unplugged[c.name] && !off(c.far) && !off(c.owner)
}

// signal makes the cable's ends agree with lit.
func (l *Lab) signal(s *state, c cable) error {
	if c.onFrom {
		return l.in(c.owner, func(k kernelSide) error {
			var errs []error
			for d := range s.Domains + 1 {
				errs = append(errs, setCarrier(k, uplink(c.far, d), l.lit(s, c)))
			}
			return errors.Join(errs...)
		})
	}
	if !s.Nodes[c.owner].on() {
		return nil // the cable's ends are made when the machine is switched on
	}
	return l.in(c.far, func(k kernelSide) error { return setCarrier(k, c.port, l.lit(s, c)) })
}

// SetLink pulls the cable of one interface of a node, or plugs it in again.
// Both its ends lose the signal. On a switch, the interface is the name of the
// switch at the other end.
func (l *Lab) SetLink(node, iface string, up bool) error {
	return l.setCables(up, func(c cable) bool {
		return c.name == node+":"+iface || c.onFrom && c.name == iface+":"+node
	}, fmt.Sprintf("%s has no interface %s", node, iface))
}

// SetCables pulls or plugs all cables of the nodes; without nodes, all cables
// of the filers.
func (l *Lab) SetCables(up bool, nodes ...string) error {
	if len(nodes) == 0 {
		nodes = l.topology.FilerNames()
	}
	for _, n := range nodes {
		err := l.setCables(up, func(c cable) bool { return c.owner == n || c.far == n }, "there is no cable to "+n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) setCables(up bool, which func(cable) bool, none string) error {
	return l.locked(func(s *state) error {
		var errs []error
		found := false
		for _, c := range l.topology.cables() {
			if !which(c) {
				continue
			}
			found = true
			s.plug(c, up)
			errs = append(errs, l.signal(s, c))
		}
		if !found {
			return errors.New(none)
		}
		return errors.Join(errs...)
	})
}

func (s *state) plug(c cable, in bool) {
	if in {
		delete(s.Unplugged, c.name)
		return
	}
	s.Unplugged[c.name] = true
}

// Partition cuts the named machines off from all others. They still reach each
// other, and every card keeps its signal: nobody is told.
func (l *Lab) Partition(machines ...string) error {
	return l.locked(func(s *state) error {
		for _, name := range machines {
			if _, _, ok := l.topology.machine(name); !ok {
				return fmt.Errorf("there is no filer or client %q to cut off", name)
			}
		}
		s.Domains++
		if err := l.buildDomain(s, s.Domains); err != nil {
			return err
		}
		for _, name := range machines {
			if err := l.move(s, name, s.Domains); err != nil {
				return err
			}
		}
		return nil
	})
}

// Heal ends all partitions. Cables stay as they are.
func (l *Lab) Heal() error {
	return l.locked(func(s *state) error {
		for _, m := range l.topology.Machines() {
			if err := l.move(s, m.Name, 0); err != nil {
				return err
			}
		}
		for ; s.Domains > 0; s.Domains-- {
			if err := l.removeDomain(s.Domains); err != nil {
				return err
			}
		}
		return nil
	})
}

// move puts all ports of a machine into one part of the network.
func (l *Lab) move(s *state, name string, domain int) error {
	m, _, _ := l.topology.machine(name)
	s.Nodes[name].Domain = domain
	if !s.Nodes[name].on() {
		return nil
	}
	for _, p := range m.Ports {
		err := l.in(p.Switch, func(k kernelSide) error {
			port := switchPort(name, p.Name)
			if p.LAG != "" {
				port = p.LAG
			}
			return l.attach(k, p.Switch, port, domain, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// removeDomain takes away the bridges of a part of the network that is healed.
func (l *Lab) removeDomain(domain int) error {
	var errs []error
	for _, sw := range l.topology.Switches {
		errs = append(errs, l.in(sw.Name, func(k kernelSide) error {
			names := []string{bridgeName(domain)}
			for _, link := range l.topology.Links {
				if link.From == sw.Name {
					names = append(names, uplink(link.To, domain))
				}
			}
			for _, name := range names {
				link, err := k.LinkByName(name)
				if err != nil {
					return err
				}
				if err := k.LinkDel(link); err != nil {
					return fmt.Errorf("remove %s of %s: %w", name, sw.Name, err)
				}
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}
