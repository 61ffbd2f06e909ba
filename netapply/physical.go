package netapply

import netquorum "github.com/netquorum/netquorum"

// physical wants a physical interface to be up, with an MTU if one is
// configured, and silent about addresses that are not its own. It has no role:
// nothing marks it as ours.
func physical(i netquorum.Interface) Link {
	return Link{Name: string(i.Name), Kind: Physical, MTU: i.MTU, Settings: physicalSettings}
}
