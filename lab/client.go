package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// configureClient gives a client its addresses and routes. Filers are left as a
// fresh machine's kernel has them: theirs is the daemon's business.
func (l *Lab) configureClient(m Machine) error {
	return l.in(m.Name, func(k kernelSide) error {
		for _, p := range m.Ports {
			if err := configureCard(k, p); err != nil {
				return fmt.Errorf("%s: %s: %w", m.Name, p.Name, err)
			}
		}
		for _, r := range m.Routes {
			route := &netlink.Route{Dst: ipNet(r.To.Masked()), Gw: r.Via.AsSlice()}
			if err := k.RouteReplace(route); err != nil {
				return fmt.Errorf("%s: route to %s via %s: %w", m.Name, r.To, r.Via, err)
			}
		}
		return nil
	})
}

func configureCard(k kernelSide, p Port) error {
	link, err := k.LinkByName(p.Name)
	if err != nil {
		return err
	}
	if err := k.LinkSetUp(link); err != nil {
		return err
	}
	if p.VLAN != 0 {
		if link, err = addVLAN(k, link, p.VLAN); err != nil {
			return err
		}
	}
	for _, prefix := range p.Addresses {
		addr := &netlink.Addr{IPNet: ipNet(prefix)}
		if prefix.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // or the address is not usable for a second
		}
		if err := k.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("address %s: %w", prefix, err)
		}
	}
	return nil
}

func addVLAN(k kernelSide, parent netlink.Link, tag int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("%s.%d", parent.Attrs().Name, tag)
	attrs.ParentIndex = parent.Attrs().Index
	vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: tag}
	if err := k.LinkAdd(vlan); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("add VLAN %d (is the kernel's 8021q module there?): %w", tag, err)
	}
	link, err := k.LinkByName(attrs.Name)
	if err != nil {
		return nil, err
	}
	return link, k.LinkSetUp(link)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// setSysctls writes settings below /proc/sys in a node, such as
// net/ipv4/ip_forward.
func setSysctls(n *node, settings map[string]string) error {
	return n.enter(func() error {
		for name, value := range settings {
			// A kernel without IPv6 has no settings for it.
			err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
		return nil
	})
}

// quietSwitch keeps the kernel of a switch from taking part in the networks
// that it only forwards.
var quietSwitch = map[string]string{"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}

// router makes a client forward.
var router = map[string]string{"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
