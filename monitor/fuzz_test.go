package monitor

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netquorum/netquorum"
)

// bonding is /proc/net/bonding/bond0 of a kernel 6.1 with one member that its
// switch does not aggregate.
const bonding = `Ethernet Channel Bonding Driver: v6.1.0-38-amd64

Bonding Mode: IEEE 802.3ad Dynamic link aggregation
Transmit Hash Policy: layer2 (0)
MII Status: up
MII Polling Interval (ms): 50

802.3ad info
LACP active: on
LACP rate: fast
System MAC address: 1a:c2:00:00:00:01
Active Aggregator Info:
	Aggregator ID: 1
	Partner Mac Address: 7e:ea:41:34:e4:42

Slave Interface: eth0
MII Status: up
Speed: 10000 Mbps
Duplex: full
Aggregator ID: 1
Actor Churn State: none
Partner Churn State: monitoring
details actor lacp pdu:
    system priority: 65535
    system mac address: 1a:c2:00:00:00:01
    port key: 15
    port state: 63
details partner lacp pdu:
    system priority: 65535
    system mac address: 7e:ea:41:34:e4:42
    oper key: 15
    port state: 63

Slave Interface: eth1
MII Status: up
Speed: Unknown
Duplex: Unknown
Aggregator ID: 2
Actor Churn State: churned
Partner Churn State: churned
`

func TestParseBonding(t *testing.T) {
	d := parseBonding(bonding)
	if want := (PortDetail{Speed: 10000, Duplex: "full", Partner: netquorum.MAC{0x7e, 0xea, 0x41, 0x34, 0xe4, 0x42}, PartnerKey: 15,
		ActorChurn: ChurnNone, PartnerChurn: ChurnMonitoring}); d["eth0"] != want {
		t.Errorf("eth0 is %+v, want %+v", d["eth0"], want)
	}
	if want := (PortDetail{ActorChurn: Churned, PartnerChurn: Churned}); d["eth1"] != want {
		t.Errorf("eth1 is %+v, want %+v", d["eth1"], want)
	}
}

func FuzzParseBonding(f *testing.F) {
	f.Add(bonding)
	f.Add("Slave Interface: eth0\nSpeed: 99999999999999999999 Mbps\nActor Churn State: \n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, d := range parseBonding(text) {
			if d.Duplex != "" && d.Duplex != "full" && d.Duplex != "half" {
				t.Errorf("%q: duplex %q", name, d.Duplex)
			}
		}
	})
}

// FuzzDecode reads what no kernel would send.
func FuzzDecode(f *testing.F) {
	attr := func(kind byte, value ...byte) []byte {
		return append([]byte{byte(len(value) + 4), 0, kind, 0}, value...)
	}
	link := append(make([]byte, unix.SizeofIfInfomsg), attr(unix.IFLA_IFNAME, 'e', 't', 'h', '0', 0, 0, 0, 0)...)
	info := append(attr(unix.IFLA_INFO_KIND, 'b', 'o', 'n', 'd'), attr(unix.IFLA_INFO_DATA, attr(bondADInfo, attr(adPartner, 1, 2, 3, 4, 5, 6, 0, 0)...)...)...)
	f.Add(uint16(unix.RTM_NEWLINK), append(link, attr(unix.IFLA_LINKINFO, info...)...))
	f.Add(uint16(unix.RTM_NEWADDR), append(make([]byte, unix.SizeofIfAddrmsg), attr(unix.IFA_LOCAL, 10, 0, 0, 1)...))
	route := make([]byte, unix.SizeofRtMsg)
	route[0], route[7] = unix.AF_INET, unix.RTN_UNICAST
	f.Add(uint16(unix.RTM_NEWROUTE), append(route, attr(unix.RTA_MULTIPATH, 8, 0, 0, 0, 1, 0, 0, 0)...))
	f.Fuzz(func(t *testing.T, kind uint16, data []byte) {
		var table table
		table.clear()
		changes, err := decodeAll(kind, data)
		if err != nil {
			return
		}
		for _, c := range changes {
			n := 0
			for _, set := range []bool{c.Link != nil, c.Address != nil, c.Route != nil} {
				if set {
					n++
				}
			}
			if n != 1 {
				t.Errorf("a change of %d things: %+v", n, c)
			}
			if c.Link != nil && c.Link.Name == "" || c.Address != nil && !c.Address.Prefix.IsValid() {
				t.Errorf("a change without a name: %+v", c)
			}
		}
		table.apply(Update{Changes: changes})
		newJudge().look(start, Plan{Timing: testTiming}, &table, asked{})
	})
}

// FuzzFrames reads frames that a neighbour may send.
func FuzzFrames(f *testing.F) {
	mac := netquorum.MAC{2, 0, 0, 0, 0, 1}
	local := netip.MustParseAddr("fe80::1")
	f.Add(arpFrame(mac, netip.Addr{}, gateway))
	f.Add(arpFrame(mac, netip.MustParseAddr("10.0.0.1"), gateway))
	nd, err := solicitation(mac, local, netip.MustParseAddr("2001:db8::fe"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(nd)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if h, ok, err := parseARP(frame, mac); ok && err == nil && (!h.Address.Is4() || h.Address.IsUnspecified()) {
			t.Errorf("ARP from %v", h)
		}
		if h, ok, err := parseND(frame, local); ok && err == nil && !h.Address.Is6() {
			t.Errorf("neighbour discovery from %v", h)
		}
		echoReply(frame, true, 1)
	})
}

func TestFrames(t *testing.T) {
	mac, own := netquorum.MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1")
	if got, want := hex.EncodeToString(arpFrame(mac, own, gateway)), "ffffffffffff020000000001"+"0806"+"0001080006040001"+"0200000000010a000001"+"0000000000000a0000fe"; got != want {
		t.Errorf("asks with\n%s, want\n%s", got, want)
	}
	if _, ok, _ := parseARP(arpFrame(mac, netip.Addr{}, gateway), mac); ok {
		t.Error("a question from nowhere claims an address")
	}
	if h, ok, err := parseARP(arpFrame(mac, own, gateway), netquorum.MAC{}); !ok || err != nil || h.Address != own || h.MAC != mac || h.Answer {
		t.Errorf("a question from %v was heard as %+v, %v, %v", own, h, ok, err)
	}
	nd, err := solicitation(mac, netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::fe"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(nd[:14]), "3333ff0000fe02000000000186dd"; got != want {
		t.Errorf("the frame begins with %s, want %s", got, want)
	}
	if _, ok, err := parseND(nd, netip.MustParseAddr("fe80::1")); ok || err != nil {
		t.Errorf("a question was heard as a claim: %v", err)
	}
}
