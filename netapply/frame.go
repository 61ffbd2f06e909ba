package netapply

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/ndp"
	netquorum "github.com/netquorum/netquorum"
)

const (
	etherTypeARP  = 0x0806
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	protoICMPv6   = 58
)

var (
	broadcastMAC = netquorum.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodesMAC  = netquorum.MAC{0x33, 0x33, 0, 0, 0, 1}
	allNodes     = netip.MustParseAddr("ff02::1")
)

// announcementFrames are what announces one address. In IPv4 there are two,
// because some neighbours update their table from an ARP request and some only
// from a reply.
func announcementFrames(mac netquorum.MAC, a netip.Addr) [][]byte {
	if a.Is4() {
		return [][]byte{arpFrame(mac, a, 1), arpFrame(mac, a, 2)}
	}
	return [][]byte{advertisementFrame(mac, a)}
}

func etherHeader(to, from netquorum.MAC, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(slices.Concat(to[:], from[:]), kind)
}

// arpFrame is a gratuitous ARP: sender and target address are the same.
func arpFrame(mac netquorum.MAC, a netip.Addr, operation uint16) []byte {
	b := etherHeader(broadcastMAC, mac, etherTypeARP)
	b = binary.BigEndian.AppendUint16(b, 1) // Ethernet
	b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
	b = append(b, 6, 4)
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(append(b, mac[:]...), a.AsSlice()...)
	return append(append(b, broadcastMAC[:]...), a.AsSlice()...)
}

// advertisementFrame is an unsolicited neighbour advertisement, sent from the
// address itself: it needs no link-local address, which a new link gets only
// after duplicate address detection.
func advertisementFrame(mac netquorum.MAC, a netip.Addr) []byte {
	na := &ndp.NeighborAdvertisement{
		Override:      true,
		TargetAddress: a,
		Options: []ndp.Option{&ndp.LinkLayerAddress{
			Direction: ndp.Target, Addr: net.HardwareAddr(mac[:]),
		}},
	}
	body, err := ndp.MarshalMessageChecksum(na, a, allNodes)
	if err != nil {
		panic("netapply: a neighbour advertisement for " + a.String() + " cannot be written: " + err.Error())
	}
	b := etherHeader(allNodesMAC, mac, etherTypeIPv6)
	b = binary.BigEndian.AppendUint32(b, 6<<28) // version
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, protoICMPv6, 255)
	b = append(append(b, a.AsSlice()...), allNodes.AsSlice()...)
	return append(b, body...)
}
