package demo

import (
	"slices"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab"
)

// Missing tells which features that the example needs this kernel lacks.
func Missing(o Options) ([]lab.Feature, error) {
	config, err := read(o.Config())
	if err != nil {
		return nil, err
	}
	topology, err := lab.ReadTopology(o.Topology())
	if err != nil {
		return nil, err
	}
	features := append(topology.Needs(), needs(config)...)
	slices.Sort(features)
	return lab.Missing(slices.Compact(features)...)
}

// byLayer is what the kernel must have for a filer's interfaces.
var byLayer = map[netquorum.Layer]lab.Feature{
	netquorum.LayerBond:     lab.Bonding,
	netquorum.LayerFailover: lab.Bonding,
	netquorum.LayerVLAN:     lab.VLAN,
	netquorum.LayerAlias:    lab.MACVLAN,
}

// needs lists what the configuration needs of a filer's kernel.
func needs(c netquorum.Config) []lab.Feature {
	var features []lab.Feature
	for d := range c.All(netquorum.KindFiler) {
		for _, i := range c.Interfaces(d.Name) {
			if f, ok := byLayer[i.Name.Layer()]; ok {
				features = append(features, f)
			}
		}
	}
	for d := range c.All(netquorum.KindRoutes) {
		if d.Spec.(*netquorum.Routes).VRF {
			features = append(features, lab.VRF)
		}
	}
	return features
}
