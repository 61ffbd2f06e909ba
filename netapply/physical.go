package netapply

import netquorum "github.com/netquorum/netquorum"

// physical wants a physical interface to be up, with an MTU if one is
// configured. It has no role: nothing of ours is written on it.
func physical(i netquorum.Interface) Link {
	return Link{Name: string(i.Name), Kind: Physical, MTU: i.MTU}
}
