package netquorum

// Policies name the policies of virtual servers and services that name none
// themselves. The nearest wins: the server's own, the group's, the cluster's.
type Policies struct {
	// Routes names a Routes policy. A server takes the routes of it whose
	// gateways it reaches, so that one policy can list the gateways of all
	// networks.
	Routes string `json:"routes,omitempty"`
	// Access names an Access policy.
	Access string `json:"access,omitempty"`
}

func (p Policies) check(cfg Config, c *checker, field string) {
	cfg.checkReference(c, field+".routes", KindRoutes, p.Routes)
	cfg.checkReference(c, field+".access", KindAccess, p.Access)
}

func (p Policies) uses(field string) []use {
	return append(useOf(KindRoutes, p.Routes, field+".routes"), useOf(KindAccess, p.Access, field+".access")...)
}

// A level is one place where policies may be named.
type level struct {
	key   Key
	names Policies
}

// levels returns where the policies of a filer, virtual server or service may
// be named, the nearest first (N23).
func (c Config) levels(k Key) []level {
	var out []level
	group, servers := "", true
	switch d, _ := c.Get(k.Kind, k.Name); s := d.Spec.(type) {
	case *VirtualServer:
		out, group = append(out, level{d.Key(), Policies{s.Routes, s.Access}}), s.Group
	case *Service:
		out, group = append(out, level{d.Key(), Policies{s.Routes, s.Access}}), s.Group
	case *Filer:
		out, group, servers = append(out, level{d.Key(), Policies{s.Routes, s.Access}}), s.Group, false
	default:
		return nil
	}
	return append(out, c.levelsAbove(group, servers)...)
}

// levelsAbove are a group and the cluster, for the servers or for the filers.
func (c Config) levelsAbove(group string, servers bool) []level {
	var out []level
	if d, ok := c.Get(KindFilerGroup, group); ok {
		g := d.Spec.(*FilerGroup)
		names := Policies{g.Routes, g.Access}
		if servers {
			names = g.Servers
		}
		out = append(out, level{d.Key(), names})
	}
	if name, s, ok := c.Cluster(); ok {
		names := Policies{s.Routes, s.Access}
		if servers {
			names = s.Servers
		}
		out = append(out, level{Key{KindCluster, name}, names})
	}
	return out
}

// nearest returns the first name that some level says, and which level.
func nearest(levels []level, pick func(Policies) string) (name string, from Key) {
	for _, l := range levels {
		if name := pick(l.names); name != "" {
			return name, l.key
		}
	}
	return "", Key{}
}

func pickRoutes(p Policies) string { return p.Routes }
func pickAccess(p Policies) string { return p.Access }

// AccessOf returns the access policy of a filer, virtual server or service, its
// own or inherited, by name; nothing when there is none.
func (c Config) AccessOf(k Key) (name string, policy *Access, from Key) {
	name, from = nearest(c.levels(k), pickAccess)
	policy, _ = find[*Access](c, KindAccess, name)
	return name, policy, from
}

// RoutesOf returns the routes of a filer, virtual server or service, its own or
// inherited, and which policy they are of; nil when there is none. Of a policy
// that a server inherits it has the routes whose gateways it reaches.
func (c Config) RoutesOf(k Key) (name string, policy *Routes, from Key) {
	name, from = nearest(c.levels(k), pickRoutes)
	policy, ok := c.Routes(name)
	if !ok || k.Kind == KindFiler || from.Fold() == k.Fold() {
		return name, policy, from
	}
	d, _ := c.Get(k.Kind, k.Name)
	addresses := hosted(d).Addresses
	if len(addresses) == 0 {
		return name, policy, from
	}
	reached := &Routes{VRF: policy.VRF}
	for _, r := range policy.Routes {
		if len(r.Exits(addresses)) > 0 {
			reached.Routes = append(reached.Routes, r)
		}
	}
	return name, reached, from
}
