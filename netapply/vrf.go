package netapply

import (
	"strconv"
	"strings"

	netquorum "github.com/netquorum/netquorum"
	"github.com/vishvananda/netlink/nl"
)

// vrfOptions: a VRF keeps its table for life.
var vrfOptions = []option{
	{name: "table", attr: nl.IFLA_VRF_TABLE, as: asU32, effort: never},
}

// vrfMTU is what the kernel gives a VRF, and the most it can have. Anything less
// would limit what the server sends, whatever its ports can carry.
const vrfMTU = 65575

// vrf wants the routing domain of a hosted server.
func vrf(owner netquorum.Key, table uint32) Link {
	return Link{
		Name: vrfName(owner), Kind: VRF, Role: "vrf " + owner.String(), MTU: vrfMTU,
		Options: Options{"table": strconv.FormatUint(uint64(table), 10)},
	}
}

func vrfName(owner netquorum.Key) string {
	return fitName("vrf-"+strings.ToLower(owner.Name), "vrf", owner.Fold().String())
}
