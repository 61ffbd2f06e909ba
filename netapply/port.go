package netapply

import (
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
)

// port wants the links that carry a hosted server's addresses on one alias: a
// macvlan of its own beside the alias, on the alias's parent, with a MAC that
// is the same wherever the server is hosted. (On the alias itself the kernel
// would put it beside, too: a macvlan on a macvlan goes to the lower link.)
//
// When the alias is a VLAN on an alias, like data0.5, frames for the server's
// MAC must first get past the macvlan layer: a carrier with that MAC stands
// beside data0, and the VLAN on it is the port.
//
// The last link returned is the port itself.
func port(owner netquorum.Key, alias netquorum.InterfaceName, on map[netquorum.InterfaceName]netquorum.Interface, mac netquorum.MAC) []Link {
	var tags []int
	var mtus []int // of the VLANs, then of the alias that carries them
	base := alias
	for {
		mtus = append(mtus, on[base].MTU)
		parent, tag, ok := base.VLAN()
		if !ok {
			break
		}
		tags = append(tags, tag)
		base = parent
	}
	role := string(alias) + " " + owner.String()
	name := portName(owner, alias)
	if len(tags) == 0 {
		return []Link{macvlan(name, string(on[base].Parent), mac, mtus[0], "port "+role, aliasSettings)}
	}
	below := carrierName(owner, alias, len(tags))
	links := []Link{macvlan(below, string(on[base].Parent), mac, mtus[len(tags)], "carrier "+role, carrierSettings)}
	for i := len(tags) - 1; i >= 0; i-- {
		link, kind, settings := name, "port ", aliasSettings
		if i > 0 {
			link, kind, settings = carrierName(owner, alias, i), "carrier ", carrierSettings
		}
		links = append(links, vlanLink(link, below, tags[i], mtus[i], kind+role, settings))
		below = link
	}
	return links
}

func portName(owner netquorum.Key, alias netquorum.InterfaceName) string {
	return fitName(string(alias)+"-"+strings.ToLower(owner.Name), "port", owner.Fold().String(), string(alias))
}

// carrierName names what a port with VLAN tags stands on, by how many tags are
// still to come.
func carrierName(owner netquorum.Key, alias netquorum.InterfaceName, level int) string {
	return hashName("carrier", owner.Fold().String(), string(alias), strconv.Itoa(level))
}
