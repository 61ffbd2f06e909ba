package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// bootAll gives nodes their namespaces, all at the same time.
func (l *Lab) bootAll(s *state, names []string) error {
	var boots errgroup.Group
	for _, name := range names {
		binary := ""
		if _, filer, _ := l.topology.machine(name); filer {
			binary = l.options.Binary
		}
		n := s.Nodes[name]
		boots.Go(func() error {
			p, err := boot(l.nsFile(name), l.nodeDir(name), name, binary)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			n.Init, n.Daemon = p, process{}
			return nil
		})
	}
	return boots.Wait()
}

// powerOn builds the kernel state of machines from nothing: namespaces, loopback,
// cards with the same addresses as always. A filer then runs its daemon.
// Machines that are on stay as they are.
func (l *Lab) powerOn(s *state, names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.Nodes[name].on() })
	if err := l.bootAll(s, names); err != nil {
		return err
	}
	for _, name := range names {
		if err := l.equip(s, name); err != nil {
			return err
		}
	}
	return nil
}

// equip does for a machine with namespaces what remains of powerOn.
func (l *Lab) equip(s *state, name string) error {
	m, filer, _ := l.topology.machine(name)
	n := s.Nodes[name]
	err := l.in(name, func(k kernelSide) error {
		lo, err := k.LinkByName("lo")
		if err != nil {
			return err
		}
		return k.LinkSetUp(lo)
	})
	if err != nil {
		return fmt.Errorf("%s: loopback: %w", name, err)
	}
	if m.Forward {
		if err := setSysctls(n, router); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, port := range m.Ports {
		if err := l.connect(s, name, port); err != nil {
			return fmt.Errorf("%s: %s: %w", name, port.Name, err)
		}
	}
	if !filer {
		return l.configureClient(m)
	}
	if l.options.Binary == "" {
		return nil
	}
	return l.startDaemon(n, name)
}

// powerOff is the loss of power: the cables go dark first, so that no goodbye
// of a dying process reaches anybody, then everything ends at once.
func (l *Lab) powerOff(ctx context.Context, s *state, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, l.darken(name))
	}
	for _, name := range names {
		n := s.Nodes[name]
		if err := n.Init.end(ctx, unix.SIGKILL); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		n.Init, n.Daemon = process{}, process{}
		errs = append(errs, l.pullCards(name), removeNamespace(l.nsFile(name)))
	}
	return errors.Join(errs...)
}

// darken takes the signal off all cables of a machine.
func (l *Lab) darken(name string) error {
	return l.eachPort(name, func(k kernelSide, port string) error { return setCarrier(k, port, false) })
}

// pullCards removes a machine's cards and the switch's ends of their cables.
// The kernel would do it with the namespace, but only some time later.
func (l *Lab) pullCards(name string) error {
	return l.eachPort(name, func(k kernelSide, port string) error {
		link, err := k.LinkByName(port)
		if err != nil {
			return nil // gone with the namespace already
		}
		return k.LinkDel(link)
	})
}

func (l *Lab) eachPort(machine string, do func(k kernelSide, port string) error) error {
	m, _, _ := l.topology.machine(machine)
	var errs []error
	for _, p := range m.Ports {
		errs = append(errs, l.in(p.Switch, func(k kernelSide) error { return do(k, switchPort(machine, p.Name)) }))
	}
	return errors.Join(errs...)
}

// Kill cuts the power of nodes, of all at the same moment. Their disks stay.
func (l *Lab) Kill(names ...string) error {
	return l.locked(func(s *state) error {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		machines, switches, err := l.sort(s, names)
		if err != nil {
			return err
		}
		return errors.Join(l.switchPower(s, switches, true), l.powerOff(ctx, s, machines))
	})
}

// Power switches nodes on. Those that are on stay as they are.
func (l *Lab) Power(names ...string) error {
	return l.locked(func(s *state) error {
		machines, switches, err := l.sort(s, names)
		if err != nil {
			return err
		}
		return errors.Join(l.switchPower(s, switches, false), l.powerOn(s, machines))
	})
}

// PowerCycle cuts the power of filers or clients, of all at the same moment,
// and switches them on again; with cablesOut, all their cables are pulled
// meanwhile and stay out.
func (l *Lab) PowerCycle(cablesOut bool, names ...string) error {
	return l.locked(func(s *state) error {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		machines, switches, err := l.sort(s, names)
		if err != nil {
			return err
		}
		running := machines[:0:0]
		for _, m := range machines {
			if s.Nodes[m].Init.alive() {
				running = append(running, m)
			}
		}
		errs := []error{l.switchPower(s, switches, true), l.powerOff(ctx, s, running)}
		for _, c := range l.topology.cables() {
			for _, m := range machines {
				if cablesOut && c.owner == m {
					s.plug(c, false)
				}
			}
		}
		errs = append(errs, l.switchPower(s, switches, false), l.powerOn(s, machines))
		return errors.Join(errs...)
	})
}

// sort tells machines from switches.
func (l *Lab) sort(s *state, names []string) (machines, switches []string, err error) {
	for _, name := range names {
		if _, err := s.node(name); err != nil {
			return nil, nil, err
		}
		if _, _, ok := l.topology.machine(name); ok {
			machines = append(machines, name)
		} else {
			switches = append(switches, name)
		}
	}
	return machines, switches, nil
}

// switchPower makes all ports of switches dark, or ends that.
func (l *Lab) switchPower(s *state, switches []string, off bool) error {
	var errs []error
	for _, name := range switches {
		s.Nodes[name].Off = off
		for _, c := range l.topology.cables() {
			if c.far == name || c.owner == name {
				errs = append(errs, l.signal(s, c))
			}
		}
	}
	return errors.Join(errs...)
}
