package sctpio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// solSCTP is the level of SCTP's socket options.
const solSCTP = unix.IPPROTO_SCTP

// The options, by the names of linux/sctp.h without their SCTP_.
const (
	optRTOInfo        = 0
	optAssocInfo      = 1
	optInitMsg        = 2
	optNoDelay        = 3
	optPrimaryAddr    = 6
	optPeerAddrParams = 9
	optStatus         = 14
	optPeerAddrInfo   = 15
	optDelayedSACK    = 16
	optPeerAddrThlds  = 31
	optRecvRcvInfo    = 32
	optBindxAdd       = 100
	optBindxRemove    = 101
	optGetPeerAddrs   = 108
	optGetLocalAddrs  = 109
	optConnectx       = 110
	optEvent          = 127
	optExposePF       = 131
)

// native is the order of bytes of the kernel's structures. Not all of them have
// the alignment that a Go structure would have, so they are built byte by byte.
var native = binary.NativeEndian

// sockaddrStorage is the size of struct sockaddr_storage.
const sockaddrStorage = 128

func milliseconds(d time.Duration) uint32 { return uint32(d.Milliseconds()) }

// rtoInfo is struct sctp_rtoinfo.
func rtoInfo(initial, least, most time.Duration) []byte {
	b := native.AppendUint32(nil, 0)
	b = native.AppendUint32(b, milliseconds(initial))
	b = native.AppendUint32(b, milliseconds(most))
	return native.AppendUint32(b, milliseconds(least))
}

// assocInfo is struct sctp_assocparams; what is zero stays as it is.
func assocInfo(retransmits uint16) []byte {
	b := make([]byte, 20)
	native.PutUint16(b[4:], retransmits)
	return b
}

// initMsg is struct sctp_initmsg.
func initMsg(streams, attempts uint16, timeout time.Duration) []byte {
	b := native.AppendUint16(nil, streams)
	b = native.AppendUint16(b, streams)
	b = native.AppendUint16(b, attempts)
	return native.AppendUint16(b, uint16(timeout.Milliseconds()))
}

// The flags of struct sctp_paddrparams that are used.
const (
	sppHeartbeatEnable = 1 << 0
	sppDSCP            = 1 << 9
)

// peerAddrParams is struct sctp_paddrparams, which is packed, for all paths.
func peerAddrParams(heartbeat time.Duration, retransmits uint16, dscp uint8) []byte {
	b := make([]byte, 156)
	native.PutUint32(b[132:], milliseconds(heartbeat))
	native.PutUint16(b[136:], retransmits)
	flags := uint32(sppHeartbeatEnable)
	if dscp != 0 {
		flags |= sppDSCP
		b[154] = dscp << 2 // the kernel takes the whole former type of service
	}
	native.PutUint32(b[146:], flags)
	return b
}

// mark is struct sctp_paddrparams with a mark only, which may be none, for all
// paths.
func mark(dscp uint8) []byte {
	b := make([]byte, 156)
	native.PutUint32(b[146:], sppDSCP)
	b[154] = dscp << 2
	return b
}

// peerAddrThlds is struct sctp_paddrthlds, which is not packed: its address is
// aligned as on a machine of 64 bits. A zero address means all paths.
func peerAddrThlds(retransmits, failing uint16) []byte {
	b := make([]byte, 144)
	native.PutUint16(b[136:], retransmits)
	native.PutUint16(b[138:], failing)
	return b
}

// delayedSACK is struct sctp_sack_info. Every second packet is acknowledged at
// once, as RFC 9260 has it.
func delayedSACK(delay time.Duration) []byte {
	b := native.AppendUint32(nil, 0)
	b = native.AppendUint32(b, milliseconds(delay))
	return native.AppendUint32(b, 2)
}

// event is struct sctp_event, which asks for one type of notification.
func event(kind uint16) []byte {
	b := native.AppendUint32(nil, 0)
	b = native.AppendUint16(b, kind)
	return append(b, 1, 0)
}

// assocValue is struct sctp_assoc_value.
func assocValue(v uint32) []byte {
	return native.AppendUint32(native.AppendUint32(nil, 0), v)
}

// setPrimary is struct sctp_prim.
func setPrimary(addr []byte) []byte {
	b := make([]byte, 4+sockaddrStorage)
	copy(b[4:], addr)
	return b
}

// peerAddrInfo is struct sctp_paddrinfo, for asking about one address.
func peerAddrInfo(addr []byte) []byte {
	b := make([]byte, peerAddrInfoSize)
	copy(b[4:], addr)
	return b
}

const (
	peerAddrInfoSize = 152
	statusSize       = 24 + peerAddrInfoSize
)

var errShort = errors.New("the kernel's answer is too short")

// parsePeerAddrInfo reads struct sctp_paddrinfo.
func parsePeerAddrInfo(b []byte) (PathInfo, error) {
	if len(b) < peerAddrInfoSize {
		return PathInfo{}, errShort
	}
	remote, _, err := parseSockaddr(b[4 : 4+sockaddrStorage])
	if err != nil {
		return PathInfo{}, err
	}
	word := func(at int) uint32 { return native.Uint32(b[at:]) }
	return PathInfo{
		Remote: remote,
		State:  PathState(word(132)),
		Window: int(word(136)),
		RTT:    time.Duration(word(140)) * time.Millisecond,
		RTO:    time.Duration(word(144)) * time.Millisecond,
		MTU:    int(word(148)),
	}, nil
}

// parseStatus reads what is used of struct sctp_status: the primary path.
func parseStatus(b []byte) (primary PathInfo, err error) {
	if len(b) < statusSize {
		return PathInfo{}, errShort
	}
	return parsePeerAddrInfo(b[24:])
}

// parseAddrs reads struct sctp_getaddrs: a count, and sockaddrs one after the
// other, each of the size that its family has.
func parseAddrs(b []byte) ([]netip.AddrPort, error) {
	if len(b) < 8 {
		return nil, errShort
	}
	count := native.Uint32(b[4:])
	b = b[8:]
	var out []netip.AddrPort
	for range count {
		a, size, err := parseSockaddr(b)
		if err != nil {
			return nil, err
		}
		out, b = append(out, a), b[size:]
	}
	return out, nil
}

// parseSockaddr reads a sockaddr of either family. IPv4 addresses that a socket of
// IPv6 shows mapped are given plain; a zone is the number of its interface.
func parseSockaddr(b []byte) (a netip.AddrPort, size int, err error) {
	if len(b) < unix.SizeofSockaddrInet4 {
		return a, 0, errShort
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := native.Uint16(b); family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port), unix.SizeofSockaddrInet4, nil
	case unix.AF_INET6:
		if len(b) < unix.SizeofSockaddrInet6 {
			return a, 0, errShort
		}
		ip := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		if scope := native.Uint32(b[24:]); scope != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		return netip.AddrPortFrom(ip, port), unix.SizeofSockaddrInet6, nil
	default:
		return a, 0, fmt.Errorf("the kernel's answer has an address of family %d", family)
	}
}

// rcvInfo is what is used of struct sctp_rcvinfo.
type rcvInfo struct{ stream uint16 }

// cmsgRcvInfo is the type of the control message that tells about a message.
const (
	cmsgRcvInfo = 3
	rcvInfoSize = 28
)

// parseRcvInfo finds the information about a message among control messages;
// false when there is none, as with notifications.
func parseRcvInfo(oob []byte) (rcvInfo, bool, error) {
	for len(oob) > 0 {
		head, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return rcvInfo{}, false, err
		}
		if head.Level == solSCTP && head.Type == cmsgRcvInfo {
			if len(data) < rcvInfoSize {
				return rcvInfo{}, false, errShort
			}
			return rcvInfo{stream: native.Uint16(data)}, true, nil
		}
		oob = rest
	}
	return rcvInfo{}, false, nil
}
