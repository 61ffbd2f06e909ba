package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// switchMTU lets every frame through that a machine may send.
const switchMTU = 9216

// nsDir is where iproute2 looks for named network namespaces.
const nsDir = "/run/netns"

// A kernelSide is a node's network namespace, open for changes.
type kernelSide struct {
	*netlink.Handle
	ns netns.NsHandle
}

func (k kernelSide) close() {
	k.Handle.Close()
	k.ns.Close()
}

func (l *Lab) nsFile(node string) string {
	return filepath.Join(nsDir, "nq-"+l.name+"-"+node)
}

func (l *Lab) kernel(node string) (kernelSide, error) {
	ns, err := netns.GetFromPath(l.nsFile(node))
	if err != nil {
		return kernelSide{}, fmt.Errorf("network namespace of %s: %w", node, err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		ns.Close()
		return kernelSide{}, fmt.Errorf("netlink in %s: %w", node, err)
	}
	return kernelSide{h, ns}, nil
}

// in calls do with the kernel side of a node.
func (l *Lab) in(node string, do func(kernelSide) error) error {
	k, err := l.kernel(node)
	if err != nil {
		return err
	}
	defer k.close()
	return do(k)
}

// bridgeName is the bridge of a switch for one part of a partitioned network.
// Undivided, all is in part 0.
func bridgeName(domain int) string { return fmt.Sprintf("br%d", domain) }

// uplink is the name of a switch's port to another switch, in one part.
func uplink(other string, domain int) string { return fmt.Sprintf("%s.%d", other, domain) }

// buildDomain gives every switch a bridge for the part of the network, and the
// bridges cables between them. What exists is left alone.
func (l *Lab) buildDomain(s *state, domain int) error {
	for _, sw := range l.topology.Switches {
		err := l.in(sw.Name, func(k kernelSide) error { return addBridge(k, sw, bridgeName(domain)) })
		if err != nil {
			return fmt.Errorf("switch %s: %w", sw.Name, err)
		}
	}
	for _, link := range l.topology.Links {
		if err := l.connectSwitches(s, link, domain); err != nil {
			return fmt.Errorf("link between %s and %s: %w", link.From, link.To, err)
		}
	}
	return nil
}

func addBridge(k kernelSide, sw Switch, name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	snooping := false // a querier would be needed, and none is there
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	if sw.VLANAware {
		bridge.VlanFiltering = &sw.VLANAware
	}
	err := k.LinkAdd(bridge)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) && sw.VLANAware {
		return fmt.Errorf("this kernel's bridges know no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)")
	}
	if err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	return k.LinkSetUp(bridge)
}

func (l *Lab) connectSwitches(s *state, link Link, domain int) error {
	to, err := l.kernel(link.To)
	if err != nil {
		return err
	}
	defer to.close()
	return l.in(link.From, func(from kernelSide) error {
		name, peer := uplink(link.To, domain), uplink(link.From, domain)
		if _, err := from.LinkByName(name); err == nil {
			return nil
		}
		if err := addCable(from, name, to, peer, nil, switchMTU); err != nil {
			return err
		}
		trunk := Port{Untagged: 1, Tagged: allVLANs}
		if err := l.attach(from, link.From, name, domain, trunk); err != nil {
			return err
		}
		if err := l.attach(to, link.To, peer, domain, trunk); err != nil {
			return err
		}
		return errors.Join(setCarrier(from, name, l.lit(s, linkCable(link))), setCarrier(to, peer, true))
	})
}

// allVLANs stands for every tag in a port's Tagged.
var allVLANs = []int{-1}

// addCable makes the two ends of a cable, each where it belongs: nothing is
// ever seen in this machine's own namespace.
func addCable(k kernelSide, name string, far kernelSide, farName string, farMAC net.HardwareAddr, farMTU int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.MTU = switchMTU
	veth := netlink.NewVeth(attrs)
	veth.PeerName = farName
	veth.PeerNamespace = netlink.NsFd(far.ns)
	veth.PeerHardwareAddr = farMAC
	veth.PeerMTU = uint32(farMTU)
	if err := k.LinkAdd(veth); err != nil {
		return fmt.Errorf("add cable %s: %w", name, err)
	}
	return nil
}

// connect plugs a machine's card into its switch.
func (l *Lab) connect(s *state, machine string, p Port) error {
	far, err := l.kernel(machine)
	if err != nil {
		return err
	}
	defer far.close()
	return l.in(p.Switch, func(k kernelSide) error {
		mtu := p.MTU
		if mtu == 0 {
			mtu = 1500
		}
		name := switchPort(machine, p.Name)
		if err := addCable(k, name, far, p.Name, l.cardMAC(machine, p.Name), mtu); err != nil {
			return err
		}
		port := name
		if p.LAG != "" {
			if err := joinLAG(k, p.LAG, name); err != nil {
				return err
			}
			port = p.LAG
		}
		if err := l.attach(k, p.Switch, port, s.Nodes[machine].Domain, p); err != nil {
			return err
		}
		return setCarrier(k, name, l.lit(s, portCable(machine, p)))
	})
}

// joinLAG makes a port a member of the switch's aggregation group.
func joinLAG(k kernelSide, lag, port string) error {
	bond, err := k.LinkByName(lag)
	if err != nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = lag
		attrs.MTU = switchMTU
		b := netlink.NewLinkBond(attrs)
		b.Mode = netlink.BOND_MODE_802_3AD
		b.Miimon = 100
		b.LacpRate = netlink.BOND_LACP_RATE_FAST
		if err := k.LinkAdd(b); err != nil {
			return fmt.Errorf("add LAG %s (is the kernel's bonding module there?): %w", lag, err)
		}
		bond = b
	}
	link, err := k.LinkByName(port)
	if err != nil {
		return err
	}
	if err := k.LinkSetMaster(link, bond); err != nil {
		return fmt.Errorf("add %s to LAG %s: %w", port, lag, err)
	}
	return k.LinkSetUp(bond)
}

// attach makes a link a port of the switch's bridge for a part of the network.
func (l *Lab) attach(k kernelSide, sw, name string, domain int, p Port) error {
	bridge, err := k.LinkByName(bridgeName(domain))
	if err != nil {
		return fmt.Errorf("%s of %s: %w", bridgeName(domain), sw, err)
	}
	link, err := k.LinkByName(name)
	if err != nil {
		return fmt.Errorf("port %s of %s: %w", name, sw, err)
	}
	if link.Attrs().MasterIndex == bridge.Attrs().Index {
		return nil
	}
	if err := k.LinkSetMaster(link, bridge); err != nil {
		return fmt.Errorf("attach port %s of %s: %w", name, sw, err)
	}
	if s, _ := l.topology.switchNamed(sw); !s.VLANAware || p.Untagged == 0 && len(p.Tagged) == 0 {
		return nil
	}
	if err := setVLANs(k, link, p); err != nil {
		return fmt.Errorf("VLANs of port %s of %s: %w", name, sw, err)
	}
	return nil
}

// setVLANs replaces the VLAN 1 that every new port is in.
func setVLANs(k kernelSide, link netlink.Link, p Port) error {
	if p.Untagged != 1 {
		if err := k.BridgeVlanDel(link, 1, true, true, false, true); err != nil {
			return err
		}
	}
	if p.Untagged > 1 {
		if err := k.BridgeVlanAdd(link, uint16(p.Untagged), true, true, false, true); err != nil {
			return err
		}
	}
	for _, v := range p.Tagged {
		add := func() error { return k.BridgeVlanAdd(link, uint16(v), false, false, false, true) }
		if v == allVLANs[0] {
			add = func() error { return k.BridgeVlanAddRange(link, 2, 4094, false, false, false, true) }
		}
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

// setCarrier makes the other end of the cable see a signal, or none.
func setCarrier(k kernelSide, name string, on bool) error {
	link, err := k.LinkByName(name)
	if err != nil {
		return fmt.Errorf("port %s: %w", name, err)
	}
	if on {
		return k.LinkSetUp(link)
	}
	return k.LinkSetDown(link)
}

// cardMAC is the burnt-in address of a card: the same each time it is built.
func (l *Lab) cardMAC(machine, port string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(l.name + "/" + machine + "/" + port))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^0x01 | 0x02 // unicast, locally administered
	return mac
}
