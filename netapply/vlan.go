package netapply

import (
	"strconv"

	netquorum "github.com/netquorum/netquorum"
	"github.com/vishvananda/netlink/nl"
)

// vlanOptions: the kernel can change neither the tag nor the parent of a VLAN.
var vlanOptions = []option{
	{name: "id", attr: nl.IFLA_VLAN_ID, as: asU16, effort: never},
}

// vlan wants a VLAN; its name says on what and with which tag.
func vlan(i netquorum.Interface) Link {
	parent, tag, _ := i.Name.VLAN()
	settings := carrierSettings
	if i.Name.IsAlias() {
		settings = aliasSettings
	}
	return vlanLink(string(i.Name), string(parent), tag, i.MTU, "vlan", settings)
}

func vlanLink(name, parent string, tag, mtu int, role string, s Settings) Link {
	return Link{
		Name: name, Kind: VLAN, Role: role, Parent: parent, MTU: mtu,
		Options: Options{"id": strconv.Itoa(tag)}, Settings: s,
	}
}
