package netapply

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	netquorum "github.com/netquorum/netquorum"
	"golang.org/x/sys/unix"
)

// Every option of every kind comes back as it was written.
func TestOptionsRoundTrip(t *testing.T) {
	index := func(name string) (int, bool) { return map[string]int{"eth1": 7}[name], name == "eth1" }
	name := func(i int) string { return map[int]string{7: "eth1"}[i] }
	samples := map[LinkKind][]Options{
		VLAN: {{"id": "1"}, {"id": "4094"}}, VRF: {{"table": "1000000"}, {"table": "4294967295"}},
		Macvlan: {{"mode": "bridge"}, {"mode": "private"}, {"mode": "source"}},
	}
	for _, mode := range netquorum.BondModes {
		samples[Bond] = append(samples[Bond],
			bond(netquorum.Interface{Bond: &netquorum.Bond{Mode: mode}}).Options,
			bond(netquorum.Interface{Bond: &netquorum.Bond{
				Mode: mode, LACPRate: "fast", LACPActive: new(bool), MinLinks: 2, ADSelect: "count",
				ADSystem: &netquorum.MAC{2, 1, 2, 3, 4, 5}, ADPriority: 9, ADUserPortKey: 1023, XmitHashPolicy: "vlan+srcmac",
				Primary: "eth1", PrimaryReselect: "failure", FailOverMAC: "follow", UpDelay: 250, DownDelay: 99,
			}}).Options,
			bond(netquorum.Interface{Bond: &netquorum.Bond{Mode: mode, ARPInterval: 250, ARPTargets: []netip.Addr{
				netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.2"),
			}}}).Options)
	}
	for kind, list := range samples {
		for _, o := range list {
			m := &message{}
			if err := encodeOptions(m, kind, o, index); err != nil {
				t.Errorf("%s %v: %v", kind, o, err)
				continue
			}
			got, err := decodeOptions(kind, m.b, name)
			if err != nil {
				t.Errorf("%s %v: %v", kind, o, err)
			}
			maps.DeleteFunc(got, func(k, _ string) bool { _, sent := o[k]; return !sent })
			if diff := cmp.Diff(o, got); diff != "" {
				t.Errorf("%s (-sent +got):\n%s", kind, diff)
			}
		}
	}
}

func TestOptionsThatCannotBeSent(t *testing.T) {
	none := func(string) (int, bool) { return 0, false }
	for _, tt := range []struct {
		kind LinkKind
		o    Options
		says string
	}{
		{VLAN, Options{"id": "many"}, `vlan id: "many" is not one of  nor a number of 16 bits`},
		{VLAN, Options{"id": "70000"}, `vlan id: "70000" is not one of  nor a number of 16 bits`},
		{Bond, Options{"mode": "sideways"}, `bond mode: "sideways" is not one of balance-rr, active-backup, balance-xor, broadcast, 802.3ad, balance-tlb, balance-alb nor a number of 8 bits`},
		{Bond, Options{"primary": "eth9"}, "bond primary: there is no link eth9"},
		{Bond, Options{"arp_ip_target": "2001:db8::1"}, "bond arp_ip_target: 2001:db8::1 is of the wrong family"},
		{Bond, Options{"ad_actor_system": "x"}, `bond ad_actor_system: "x" is not a MAC address like 00:07:34:04:12:0e`},
		{VRF, Options{"colour": "red"}, `vrf has no option "colour"`},
	} {
		if err := encodeOptions(&message{}, tt.kind, tt.o, none); err == nil || err.Error() != tt.says {
			t.Errorf("%s %v: %v, want %s", tt.kind, tt.o, err, tt.says)
		}
	}
}

// The delays of a bond are whole multiples of its interval, as the kernel
// rounds them: anything else would never be settled.
func TestBondDelaysAreRounded(t *testing.T) {
	o := bond(netquorum.Interface{Bond: &netquorum.Bond{Miimon: 80, UpDelay: 250, DownDelay: 79}}).Options
	if o["updelay"] != "240" || o["downdelay"] != "0" {
		t.Errorf("updelay %s, downdelay %s of 250 and 79 with miimon 80, want 240 and 0", o["updelay"], o["downdelay"])
	}
}

func TestBroadcast(t *testing.T) {
	for prefix, expected := range map[string]string{
		"10.1.1.2/24": "10.1.1.255", "10.1.1.3/16": "10.1.255.255", "192.0.2.9/30": "192.0.2.11", "10.0.0.0/8": "10.255.255.255",
	} {
		if got, _ := netip.AddrFromSlice(broadcast(netip.MustParsePrefix(prefix))); got.String() != expected {
			t.Errorf("broadcast address of %s is %s, want %s", prefix, got, expected)
		}
	}
}

func TestVersionAtLeast(t *testing.T) {
	for release, expected := range map[string]bool{
		"6.1.0-56-amd64": true, "5.18": true, "5.18-rc1": true, "5.17.9": false, "4.19.0": false, "6.18.44-fc-v669": true, "": false, "x.y": false, "10": false,
	} {
		if got := versionAtLeast(release, 5, 18); got != expected {
			t.Errorf("%q at least 5.18: %t, want %t", release, got, expected)
		}
	}
}

// A list that the kernel refuses is an error and no more. (With error texts
// switched on for lists, the library panicked on it.)
func TestRefusedList(t *testing.T) {
	k, err := Open()
	if err != nil {
		t.Skip(err)
	}
	defer k.Close()
	tooShort := &message{b: make([]byte, unix.SizeofRtMsg)}
	tooShort.b[1] = 99
	err = k.dump(t.Context(), unix.RTM_GETROUTE, tooShort, func() {}, func([]byte) error { return nil })
	if err == nil {
		t.Error("no error for a list of routes with a destination length but no destination")
	}
}

// Names that fit are readable, others are hashed, and none clash.
func TestLinkNames(t *testing.T) {
	key := func(name string) netquorum.Key { return netquorum.Key{Kind: netquorum.KindVirtualServer, Name: name} }
	for _, tt := range []struct{ got, want string }{
		{portName(key("VsvrA"), "data0"), "data0-vsvra"},
		{portName(key("VsvrA"), "data0.5"), "data0.5-vsvra"},
		{portName(key("vs_mgmt"), "mgmt0"), "mgmt0-vs_mgmt"},
		{portName(key("a.b"), "data0"), "data0-a.b"},
		{vrfName(key("VsvrA")), "vrf-vsvra"},
		{vrfName(key("elevenchars")), "vrf-elevenchars"},
	} {
		if tt.got != tt.want {
			t.Errorf("name %s, want %s", tt.got, tt.want)
		}
	}
	seen := map[string]string{}
	for _, owner := range []string{"a-server-with-a-long-name", "another-server-with-a-long-name", "a b", "ä"} {
		for what, name := range map[string]string{
			"port": portName(key(owner), "data0"), "other port": portName(key(owner), "data1"), "carrier": carrierName(key(owner), "data0.5", 1),
		} {
			if was := seen[name]; was != "" || len(name) > maxLinkName {
				t.Errorf("%s of %s is named %s, like %s, or too long", what, owner, name, was)
			}
			seen[name] = what + " of " + owner
		}
	}
	if portName(key("A-Server-With-A-Long-Name"), "data0") != portName(key("a-server-with-a-long-name"), "data0") {
		t.Error("the name depends on upper and lower case")
	}
}

// fuzzSeeds are messages as we send them, and as a kernel sent them.
func fuzzSeeds(f *testing.F) {
	m := linkHeader(3, unix.IFF_UP, unix.IFF_UP)
	m.text(unix.IFLA_IFNAME, "bond0")
	m.u32(unix.IFLA_MTU, 1500)
	m.nest(unix.IFLA_LINKINFO, func() {
		m.text(unix.IFLA_INFO_KIND, "bond")
		m.nest(unix.IFLA_INFO_DATA, func() {
			o := bond(netquorum.Interface{Bond: &netquorum.Bond{Mode: netquorum.ModeActiveBackup, ARPInterval: 100, ARPTargets: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}).Options
			_ = encodeOptions(m, Bond, o, func(string) (int, bool) { return 0, true })
		})
	})
	f.Add(m.b)
	f.Add(ruleMessage(Rule{900, netip.MustParsePrefix("10.0.0.1/32"), 1000000}).b)
	f.Add(refusal(7, 8, unix.EINVAL, unix.NLM_F_CAPPED|unix.NLM_F_ACK_TLVS, "no"))
	a := addressHeader(unix.AF_INET, 24, 0, 3)
	a.bytes(unix.IFA_LOCAL, []byte{10, 0, 0, 1})
	f.Add(a.b)
	if k, err := Open(); err == nil {
		defer k.Close()
		for what, header := range map[uint16]*message{
			unix.RTM_GETLINK: linkHeader(0, 0, 0), unix.RTM_GETADDR: addressHeader(0, 0, 0, 0), unix.RTM_GETRULE: {b: make([]byte, unix.SizeofRtMsg)},
		} {
			_ = k.dump(context.Background(), what, header, func() {}, func(b []byte) error {
				f.Add(bytes.Clone(b))
				return nil
			})
		}
	}
}

// FuzzDecode feeds anything to every decoder of kernel messages.
func FuzzDecode(f *testing.F) {
	fuzzSeeds(f)
	name := func(i int) string { return "eth0" }
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLink(b); err == nil {
			if o, err := l.observed(name); err == nil && o.Name != l.name {
				t.Errorf("link %q became %q", l.name, o.Name)
			}
		}
		if _, a, err := decodeAddress(b); err == nil && a.Prefix.IsValid() && a.Prefix.Bits() > a.Prefix.Addr().BitLen() {
			t.Errorf("address %v", a)
		}
		if routes, err := decodeRoutes(b, name); err == nil {
			for _, r := range routes {
				_ = r.String()
			}
		}
		if r, ours, err := decodeRule(b); err == nil && ours {
			_ = r.String()
		}
		for kind := range optionTables {
			_, _ = decodeOptions(kind, b, name)
		}
		for _, err := range answers(b) {
			_ = fmt.Sprint(err)
		}
		// What is read as attributes and written again is read the same.
		m := &message{}
		var first []attribute
		for a, err := range attributes(b) {
			if err != nil {
				return
			}
			first = append(first, a)
			m.bytes(a.kind, a.value)
		}
		i := 0
		for a, err := range attributes(m.b) {
			if err != nil || a.kind != first[i].kind || !bytes.Equal(a.value, first[i].value) {
				t.Errorf("attribute %d: %v became %v, %v", i, first[i], a, err)
			}
			i++
		}
		if i != len(first) {
			t.Errorf("%d attributes became %d", len(first), i)
		}
	})
}
