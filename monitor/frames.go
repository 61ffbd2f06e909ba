package monitor

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

// This file writes and reads the frames by which neighbours are asked: ARP (RFC
// 826) and neighbour discovery (RFC 4861).

const (
	etherHeader = 14
	arpLength   = 28
	ipv6Header  = 40
	arpRequest  = 1
	arpReply    = 2
	protoICMPv6 = 58
	typeNS      = 135
	typeNA      = 136
)

// errFrame reports a frame that is not what it should be.
var errFrame = errors.New("malformed frame")

var broadcast = netquorum.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arpFrame asks who has an address. Without an address of one's own the sender
// is 0.0.0.0 (RFC 5227): such a question leaves no trace in the neighbour's
// table.
func arpFrame(mac netquorum.MAC, own, target netip.Addr) []byte {
	if !own.Is4() {
		own = netip.IPv4Unspecified()
	}
	b := slices.Concat(broadcast[:], mac[:])
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_ARP)
	b = binary.BigEndian.AppendUint16(b, 1) // Ethernet
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	b = append(b, 6, 4, 0, arpRequest)
	b = append(append(b, mac[:]...), own.AsSlice()...)
	return append(append(b, make([]byte, 6)...), target.AsSlice()...)
}

// parseARP returns who a frame says has which address, and whether it answers a
// question of the MAC's. Senders without an address say nothing.
func parseARP(frame []byte, own netquorum.MAC) (h Heard, ok bool, err error) {
	if len(frame) < etherHeader+arpLength {
		return h, false, errFrame
	}
	b := frame[etherHeader:]
	if binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP || b[4] != 6 || b[5] != 4 {
		return h, false, errFrame
	}
	h.MAC = netquorum.MAC(b[8:14])
	h.Address = netip.AddrFrom4([4]byte(b[14:18]))
	h.Answer = binary.BigEndian.Uint16(b[6:]) == arpReply && netquorum.MAC(b[18:24]) == own
	return h, !h.Address.IsUnspecified(), nil
}

// solicitation asks who has an IPv6 address, from a link-local one.
func solicitation(mac netquorum.MAC, own, target netip.Addr) ([]byte, error) {
	group, err := ndp.SolicitedNodeMulticast(target)
	if err != nil {
		return nil, err
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
		TargetAddress: target,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(mac[:])}},
	}, own, group)
	if err != nil {
		return nil, err
	}
	to := group.As16()
	b := slices.Concat([]byte{0x33, 0x33}, to[12:], mac[:])
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
	b = binary.BigEndian.AppendUint32(b, 6<<28) // version
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, protoICMPv6, 255)
	b = append(append(b, own.AsSlice()...), to[:]...)
	return append(b, body...), nil
}

// parseND returns who an advertisement says has which address. A solicitation
// from nowhere is somebody's duplicate address detection, and a claim too.
func parseND(frame []byte, own netip.Addr) (h Heard, ok bool, err error) {
	if len(frame) < etherHeader+ipv6Header+24 {
		return h, false, errFrame
	}
	ip := frame[etherHeader:]
	if ip[0]>>4 != 6 || ip[6] != protoICMPv6 || ip[7] != 255 { // RFC 4861, 7.1: nothing was routed
		return h, false, errFrame
	}
	body := ip[ipv6Header:]
	h.MAC = netquorum.MAC(frame[6:12])
	h.Address = netip.AddrFrom16([16]byte(body[8:24]))
	switch body[0] {
	case typeNA:
		const solicited = 0x40
		h.Answer = body[4]&solicited != 0 && netip.AddrFrom16([16]byte(ip[24:40])) == own
		return h, true, nil
	case typeNS:
		return h, netip.AddrFrom16([16]byte(ip[8:24])).IsUnspecified(), nil
	}
	return h, false, nil
}

// onlyND is a socket filter that lets neighbour solicitations and
// advertisements through: the rest of the IPv6 traffic must not wake us.
var onlyND = mustAssemble(
	bpf.LoadAbsolute{Off: etherHeader + 6, Size: 1}, // next header
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6, SkipTrue: 4},
	bpf.LoadAbsolute{Off: etherHeader + ipv6Header, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeNA, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeNS, SkipTrue: 1},
	bpf.RetConstant{Val: 1500},
	bpf.RetConstant{Val: 0},
)

func mustAssemble(program ...bpf.Instruction) []bpf.RawInstruction {
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic("monitor: a socket filter cannot be assembled: " + err.Error())
	}
	return raw
}
