package netapply

import (
	netquorum "github.com/netquorum/netquorum"
	"github.com/vishvananda/netlink/nl"
)

// macvlanOptions: the mode can be changed at any time, except from and to
// passthru, which we never use.
var macvlanOptions = []option{
	{name: "mode", attr: nl.IFLA_MACVLAN_MODE, as: asU32, words: macvlanModes()},
}

// macvlanModes are numbered by bits.
func macvlanModes() []string {
	w := make([]string, 17)
	w[1], w[2], w[4], w[8], w[16] = "private", "vepa", "bridge", "passthru", "source"
	return w
}

// alias wants an alias: a macvlan in bridge mode, so that aliases and ports on
// the same parent reach each other.
func alias(i netquorum.Interface, mac netquorum.MAC) Link {
	return macvlan(string(i.Name), string(i.Parent), mac, i.MTU, "alias", aliasSettings)
}

func macvlan(name, parent string, mac netquorum.MAC, mtu int, role string, s Settings) Link {
	return Link{
		Name: name, Kind: Macvlan, Role: role, Parent: parent, MAC: mac, MTU: mtu,
		Options: Options{"mode": "bridge"}, Settings: s,
	}
}
