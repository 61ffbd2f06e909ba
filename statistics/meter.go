package statistics

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A direction is that of a packet as the filer sees it.
type direction string

const (
	in  direction = "in"
	out direction = "out"
)

// A Meter is one thing that is counted, in both directions, for each address.
type Meter string

// The meters. What is neither TCP nor UDP is the difference to IP.
const (
	IP     Meter = "ip"     // every packet
	TCP    Meter = "tcp"    // every TCP segment
	UDP    Meter = "udp"    // every UDP datagram
	Opens  Meter = "opens"  // the first segment of a TCP connection: in, a client's; out, the server's own
	Resets Meter = "resets" // TCP segments that end a connection at once
)

// within are the meters of which IP is the sum and more, in the order of their
// rules.
var within = []Meter{TCP, UDP, Opens, Resets}

// Bits of the byte of TCP's flags (RFC 9293, 3.1).
const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// match are the expressions that let through what a meter counts.
func (m Meter) match() []expr.Any {
	flags := func(mask, value byte) []expr.Any {
		return append(protocol(unix.IPPROTO_TCP),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}})
	}
	switch m {
	case TCP:
		return protocol(unix.IPPROTO_TCP)
	case UDP:
		return protocol(unix.IPPROTO_UDP)
	case Opens:
		return flags(flagSYN|flagACK, flagSYN)
	case Resets:
		return flags(flagRST, flagRST)
	}
	return nil
}

func protocol(number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}},
	}
}

// A family is one of the versions of IP.
type family struct {
	suffix   string
	number   byte
	key      nftables.SetDatatype
	src, dst uint32 // where the addresses are in the header
}

var families = []family{
	{"4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, 12, 16},
	{"6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 24},
}

// address loads the address that a packet of the direction is counted for.
func (f family) address(d direction) expr.Any {
	at := f.dst
	if d == out {
		at = f.src
	}
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: f.key.Bytes}
}
