package netapply

import (
	"fmt"
	"net/netip"

	netquorum "github.com/netquorum/netquorum"
)

// Want computes what the kernel of the filer should hold. hosts says which
// virtual servers and services the filer hosts now. It is pure.
func Want(c netquorum.Config, filer string, hosts func(netquorum.Key) bool) (Desired, error) {
	doc, ok := c.Get(netquorum.KindFiler, filer)
	if !ok {
		return Desired{}, fmt.Errorf("filer %q is not in the configuration", filer)
	}
	w := wanter{self: doc.Key(), interfaces: c.Interfaces(filer)}
	if _, cluster, ok := c.Cluster(); ok {
		w.cluster = cluster.MAC
	}
	w.tables = tables(c, w.self, w.interfaces)
	_, policy, _ := c.RoutesOf(w.self)
	w.filer(policy)
	w.out.Access = access(c, w.self, w.interfaces, hosts)
	for h := range c.Hosted() {
		if hosts(h.Key) {
			_, policy, _ := c.RoutesOf(h.Key)
			w.hosted(h, policy)
		}
	}
	return w.out, nil
}

// A wanter collects what is desired.
type wanter struct {
	self       netquorum.Key
	cluster    netquorum.MAC // zero before the filer is in a cluster
	interfaces []netquorum.Interface
	tables     map[tableKey]uint32
	out        Desired
}

// filer wants the filer's own interfaces and addresses.
func (w *wanter) filer(policy *netquorum.Routes) {
	masters := map[netquorum.InterfaceName]string{}
	for _, i := range w.interfaces {
		for _, m := range i.Members {
			masters[m] = string(i.Name)
		}
	}
	var own carriers
	for _, i := range w.interfaces {
		l := w.link(i)
		l.Master, l.Tuning = masters[i.Name], tuning(i)
		w.out.Links = append(w.out.Links, l)
		for _, p := range i.Addresses {
			w.out.Addresses = append(w.out.Addresses, Address{Link: l.Name, Prefix: p})
			own.add(i.Name, l.Name, p)
		}
	}
	w.filerRouting(own, policy)
}

func (w *wanter) link(i netquorum.Interface) Link {
	switch i.Name.Layer() {
	case netquorum.LayerBond:
		return bond(i)
	case netquorum.LayerVLAN:
		return vlan(i)
	case netquorum.LayerFailover:
		return failover(i)
	case netquorum.LayerAlias:
		return alias(i, w.mac(w.self, i.Name))
	}
	return physical(i)
}

// mac is the MAC of an owner's link on an alias. It is the same after every
// restart and on every host, so that what neighbours remember stays true.
func (w *wanter) mac(owner netquorum.Key, alias netquorum.InterfaceName) netquorum.MAC {
	if w.cluster.IsZero() {
		return netquorum.MAC{}
	}
	return netquorum.PortMAC(w.cluster, owner, alias)
}

// hosted wants the ports, addresses and routing of a server on this filer.
func (w *wanter) hosted(h netquorum.Hosted, policy *netquorum.Routes) {
	on := make(map[netquorum.InterfaceName]netquorum.Interface, len(w.interfaces))
	for _, i := range w.interfaces {
		on[i.Name] = i
	}
	domain := ""
	if policy != nil && policy.VRF {
		l := vrf(h.Key, w.tables[tableKey{h.Key.Fold(), ""}])
		domain = l.Name
		w.out.Global = domainSettings
		w.out.Links = append(w.out.Links, l)
	}
	var own carriers
	for _, a := range h.Aliases() {
		if _, ok := on[a]; !ok {
			w.problem(h, a)
			continue
		}
		links := port(h.Key, a, on, w.mac(h.Key, a))
		last := &links[len(links)-1]
		last.Master, last.Tuning = domain, tuning(on[a])
		w.out.Links = append(w.out.Links, links...)
		for _, addr := range h.Addresses {
			if addr.Alias == a {
				w.out.Addresses = append(w.out.Addresses, Address{Link: last.Name, Prefix: addr.Prefix, Hosted: true, Guarded: w.out.Access != nil})
				own.add(a, last.Name, addr.Prefix)
			}
		}
	}
	w.hostedRouting(h.Key, own, policy, domain != "")
}

func (w *wanter) problem(h netquorum.Hosted, a netquorum.InterfaceName) {
	w.out.Problems = append(w.out.Problems, ObjectError{
		Object: linkObject(portName(h.Key, a)),
		Err:    fmt.Errorf("%s is hosted here but %s has no %s; add the alias or move the server", h.Key, w.self, a),
	})
}

// A carrier is a link with addresses, for the routing of its owner.
type carrier struct {
	alias    netquorum.InterfaceName
	link     string
	prefixes []netip.Prefix
}

// carriers are the links that carry one owner's addresses, in order.
type carriers []carrier

func (cs *carriers) add(alias netquorum.InterfaceName, link string, p netip.Prefix) {
	for i := range *cs {
		if (*cs)[i].link == link {
			(*cs)[i].prefixes = append((*cs)[i].prefixes, p)
			return
		}
	}
	*cs = append(*cs, carrier{alias, link, []netip.Prefix{p}})
}

// reaches reports whether the gateway is in a subnet of the link.
func (c carrier) reaches(gateway netip.Addr) bool {
	for _, p := range c.prefixes {
		if p.Masked().Contains(gateway) {
			return true
		}
	}
	return false
}

// home is the link by which a route leaves unless its source says otherwise:
// the alias that the route names, or the first that reaches the gateway.
func (cs carriers) home(r netquorum.Route) (carrier, bool) {
	for _, c := range cs {
		if r.Alias == c.alias || r.Alias == "" && c.reaches(r.Via) {
			return c, true
		}
	}
	return carrier{}, false
}
