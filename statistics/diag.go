package statistics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// This file reads and writes inet_diag's messages (linux/inet_diag.h,
// linux/tcp.h, sock_diag(7)). None of it decides anything.

const (
	sizeofDiagRequest = 56 // struct inet_diag_req_v2
	sizeofDiagMessage = 72 // struct inet_diag_msg

	attrInfo    = 2 // INET_DIAG_INFO: struct tcp_info
	attrSKMem   = 7 // INET_DIAG_SKMEMINFO: nine numbers
	skmemDrops  = 8 // SK_MEMINFO_DROPS
	allTheBits  = 1<<12 - 1
	offsetRTT   = 68  // tcpi_rtt, in microseconds
	offsetRetry = 100 // tcpi_total_retrans
)

// errMessage is a message that is cut short or contradicts itself.
var errMessage = errors.New("inet_diag: a message of the kernel makes no sense")

// A socket is one that the kernel has.
type socket struct {
	local      netip.Addr // unspecified when bound to none
	state      uint8
	receive    uint32 // bytes that wait to be read; of a listener, connections
	send       uint32 // bytes not acknowledged; of a listener, how many connections may wait
	retransmit uint32 // segments sent again so far
	rtt        uint32 // microseconds, smoothed; 0 before there is one
	drops      uint32 // datagrams that did not fit into the socket's buffer
}

// TCP's states by their numbers (net/tcp_states.h).
var stateNames = [...]string{
	1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait",
	7: "close", 8: "close-wait", 9: "last-ack", 10: "listen", 11: "closing", 12: "syn-recv",
}

const stateListen = 10

// stateName names a state that a later kernel may have added by its number.
func stateName(s uint8) string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state-%d", s)
}

// appendDiagRequest asks for all sockets of a family and protocol.
func appendDiagRequest(b []byte, family, protocol uint8, seq uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, unix.SizeofNlMsghdr+sizeofDiagRequest)
	b = binary.NativeEndian.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, protocol, 1<<(attrInfo-1)|1<<(attrSKMem-1), 0)
	b = binary.NativeEndian.AppendUint32(b, allTheBits<<1|1)
	return append(b, make([]byte, 48)...) // any socket
}

// diagAnswers calls one for each socket of a datagram and reports whether the
// answer is complete.
func diagAnswers(b []byte, seq uint32, one func(socket)) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return false, errMessage
		}
		body := b[unix.SizeofNlMsghdr:n]
		if binary.NativeEndian.Uint32(b[8:]) == seq { // an earlier answer's rest is passed over
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return true, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return false, errMessage
				}
				if number := int32(binary.NativeEndian.Uint32(body)); number != 0 {
					return false, unix.Errno(-number)
				}
				return true, nil
			case unix.SOCK_DIAG_BY_FAMILY:
				s, err := decodeSocket(body)
				if err != nil {
					return false, err
				}
				one(s)
			}
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	if len(b) > 0 {
		return false, errMessage
	}
	return false, nil
}

// decodeSocket reads one inet_diag_msg and its attributes.
func decodeSocket(b []byte) (s socket, err error) {
	if len(b) < sizeofDiagMessage {
		return s, errMessage
	}
	s.state = b[1]
	switch b[0] {
	case unix.AF_INET:
		s.local = netip.AddrFrom4([4]byte(b[8:12]))
	case unix.AF_INET6:
		s.local = netip.AddrFrom16([16]byte(b[8:24])).Unmap() // of a socket for both families
	default:
		return s, errMessage
	}
	s.receive = binary.NativeEndian.Uint32(b[56:])
	s.send = binary.NativeEndian.Uint32(b[60:])
	for b = b[sizeofDiagMessage:]; len(b) >= unix.SizeofRtAttr; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return s, errMessage
		}
		s.attribute(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return s, nil
}

// attribute reads what it knows. Structures of an older kernel are shorter:
// what they lack stays zero.
func (s *socket) attribute(kind uint16, value []byte) {
	number := func(at int) uint32 {
		if at+4 > len(value) {
			return 0
		}
		return binary.NativeEndian.Uint32(value[at:])
	}
	switch kind {
	case attrInfo:
		s.rtt, s.retransmit = number(offsetRTT), number(offsetRetry)
	case attrSKMem:
		s.drops = number(4 * skmemDrops)
	}
}

// absent says in words that the kernel has no inet_diag for a protocol.
func absent(protocol string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel has no %s_diag", strings.ToLower(protocol))
	}
	return fmt.Errorf("asking the kernel for its %s sockets: %w", protocol, err)
}
