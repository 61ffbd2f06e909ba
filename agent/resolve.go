package agent

import (
	"net"
	"net/netip"
	"slices"

	"github.com/netquorum/netquorum"
)

// endpoints returns where the filer with the id may be reached: its mgmt
// addresses in the configuration first, then what was known when it joined.
func endpoints(c netquorum.Config, id netquorum.FilerID, port string) []string {
	paths, spare := reach(c, id, port)
	return append(paths, spare...)
}

// reach returns at which addresses a filer is to be reached, and at which others
// it may be: what was known when it joined counts for as long as the
// configuration has no mgmt addresses for it.
func reach(c netquorum.Config, id netquorum.FilerID, port string) (paths, spare []string) {
	for d := range c.All(netquorum.KindMember) {
		m := d.Spec.(*netquorum.Member)
		if m.ID != id {
			continue
		}
		// A filer that advertises addresses says at which port it listens.
		if len(m.Endpoints) > 0 {
			if _, p, err := net.SplitHostPort(m.Endpoints[0]); err == nil {
				port = p
			}
		}
		for _, a := range managementAddresses(c, d.Name) {
			paths = append(paths, net.JoinHostPort(a.String(), port))
		}
		for _, e := range m.Endpoints {
			if !slices.Contains(paths, e) {
				spare = append(spare, e)
			}
		}
		if len(paths) == 0 {
			paths, spare = spare, nil
		}
	}
	return paths, spare
}

// managementAddresses returns the addresses of the filer's mgmt aliases.
func managementAddresses(c netquorum.Config, filer string) []netip.Addr {
	var out []netip.Addr
	for _, i := range c.Interfaces(filer) {
		if i.Name.Stem() != "mgmt" {
			continue
		}
		for _, p := range i.Addresses {
			out = append(out, p.Addr())
		}
	}
	return out
}

// memberID returns the id of the filer with the name.
func memberID(c netquorum.Config, filer string) netquorum.FilerID {
	if d, ok := c.Get(netquorum.KindMember, filer); ok {
		return d.Spec.(*netquorum.Member).ID
	}
	return ""
}

// memberName returns the name of the filer with the id.
func memberName(c netquorum.Config, id netquorum.FilerID) string {
	for d := range c.All(netquorum.KindMember) {
		if d.Spec.(*netquorum.Member).ID == id {
			return d.Name
		}
	}
	return ""
}

// machineAddresses returns the machine's own global addresses with the port:
// what a filer without configured mgmt addresses can be reached at.
func machineAddresses(port string) ([]string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		out = append(out, net.JoinHostPort(p.Addr().String(), port))
	}
	return out, nil
}
