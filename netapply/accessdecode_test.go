package netapply

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// FuzzAccessAnswers reads what a kernel could say about our table.
func FuzzAccessAnswers(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 0xff, 0xff, 0xff, 0xfc, 12, 0, 2, 0, 'c', 'h', 'a', 'i', 'n', 0, 0, 0}, "links", []byte("eth0\x00\x00"))
	f.Add([]byte{1, 0, 1, 0}, "addresses4", []byte{10, 2, 2, 1})
	f.Add([]byte{}, "absent6", bytes.Repeat([]byte{0xfe}, 16))
	f.Add([]byte{5, 0, 1, 0, 0}, "x", []byte{})
	f.Fuzz(func(t *testing.T, value []byte, set string, key []byte) {
		r := &Ruleset{}
		took := r.take(set, nftables.SetElement{Key: key, Val: value})
		if n := len(r.Absent) + len(r.Peers) + len(r.Addresses) + len(r.Links); took && n != 1 {
			t.Errorf("element %x of %q makes %d entries", key, set, n)
		}
		aboutAccess(syscall.NetlinkMessage{Data: value})
	})
}

// FuzzLine reads lines back from what they are written as, and refuses what
// was tampered with.
func FuzzLine(f *testing.F) {
	f.Add([]byte{10, 2, 0, 0}, 16, uint8(6), uint16(80), uint16(80), uint8(0), "c")
	f.Add([]byte{}, 0, uint8(17), uint16(1), uint16(65535), uint8(2), "policy-a-0011")
	f.Add(bytes.Repeat([]byte{0x20}, 16), 0, uint8(0), uint16(0), uint16(0), uint8(3), "x")
	f.Fuzz(func(t *testing.T, from []byte, bits int, protocol uint8, low, high uint16, word uint8, chain string) {
		l := Line{Verdict: Verdict{Word: []string{"accept", "drop", "jump", "goto"}[word%4]}, Note: "n"}
		if word%4 > 1 {
			l.Verdict.Chain = chain
		}
		if a, ok := netip.AddrFromSlice(from); ok {
			if p, err := a.Prefix(bits % 129); err == nil {
				l.From = p
			}
		}
		if _, known := protocolNames[protocol]; known {
			l.Protocol, l.Low, l.High = protocol, min(low, high), max(low, high)
		}
		rule := &nftables.Rule{Exprs: l.exprs(), UserData: comment(l.Note)}
		got, ok := decodeLine(rule)
		if !ok || got != l {
			t.Fatalf("%+v is read as %+v, %t", l, got, ok)
		}
		rule.Exprs = append([]expr.Any{&expr.Counter{}}, rule.Exprs...)
		if _, ok := decodeLine(rule); ok {
			t.Errorf("%+v with a counter before it is taken for ours", l)
		}
	})
}
