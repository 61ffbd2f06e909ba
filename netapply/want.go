package netapply

import netquorum "github.com/netquorum/netquorum"

// Want computes what the kernel of the filer should hold. hosts says which
// virtual servers and services the filer hosts now. It is pure.
func Want(c netquorum.Config, filer string, hosts func(netquorum.Key) bool) (Desired, error) {
	return Desired{}, nil
}
