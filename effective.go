package netquorum

import "fmt"

// A Setting is one value that holds for a document, and the document that says
// it: itself, or one that it inherits from (N23). From is empty for what nobody
// says.
type Setting struct {
	Field string `json:"field"`
	Value any    `json:"value,omitempty"` // nil: nothing
	From  Key    `json:"from,omitzero"`
}

// Effective lists what holds for a document of a kind that inherits or is
// inherited from: policies, and a filer's interfaces; nil for others.
func (c Config) Effective(k Key) []Setting {
	d, ok := c.Get(k.Kind, k.Name)
	if !ok {
		return nil
	}
	switch s := d.Spec.(type) {
	case *VirtualServer, *Service:
		return append([]Setting{{"group", hosted(d).Group, d.Key()}}, policySettings("", c.levels(k))...)
	case *Filer:
		out := []Setting{{Field: "group"}}
		if s.Group != "" {
			out[0] = Setting{"group", s.Group, d.Key()}
		}
		return append(append(out, policySettings("", c.levels(k))...), c.interfaceSettings(d.Key(), s)...)
	case *FilerGroup:
		return append(policySettings("", c.levelsAbove(d.Name, false)), policySettings("servers.", c.levelsAbove(d.Name, true))...)
	case *Cluster:
		history := Setting{Field: "history", Value: s.EffectiveHistory()}
		if s.History != 0 {
			history.From = d.Key()
		}
		return append(append([]Setting{history}, policySettings("", c.levelsAbove("", false))...),
			policySettings("servers.", c.levelsAbove("", true))...)
	}
	return nil
}

func policySettings(prefix string, levels []level) []Setting {
	out := []Setting{{Field: prefix + "routes"}, {Field: prefix + "access"}}
	for i, pick := range []func(Policies) string{pickRoutes, pickAccess} {
		if name, from := nearest(levels, pick); name != "" {
			out[i].Value, out[i].From = name, from
		}
	}
	return out
}

// interfaceSettings lists a filer's interfaces, with the MTU that those below
// give to one that has none.
func (c Config) interfaceSettings(k Key, f *Filer) []Setting {
	own := map[InterfaceName]bool{}
	for _, i := range f.Interfaces {
		own[i.Name] = true
	}
	inherited := map[InterfaceName]bool{}
	if g, ok := find[*FilerGroup](c, KindFilerGroup, f.Group); ok {
		for _, i := range g.Interfaces {
			inherited[i.Name] = true
		}
	}
	var out []Setting
	all := c.effective(f)
	for _, i := range all {
		s := Setting{Field: fmt.Sprintf("interfaces[%s]", i.Name)}
		switch {
		case own[i.Name]:
			s.From = k
		case inherited[i.Name]:
			d, _ := c.Get(KindFilerGroup, f.Group)
			s.From = d.Key()
		}
		i.MTU = EffectiveMTU(all, i.Name)
		s.Value = i
		out = append(out, s)
	}
	return out
}
