package netquorum

import (
	"crypto/sha256"
	"strconv"
	"strings"
)

// ClientIdentifier is the DHCP client identifier of an address of a virtual
// server (N31): cluster MAC, alias, server and instance, which are known before
// any machine arrives. The MAC is in upper case, as the source documents have it.
func ClientIdentifier(cluster MAC, alias InterfaceName, server string, instance int) string {
	return HostClientIdentifier(cluster, alias, server) + ":" + strconv.Itoa(instance)
}

// HostClientIdentifier is the DHCP client identifier of a filer or a service on
// an alias: they have one address on each and need no instance.
func HostClientIdentifier(cluster MAC, alias InterfaceName, owner string) string {
	return strings.ToUpper(cluster.String()) + ":" + string(alias) + ":" + owner
}

// PortMAC is the MAC of the link that holds the addresses of a virtual server
// or service on an alias. It is the same on every filer, so that it moves with
// the server and switches and neighbours need not learn another. It is locally
// administered and unicast.
//
// It is the owner's part, made of owner and alias, masked with the cluster's:
// two owners that differ in one cluster differ in every cluster, so that they
// can be compared without knowing the cluster, and the same owner differs
// between clusters that share a network.
func PortMAC(cluster MAC, owner Key, alias InterfaceName) MAC {
	mask := sha256.Sum256(append([]byte("netquorum cluster\x00"), cluster[:]...))
	mac := portPart(owner, alias)
	for i := range mac {
		mac[i] ^= mask[i]
	}
	mac[0] = mac[0]&^1 | 2
	return mac
}

// portPart is the part of a port's MAC that does not depend on the cluster. The
// two bits that say locally administered and unicast are zero.
func portPart(owner Key, alias InterfaceName) MAC {
	owner = owner.Fold()
	sum := sha256.Sum256([]byte("netquorum port\x00" + string(owner.Kind) + "\x00" + owner.Name + "\x00" + string(alias)))
	mac := MAC(sum[:6])
	mac[0] &^= 3
	return mac
}
