package sctpio

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/ishidawataru/sctp"
)

// A PathState is the state of one of the peer's addresses, as the kernel numbers
// them.
type PathState int32

// The states of paths.
const (
	Unreachable PathState = 0 // several answers were missed
	Failing     PathState = 1 // one was missed; others are preferred
	Active      PathState = 2
	Unconfirmed PathState = 3 // not yet proven to be the peer's
)

func (s PathState) String() string {
	switch s {
	case Unreachable:
		return "unreachable"
	case Failing:
		return "failing"
	case Active:
		return "active"
	case Unconfirmed:
		return "unconfirmed"
	}
	return "unknown"
}

// PathInfo is what the kernel knows of the way to one of the peer's addresses.
type PathInfo struct {
	Remote  netip.AddrPort
	State   PathState
	Primary bool // the first choice while it is active
	// RTT is smoothed, and in whole milliseconds; RTO is how long an answer is
	// waited for.
	RTT, RTO time.Duration
	Window   int // bytes that may be under way
	MTU      int
}

// Addr makes an address of several IP addresses and a port.
func Addr(port uint16, ips ...netip.Addr) *sctp.SCTPAddr {
	a := &sctp.SCTPAddr{Port: int(port)}
	for _, ip := range ips {
		a.IPAddrs = append(a.IPAddrs, net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()})
	}
	return a
}

// AddrPorts lists what is in an address, or nothing when it is not one of SCTP.
func AddrPorts(a net.Addr) []netip.AddrPort {
	s, ok := a.(*sctp.SCTPAddr)
	if !ok {
		return nil
	}
	var out []netip.AddrPort
	for _, ip := range s.IPAddrs {
		if a, ok := netip.AddrFromSlice(ip.IP); ok {
			out = append(out, netip.AddrPortFrom(a.Unmap().WithZone(ip.Zone), uint16(s.Port)))
		}
	}
	return out
}

// join is the opposite of AddrPorts. All of an association's addresses have the
// same port.
func join(list []netip.AddrPort) *sctp.SCTPAddr {
	a := &sctp.SCTPAddr{}
	for _, ap := range list {
		ap = named(ap)
		a.IPAddrs = append(a.IPAddrs, net.IPAddr{IP: ap.Addr().AsSlice(), Zone: ap.Addr().Zone()})
		a.Port = int(ap.Port())
	}
	return a
}

// named turns a zone that is an interface's number into its name, which is how
// zones are written elsewhere.
func named(ap netip.AddrPort) netip.AddrPort {
	index, err := strconv.Atoi(ap.Addr().Zone())
	if err != nil {
		return ap
	}
	ifi, err := net.InterfaceByIndex(index)
	if err != nil {
		return ap // it has just gone
	}
	return netip.AddrPortFrom(ap.Addr().WithZone(ifi.Name), ap.Port())
}

// maxAddrs is how many addresses one end may have. The link has no use for more.
const maxAddrs = 8

// check refuses addresses with which an association would not do as it should.
func check(op string, a *sctp.SCTPAddr) error {
	refuse := func(text string) error {
		e := &net.OpError{Op: op, Net: network, Err: &net.AddrError{Err: text}}
		if a != nil {
			e.Addr = a
		}
		return e
	}
	switch {
	case a == nil || len(a.IPAddrs) == 0:
		// The kernel would tell the peer every address of this host.
		return refuse("needs the addresses to use, one by one")
	case len(a.IPAddrs) > maxAddrs:
		return refuse("has more than " + strconv.Itoa(maxAddrs) + " addresses")
	case a.Port < 0 || a.Port > 65535:
		return refuse("has a port that is none")
	case slices.ContainsFunc(a.IPAddrs, func(ip net.IPAddr) bool { return len(ip.IP) == 0 || ip.IP.IsUnspecified() }):
		return refuse("needs the addresses to use, one by one")
	case slices.ContainsFunc(a.IPAddrs, func(ip net.IPAddr) bool { return ip.IP.To16() == nil || ip.IP.IsMulticast() }):
		return refuse("has an address of no host")
	}
	return nil
}

// pack is the addresses as the kernel takes them.
func pack(a *sctp.SCTPAddr) []byte { return a.ToRawSockAddrBuf() }
