package monitor

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// openICMP opens a socket for echo requests to targets beyond a gateway, bound
// to the link, so that they leave by it whatever other routes there are.
func (p *Packets) openICMP(k socketKey) (*socket, error) {
	network, kind := "ip4:icmp", icmp.Type(ipv4.ICMPTypeEcho)
	if k.own.Is6() {
		network, kind = "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest
	}
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var bound error
		err := c.Control(func(fd uintptr) { bound = prepareICMP(int(fd), k) })
		return errors.Join(err, bound)
	}}
	conn, err := listen.ListenPacket(context.Background(), network, k.own.String())
	if err != nil {
		return nil, err
	}
	id := rand.N[uint16](1 << 15) // tells our answers from those to other programs
	p.wait.Go(func() {
		var b [1500]byte
		for {
			n, from, err := conn.ReadFrom(b[:])
			if err != nil {
				return
			}
			if addr, ok := from.(*net.IPAddr); ok && echoReply(b[:n], k.own.Is6(), id) {
				a, _ := netip.AddrFromSlice(addr.IP)
				p.tell(Heard{Interface: k.name, Address: a.Unmap(), Answer: true})
			}
		}
	})
	var seq atomic.Uint32
	return &socket{close: conn.Close, send: func(target netip.Addr) error {
		m := icmp.Message{Type: kind, Body: &icmp.Echo{ID: int(id), Seq: int(seq.Add(1) & 0xffff)}}
		b, err := m.Marshal(nil) // of IPv6, the kernel fills in the checksum
		if err != nil {
			return err
		}
		_, err = conn.WriteTo(b, &net.IPAddr{IP: target.AsSlice()})
		if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			return nil // as good as no answer
		}
		return err
	}}, nil
}

// prepareICMP binds a socket to its link and lets nothing but answers in.
func prepareICMP(fd int, k socketKey) error {
	if err := unix.BindToDevice(fd, k.name); err != nil {
		return err
	}
	if k.own.Is6() {
		var filter [8]uint32 // of struct icmp6_filter: a bit blocks a type
		for i := range filter {
			filter[i] = ^uint32(0)
		}
		filter[ipv6.ICMPTypeEchoReply>>5] &^= 1 << (ipv6.ICMPTypeEchoReply & 31)
		b := make([]byte, 0, 32)
		for _, w := range filter {
			b = binary.NativeEndian.AppendUint32(b, w)
		}
		return unix.SetsockoptString(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, string(b))
	}
	const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h: a bit blocks a type
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << ipv4.ICMPTypeEchoReply))
}

// echoReply reports whether a message answers a question with the id.
func echoReply(b []byte, six bool, id uint16) bool {
	want := byte(ipv4.ICMPTypeEchoReply)
	if six {
		want = byte(ipv6.ICMPTypeEchoReply)
	}
	return len(b) >= 8 && b[0] == want && binary.BigEndian.Uint16(b[4:]) == id
}
