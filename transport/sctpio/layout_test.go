package sctpio

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unhex reads golden bytes; blanks are for the eye, and z*N is N zero bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for word := range strings.FieldsSeq(s) {
		if rest, ok := strings.CutPrefix(word, "z*"); ok {
			n := 0
			for _, c := range rest {
				n = 10*n + int(c-'0')
			}
			out = append(out, make([]byte, n)...)
			continue
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// The bytes are those of linux/sctp.h on a little-endian machine of 64 bits,
// counted by hand.
func TestOptionsAsTheKernelReadsThem(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"sctp_rtoinfo", rtoInfo(200*time.Millisecond, 100*time.Millisecond, 400*time.Millisecond), "00000000 c8000000 90010000 64000000"},
		{"sctp_assocparams", assocInfo(8), "00000000 0800 z*14"},
		{"sctp_initmsg", initMsg(8, 4, 500*time.Millisecond), "0800 0800 0400 f401"},
		{"sctp_paddrparams", peerAddrParams(250*time.Millisecond, 2, 0), "00000000 z*128 fa000000 0200 z*4 z*4 01000000 z*4 00 00"},
		{"sctp_paddrparams with a mark", peerAddrParams(250*time.Millisecond, 2, 48), "00000000 z*128 fa000000 0200 z*4 z*4 01020000 z*4 c0 00"},
		{"sctp_paddrparams with nothing but no mark", mark(0), "00000000 z*128 z*4 z*2 z*4 z*4 00020000 z*4 00 00"},
		{"sctp_paddrthlds", peerAddrThlds(2, 1), "00000000 z*4 z*128 0200 0100 z*4"},
		{"sctp_sack_info", delayedSACK(20 * time.Millisecond), "00000000 14000000 02000000"},
		{"sctp_event", event(notePeerAddrChange), "00000000 0280 01 00"},
		{"sctp_assoc_value", assocValue(2), "00000000 02000000"},
		{"sctp_prim", setPrimary(pack(Addr(9000, netip.MustParseAddr("10.0.0.1")))), "00000000 0200 2328 0a000001 z*8 z*112"},
		{"sctp_paddrinfo", peerAddrInfo(pack(Addr(9000, netip.MustParseAddr("10.0.0.1")))), "00000000 0200 2328 0a000001 z*8 z*112 z*20"},
		{"sockaddrs of both families", pack(Addr(9000, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::7"))),
			"0200 2328 0a000001 z*8  0a00 2328 00000000 20010db8 z*11 07 00000000"},
		{"a mapped address", pack(Addr(1, netip.MustParseAddr("::ffff:10.0.0.1"))), "0200 0001 0a000001 z*8"},
	} {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n  got %x\n want %x", c.name, c.got, want)
		}
	}
}

func TestSockoptsOfAnAssociation(t *testing.T) {
	want := map[string]string{ // by what they are given with two paths
		"RTOINFO": "00000000 c8000000 90010000 64000000", "ASSOCINFO": "00000000 0800 z*14",
		"NODELAY": "01000000", "RECVRCVINFO": "01000000", "EXPOSE_POTENTIALLY_FAILED_STATE": "00000000 02000000",
	}
	events := 0
	for _, o := range Control().sockopts(2) {
		if w, ok := want[o.name]; ok {
			if !bytes.Equal(o.bytes, unhex(t, w)) {
				t.Errorf("%s is %x, not %s", o.name, o.bytes, w)
			}
			delete(want, o.name)
		}
		if o.no == optEvent {
			events++
		}
	}
	if len(want) > 0 || events != 3 {
		t.Errorf("not set: %v; %d events are asked for, not 3", want, events)
	}
}

// An association must outlive the failure of all its paths but one, and a short
// silence when there is only one.
func TestRetransmitsGrowWithPaths(t *testing.T) {
	for paths, want := range map[int]uint16{1: 8, 2: 8, 3: 12, 8: 32} {
		for _, o := range Bulk().sockopts(paths) {
			if got := native.Uint16(append(o.bytes, 0, 0, 0, 0)[4:]); o.no == optAssocInfo && got != want {
				t.Errorf("%d paths: %d retransmissions, not %d", paths, got, want)
			}
		}
	}
	set := Control()
	set.Retransmits = 3
	for _, o := range set.sockopts(5) {
		if o.no == optAssocInfo && native.Uint16(o.bytes[4:]) != 3 {
			t.Error("Retransmits is not what was set")
		}
	}
}

const peerInfo = "07000000 0200 2328 0a000001 z*120 02000000 00100000 05000000 c8000000 dc050000"

func TestPathsAsTheKernelTellsThem(t *testing.T) {
	want := PathInfo{Remote: netip.MustParseAddrPort("10.0.0.1:9000"), State: Active, Window: 4096,
		RTT: 5 * time.Millisecond, RTO: 200 * time.Millisecond, MTU: 1500}
	if got, err := parsePeerAddrInfo(unhex(t, peerInfo)); err != nil || got != want {
		t.Errorf("GET_PEER_ADDR_INFO: %+v, %v", got, err)
	}
	if got, err := parseStatus(unhex(t, "07000000 04000000 z*16 "+peerInfo)); err != nil || got != want {
		t.Errorf("STATUS: %+v, %v", got, err)
	}
	list, err := parseAddrs(unhex(t, "07000000 03000000 0200 2328 0a000001 z*8 0a00 2328 z*4 z*10 ffff 0a010001 z*4 0a00 2328 z*4 fe80 z*13 01 03000000"))
	if err != nil || len(list) != 3 || list[0].String() != "10.0.0.1:9000" || list[1].String() != "10.1.0.1:9000" || list[2].String() != "[fe80::1%3]:9000" {
		t.Errorf("GET_PEER_ADDRS: %v, %v", list, err)
	}
}

func TestAnswersThatAreTooShort(t *testing.T) {
	for n := range peerAddrInfoSize {
		if _, err := parsePeerAddrInfo(unhex(t, peerInfo)[:n]); !errors.Is(err, errShort) {
			t.Fatalf("%d bytes of a path: %v", n, err)
		}
	}
	for _, s := range []string{"", "07000000 01000000", "07000000 ffffffff 0200 2328 0a000001 z*8", "00000000 01000000 0a00 z*20", "00000000 01000000 0b00 z*30"} {
		if list, err := parseAddrs(unhex(t, s)); err == nil {
			t.Errorf("%s is %v", s, list)
		}
	}
}

func TestControlMessageOfAMessage(t *testing.T) {
	info := "2c00000000000000 84000000 03000000 0500 z*26 z*4"
	other := "1400000000000000 01000000 02000000 00000000 z*4" // as of SOL_SOCKET
	for name, c := range map[string]struct {
		oob    string
		stream uint16
		found  bool
	}{
		"none": {"", 0, false}, "it": {info, 5, true}, "another before it": {other + " " + info, 5, true}, "another": {other, 0, false},
	} {
		got, found, err := parseRcvInfo(unhex(t, c.oob))
		if err != nil || found != c.found || got.stream != c.stream {
			t.Errorf("%s: %+v, %v, %v", name, got, found, err)
		}
	}
	if _, _, err := parseRcvInfo(unhex(t, "1800000000000000 84000000 03000000 0500 z*6")); !errors.Is(err, errShort) {
		t.Errorf("a short one: %v", err)
	}
	if _, _, err := parseRcvInfo(unhex(t, "ff00000000000000 84000000 03000000 0500 z*6")); err == nil {
		t.Error("one that ends behind its end is taken")
	}
}

func FuzzKernelAnswers(f *testing.F) {
	f.Add(unhex(f, peerInfo))
	f.Add(unhex(f, "07000000 02000000 0200 2328 0a000001 z*8 0a00 2328 z*24"))
	f.Add(unhex(f, "2c00000000000000 84000000 03000000 0500 z*26 z*4"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parsePeerAddrInfo(b)
		parseStatus(b)
		parseRcvInfo(b)
		if list, err := parseAddrs(b); err == nil && len(list) > len(b)/unix.SizeofSockaddrInet4 {
			t.Errorf("%d addresses in %d bytes", len(list), len(b))
		}
	})
}
