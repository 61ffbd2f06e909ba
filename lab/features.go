package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Feature is something of the kernel that a lab, or a configuration run in
// it, may need.
type Feature string

// The features, by the names of the kernel's modules or options.
const (
	Bonding       Feature = "bonding"
	VLAN          Feature = "8021q"
	VRF           Feature = "vrf"
	MACVLAN       Feature = "macvlan"
	VLANFiltering Feature = "bridge vlan_filtering"
	Bridges       Feature = "bridge"
	Cables        Feature = "veth"
)

// Features lists all of them.
var Features = []Feature{Bonding, VLAN, VRF, MACVLAN, VLANFiltering, Bridges, Cables}

// Needs lists what the topology needs of the kernel.
func (t *Topology) Needs() []Feature {
	needs := []Feature{Cables, Bridges}
	add := func(f Feature, yes bool) {
		for _, have := range needs {
			yes = yes && have != f
		}
		if yes {
			needs = append(needs, f)
		}
	}
	for _, s := range t.Switches {
		add(VLANFiltering, s.VLANAware)
	}
	for _, m := range t.Machines() {
		for _, p := range m.Ports {
			add(Bonding, p.LAG != "")
			add(VLAN, p.VLAN != 0)
		}
	}
	return needs
}

// Possible tells whether this machine can run a lab of the topology, and if
// not, what is missing.
func Possible(t *Topology) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root for its namespaces; run this with sudo")
	}
	missing, err := Missing(t.Needs()...)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &MissingError{missing}
	}
	return nil
}

// A MissingError tells that the kernel lacks features.
type MissingError struct{ Features []Feature }

func (e *MissingError) Error() string {
	names := make([]string, len(e.Features))
	for i, f := range e.Features {
		names[i] = string(f)
	}
	return "this kernel lacks " + strings.Join(names, ", ") + "; run it in the virtual machine, with test/vm/vm-exec"
}

// Missing returns those of the features that the kernel lacks. It tries them in
// a network namespace of its own, which loads modules where that is allowed.
func Missing(features ...Feature) ([]Feature, error) {
	type result struct {
		missing []Feature
		err     error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		missing, err := probe(features)
		done <- result{missing, err}
	}()
	r := <-done
	return r.missing, r.err
}

func probe(features []Feature) ([]Feature, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace (needs root and CONFIG_NET_NS): %w", err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	filtering := true
	below := netlink.NewVeth(attrs("below"))
	below.PeerName = "peer"
	parent := 0
	if err := h.LinkAdd(below); err == nil {
		if l, err := h.LinkByName("below"); err == nil {
			parent = l.Attrs().Index
		}
	}
	on := func(a netlink.LinkAttrs) netlink.LinkAttrs { a.ParentIndex = parent; return a }
	bond := netlink.NewLinkBond(attrs("bond"))
	bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
	try := map[Feature]netlink.Link{
		Bonding:       bond,
		VLAN:          &netlink.Vlan{LinkAttrs: on(attrs("vlan")), VlanId: 10},
		VRF:           &netlink.Vrf{LinkAttrs: attrs("vrf"), Table: 10},
		MACVLAN:       &netlink.Macvlan{LinkAttrs: on(attrs("macvlan")), Mode: netlink.MACVLAN_MODE_BRIDGE},
		VLANFiltering: &netlink.Bridge{LinkAttrs: attrs("aware"), VlanFiltering: &filtering},
		Bridges:       &netlink.Bridge{LinkAttrs: attrs("bridge")},
	}
	var missing []Feature
	for _, f := range features {
		link := try[f]
		if f == Cables && parent == 0 || link != nil && h.LinkAdd(link) != nil {
			missing = append(missing, f)
		}
	}
	return missing, nil
}
