package fakekernel

import (
	"fmt"
	"maps"
	"slices"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"golang.org/x/sys/unix"
)

const vrfMTU = 65575

// refuse is an error like the kernel's: a number and a reason.
func refuse(e unix.Errno, format string, args ...any) error {
	return fmt.Errorf("%w: %s", e, fmt.Sprintf(format, args...))
}

func (k *Kernel) addLink(want netapply.Link) error {
	if k.links[want.Name] != nil {
		return refuse(unix.EEXIST, "link %s", want.Name)
	}
	if len(want.Name) > 15 {
		return refuse(unix.ERANGE, "name %s is too long", want.Name)
	}
	l := &link{ObservedLink: netapply.ObservedLink{Link: want, Group: netapply.Group}}
	l.Role, l.Master, l.Settings = "", "", defaultSettings()
	parent := k.links[want.Parent]
	if want.Kind == netapply.VLAN || want.Kind == netapply.Macvlan {
		if parent == nil {
			return refuse(unix.ENODEV, "parent %s", want.Parent)
		}
		if want.MTU > parent.MTU {
			return refuse(unix.EINVAL, "MTU %d above the parent's %d", want.MTU, parent.MTU)
		}
	}
	l.Options = maps.Clone(want.Options)
	switch want.Kind {
	case netapply.VLAN:
		for _, o := range k.links {
			if o.Kind == netapply.VLAN && o.Parent == want.Parent && o.Options["id"] == want.Options["id"] {
				return refuse(unix.EEXIST, "tag %s on %s", want.Options["id"], want.Parent)
			}
		}
		l.MAC = parent.MAC
	case netapply.Macvlan:
		if parent.Kind == netapply.Macvlan { // goes to the lower link
			l.Parent = parent.Parent
			parent = k.links[l.Parent]
		}
		if k.inBond(parent) {
			return refuse(unix.EBUSY, "%s is in a bond", parent.Name)
		}
	case netapply.Bond:
		l.Options = maps.Clone(bondDefaults)
		if err := k.setBondOptions(l, want.Options); err != nil {
			return err
		}
	case netapply.VRF:
	default:
		return refuse(unix.EOPNOTSUPP, "kind %q", want.Kind)
	}
	if l.MTU == 0 {
		l.MTU = map[netapply.LinkKind]int{netapply.Bond: 1500, netapply.VRF: vrfMTU}[want.Kind]
		if parent != nil {
			l.MTU = parent.MTU
		}
	}
	if l.MAC.IsZero() {
		l.MAC = macOf(l.Name)
	}
	k.insert(l)
	return nil
}

func (k *Kernel) inBond(l *link) bool {
	m := k.links[l.Master]
	return m != nil && m.Kind == netapply.Bond
}

// setLink takes the parts of a request in the kernel's order.
func (k *Kernel) setLink(s netapply.SetLink) error {
	l := k.links[s.Name]
	if l == nil {
		return refuse(unix.ENODEV, "link %s", s.Name)
	}
	if len(s.Options) > 0 {
		if err := k.setOptions(l, s.Options); err != nil {
			return err
		}
	}
	if s.MAC != nil {
		k.setMAC(l, *s.MAC)
	}
	if s.MTU != nil {
		if err := k.setMTU(l, *s.MTU); err != nil {
			return err
		}
	}
	if s.Label != nil {
		if l.physical {
			panic("netapply marks the physical link " + s.Name)
		}
		l.Alias, l.Group = *s.Label, netapply.Group
	}
	if s.Master != nil {
		if s.Up != nil && !*s.Up {
			return refuse(unix.EINVAL, "down and a master in one request")
		}
		if err := k.setMaster(l, *s.Master); err != nil {
			return err
		}
	}
	if s.Up != nil {
		return k.setUp(l, *s.Up)
	}
	return nil
}

// setMAC changes a MAC, and those of VLANs, which have their parent's.
func (k *Kernel) setMAC(l *link, mac netquorum.MAC) {
	l.MAC = mac
	for _, o := range k.links {
		if o.Kind == netapply.VLAN && o.Parent == l.Name {
			k.setMAC(o, mac)
		}
	}
}

func (k *Kernel) setMTU(l *link, mtu int) error {
	if p := k.links[l.Parent]; p != nil && mtu > p.MTU {
		return refuse(unix.ERANGE, "MTU %d of %s is above the parent's %d", mtu, l.Name, p.MTU)
	}
	l.MTU = mtu
	for _, o := range k.links {
		if o.Parent == l.Name && o.MTU > mtu {
			_ = k.setMTU(o, mtu)
		}
		if l.Kind == netapply.Bond && o.Master == l.Name {
			if err := k.setMTU(o, mtu); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *Kernel) setMaster(l *link, name string) error {
	if l.Master == name {
		return nil
	}
	master := k.links[name]
	if name != "" && master == nil {
		return refuse(unix.ENODEV, "master %s", name)
	}
	if l.Master != "" {
		k.release(l)
	}
	switch {
	case master == nil:
		return nil
	case master.Kind == netapply.VRF:
		k.cycle(l)
		l.Master = name
		return nil
	case master.Kind != netapply.Bond:
		return refuse(unix.EOPNOTSUPP, "%s has no members", name)
	}
	if l.Up {
		return refuse(unix.EPERM, "%s cannot be enslaved while up", l.Name)
	}
	for _, o := range k.links {
		if o.Parent == l.Name && o.Kind == netapply.Macvlan {
			return refuse(unix.EBUSY, "%s carries %s", l.Name, o.Name)
		}
	}
	l.ownMTU = l.MTU
	if err := k.setMTU(l, master.MTU); err != nil {
		return err
	}
	l.Master = name
	return k.setUp(l, true)
}

// release takes a link out of its bond or VRF.
func (k *Kernel) release(l *link) {
	bond := k.inBond(l)
	l.Master = ""
	if !bond {
		k.cycle(l)
		return
	}
	_ = k.setUp(l, false)
	_ = k.setMTU(l, l.ownMTU)
}

// cycle puts a link down and up again, as entering a VRF does.
func (k *Kernel) cycle(l *link) {
	if l.Up {
		_ = k.setUp(l, false)
		_ = k.setUp(l, true)
	}
}

func (k *Kernel) setUp(l *link, up bool) error {
	if l.Up == up {
		return nil
	}
	if up {
		if err := k.mayComeUp(l); err != nil {
			return err
		}
	}
	l.Up = up
	for _, o := range k.links {
		if o.Kind == netapply.VLAN && o.Parent == l.Name {
			_ = k.setUp(o, up)
		}
	}
	if !up {
		k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return r.Link == l.Name })
		if l.Settings["ipv6/keep_addr_on_down"] == 0 {
			k.dropAddresses(func(a netapply.ObservedAddress) bool { return a.Link == l.Name && a.Prefix.Addr().Is6() })
		}
	}
	return nil
}

func (k *Kernel) mayComeUp(l *link) error {
	p := k.links[l.Parent]
	if l.Kind == netapply.VLAN && !p.Up {
		return refuse(unix.ENETDOWN, "%s below %s is down", p.Name, l.Name)
	}
	for _, o := range k.links {
		if l.Kind == netapply.Macvlan && o != l && o.Kind == netapply.Macvlan && o.Parent == l.Parent && o.Up && o.MAC == l.MAC {
			return refuse(unix.EADDRINUSE, "MAC %s of %s", l.MAC, o.Name)
		}
	}
	return nil
}

func (k *Kernel) delLink(name string) error {
	l := k.links[name]
	if l == nil {
		return refuse(unix.ENODEV, "link %s", name)
	}
	if l.physical {
		return refuse(unix.EOPNOTSUPP, "%s is physical", name)
	}
	k.drop(name)
	return nil
}

// drop removes a link with everything that cannot be without it.
func (k *Kernel) drop(name string) {
	for _, o := range k.sorted() {
		if k.links[o.Name] != o {
			continue
		}
		if o.Parent == name {
			k.drop(o.Name)
		} else if o.Master == name {
			k.release(o)
		}
	}
	delete(k.links, name)
	k.dropAddresses(func(a netapply.ObservedAddress) bool { return a.Link == name })
	k.routes = slices.DeleteFunc(k.routes, func(r route) bool { return r.Link == name })
}

func (k *Kernel) setSettings(s netapply.SetSettings) error {
	l := k.links[s.Link]
	if l == nil {
		return refuse(unix.ENOENT, "settings of %s", s.Link)
	}
	for name, v := range s.Settings {
		if _, known := l.Settings[name]; !known {
			return refuse(unix.ENOENT, "setting %s of %s", name, s.Link)
		}
		l.Settings[name] = v
	}
	if s.Settings["ipv6/disable_ipv6"] == 1 {
		k.dropAddresses(func(a netapply.ObservedAddress) bool { return a.Link == s.Link && a.Prefix.Addr().Is6() })
	}
	return nil
}

// noMAC is how the kernel shows an actor system that is not set.
var noMAC = netquorum.MAC{}.String()

// swapLink renames two links. Nothing is renamed that is up.
func (k *Kernel) swapLink(s netapply.SwapLink) error {
	old, next := k.links[s.Name], k.links[s.Next]
	if old == nil || next == nil {
		return refuse(unix.ENODEV, "link %s or %s", s.Name, s.Next)
	}
	if k.links[s.Old] != nil {
		return refuse(unix.EEXIST, "link %s", s.Old)
	}
	if next.Up {
		return refuse(unix.EBUSY, "%s is up", s.Next)
	}
	_ = k.setUp(old, false)
	k.rename(old, s.Old)
	k.rename(next, s.Name)
	return k.setUp(next, true)
}

func (k *Kernel) rename(l *link, name string) {
	was := l.Name
	delete(k.links, was)
	l.Name = name
	k.links[name] = l
	for _, o := range k.links {
		if o.Parent == was {
			o.Parent = name
		}
		if o.Master == was {
			o.Master = name
		}
	}
	for i := range k.addresses {
		if k.addresses[i].Link == was {
			k.addresses[i].Link = name
		}
	}
	for i := range k.routes {
		if k.routes[i].Link == was {
			k.routes[i].Link = name
		}
	}
}
