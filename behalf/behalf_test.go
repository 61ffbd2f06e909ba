package behalf

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
)

func source(to, address, link string) Source {
	return Source{netip.MustParsePrefix(to), netip.MustParseAddr(address), link}
}

var twoNetworks = Identity{
	Server:    "vsvra",
	Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("fd00::1")},
	Sources: []Source{
		source("fd00::/64", "fd00::1", "data0-vsvra"),
		source("10.1.0.0/24", "10.1.0.1", "data0-vsvra"),
		source("10.2.0.0/24", "10.2.0.1", "data1-vsvra"),
		source("172.16.0.0/12", "10.2.0.1", "data1-vsvra"),
		source("0.0.0.0/0", "10.1.0.1", "data0-vsvra"),
	},
}

func TestRoutesChooseTheSource(t *testing.T) {
	for to, want := range map[string]string{
		"10.2.0.9": "10.2.0.1", "172.17.0.1": "10.2.0.1", "8.8.8.8": "10.1.0.1", "::ffff:10.2.0.9": "10.2.0.1", "fd00::9": "fd00::1",
	} {
		if a, err := twoNetworks.SourceFor(netip.MustParseAddr(to)); err != nil || a.String() != want {
			t.Errorf("to %s: %v (%v), want %s", to, a, err, want)
		}
	}
	var none *AddressError
	if a, err := twoNetworks.SourceFor(netip.MustParseAddr("fd01::1")); !errors.As(err, &none) || !strings.Contains(err.Error(), "no route to fd01::1") {
		t.Errorf("to where no route leads: %v, %v", a, err)
	}
}

func TestRulesSayNothingTwice(t *testing.T) {
	index := func(link string) (int, error) {
		return map[string]int{"data0-vsvra": 10, "data1-vsvra": 11, "vrf-vsvra": 12}[link], nil
	}
	r, err := twoNetworks.Rules(index)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.Sources {
		got = append(got, s.To.String()+" "+s.Address.String())
	}
	// 10.1.0.0/24 is reached as everything is.
	want := []string{"fd00::/64 fd00::1", "10.2.0.0/24 10.2.0.1", "172.16.0.0/12 10.2.0.1", "0.0.0.0/0 10.1.0.1"}
	if !slices.Equal(got, want) || r.Device != 0 || r.OtherDevice != 10 {
		t.Errorf("rules %+v, want sources %v and link 10", r, want)
	}

	inVRF := twoNetworks
	inVRF.VRF = "vrf-vsvra"
	if r, err = inVRF.Rules(index); err != nil || r.Device != 12 || r.OtherDevice != 0 || len(r.Sources) != 0 {
		t.Errorf("with a VRF: %+v, %v", r, err)
	}
	one, err := inVRF.Only(netip.MustParseAddr("10.2.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err = one.Rules(index); err != nil || r.Device != 12 || len(r.Sources) != 1 || r.Sources[0].To.Bits() != 0 {
		t.Errorf("with a VRF and one address: %+v, %v", r, err)
	}
	if _, err := twoNetworks.Only(netip.MustParseAddr("10.9.0.1")); err == nil {
		t.Error("an address of somebody else is taken")
	}
	if _, err := (Identity{Server: "x"}).Rules(index); err == nil {
		t.Error("a server without addresses has rules")
	}
	gone := errors.New("no such link")
	if _, err := inVRF.Rules(func(string) (int, error) { return 0, gone }); !errors.Is(err, gone) {
		t.Errorf("a VRF that is gone: %v", err)
	}
}

func TestListenAddress(t *testing.T) {
	one := Identity{Server: "vsvrb", Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd00::1")}}
	inVRF := twoNetworks
	inVRF.VRF = "vrf-vsvra"
	for _, c := range []struct {
		id                    Identity
		network, address, out string // no out: refused
	}{
		{twoNetworks, "tcp4", ":80", ""},
		{twoNetworks, "tcp6", ":80", "[fd00::1]:80"},
		{twoNetworks, "tcp", "10.2.0.1:80", "10.2.0.1:80"},
		{twoNetworks, "tcp6", "10.2.0.1:80", ""},
		{twoNetworks, "tcp", "10.9.0.1:80", ""},
		{one, "udp4", "0.0.0.0:53", "10.1.0.1:53"},
		{one, "udp", ":53", ""},
		{inVRF, "tcp", ":80", ":80"},
		{inVRF, "tcp4", "10.9.0.1:80", ""},
		{Identity{Server: "x", VRF: "vrf-x"}, "tcp", ":80", ""},
		{one, "tcp", "files.example:80", ""},
		{one, "tcp", "80", ""},
	} {
		got, err := c.id.listenAddress(c.network, c.address)
		if got != c.out || (err == nil) != (c.out != "") {
			t.Errorf("%s of %s on %s: %q, %v; want %q", c.address, c.id.Server, c.network, got, err, c.out)
		}
	}
}

func TestOnlyWhatIsGivenIsKnown(t *testing.T) {
	g := Given{"vsvra": api.Presence{Name: "vsvra", VRF: "vrf-vsvra"}}
	if id, err := Find(t.Context(), g, "VSVRA"); err != nil || id.VRF != "vrf-vsvra" || id.Server != "vsvra" {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := Find(t.Context(), g, "vsvrb"); !errors.Is(err, api.ErrElsewhere) {
		t.Errorf("of a server that is not given: %v", err)
	}
}
