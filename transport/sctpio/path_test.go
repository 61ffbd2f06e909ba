package sctpio

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ishidawataru/sctp"
)

func TestAddr(t *testing.T) {
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:9000"), netip.MustParseAddrPort("[2001:db8::1]:9000"), netip.MustParseAddrPort("[fe80::1%eth0]:9000")}
	a := Addr(9000, want[0].Addr(), want[1].Addr(), want[2].Addr())
	if got := AddrPorts(a); !slices.Equal(got, want) {
		t.Errorf("AddrPorts(%v) = %v", a, got)
	}
	if got := join(want); got.String() != a.String() {
		t.Errorf("join(%v) = %v", want, got)
	}
	if s := a.String(); s != "10.0.0.1/[2001:db8::1]/[fe80::1%eth0]:9000" {
		t.Error(s)
	}
	if got := AddrPorts(&net.TCPAddr{}); got != nil {
		t.Errorf("of TCP: %v", got)
	}
	parsed, err := sctp.ResolveSCTPAddr("sctp", "10.0.0.1/10.1.0.1:9000")
	if err != nil || anyV6(parsed) || !anyV6(parsed, a) {
		t.Errorf("%v, %v", parsed, err)
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	ip := netip.MustParseAddr
	for text, a := range map[string]*sctp.SCTPAddr{
		"one by one":  nil,
		"one by one ": Addr(1, ip("0.0.0.0")),
		" one by one": Addr(1, ip("10.0.0.1"), ip("::")),
		"no host":     Addr(1, ip("224.0.0.1")),
		"more than 8": Addr(1, slices.Repeat([]netip.Addr{ip("10.0.0.1")}, 9)...),
		"port":        {IPAddrs: Addr(1, ip("10.0.0.1")).IPAddrs, Port: 70000},
	} {
		if _, err := Listen(a, Control()); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("%v is listened at: %v", a, err)
		}
		if _, err := Dial(t.Context(), Addr(0, ip("10.0.0.1")), a, Control()); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("%v is called: %v", a, err)
		}
	}
	if _, err := Dial(t.Context(), nil, Addr(1, ip("10.0.0.1")), Control()); err == nil {
		t.Error("a call from every address of this host")
	}
}

func TestSupported(t *testing.T) {
	err := Supported()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, listening := Listen(Addr(0, netip.MustParseAddr("127.0.0.1")), Control()); err != nil && !errors.Is(listening, errors.ErrUnsupported) {
		t.Errorf("Supported says %v, Listen %v", err, listening)
	}
}
