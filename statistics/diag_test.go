package statistics

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// message wraps a body as the kernel does.
func message(kind uint16, seq uint32, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), body...)
	return append(b, make([]byte, -len(b)&3)...)
}

// diagBody is a connection as the kernel describes it.
func diagBody(family uint8, local netip.Addr, state uint8, info []byte) []byte {
	b := make([]byte, sizeofDiagMessage)
	b[0], b[1] = family, state
	copy(b[8:], local.AsSlice())
	binary.NativeEndian.PutUint32(b[56:], 7)
	binary.NativeEndian.PutUint32(b[60:], 9)
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(info)))
	b = binary.NativeEndian.AppendUint16(b, attrInfo)
	return append(b, info...)
}

func tcpInfo(rtt, retransmits uint32) []byte {
	b := make([]byte, 232)
	binary.NativeEndian.PutUint32(b[offsetRTT:], rtt)
	binary.NativeEndian.PutUint32(b[offsetRetry:], retransmits)
	return b
}

func TestDiagAnswersAreRead(t *testing.T) {
	var b []byte
	b = append(b, message(unix.SOCK_DIAG_BY_FAMILY, 1, diagBody(unix.AF_INET, b4, 10, nil))...) // of an earlier request
	b = append(b, message(unix.SOCK_DIAG_BY_FAMILY, 2, diagBody(unix.AF_INET, a4, 1, tcpInfo(250, 3)))...)
	b = append(b, message(unix.SOCK_DIAG_BY_FAMILY, 2, diagBody(unix.AF_INET6, netip.AddrFrom16(a4.As16()), 6, tcpInfo(0, 0)[:50]))...)
	var got []socket
	done, err := diagAnswers(b, 2, func(s socket) { got = append(got, s) })
	if done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
	want := []socket{{local: a4, state: 1, receive: 7, send: 9, rtt: 250, retransmit: 3}, {local: a4, state: 6, receive: 7, send: 9}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if done, err = diagAnswers(message(unix.NLMSG_DONE, 2, make([]byte, 4)), 2, nil); !done || err != nil {
		t.Errorf("the end: done %v, %v", done, err)
	}
	refused := binary.NativeEndian.AppendUint32(nil, ^uint32(unix.ENOENT)+1)
	if _, err = diagAnswers(message(unix.NLMSG_ERROR, 2, append(refused, make([]byte, 16)...)), 2, nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("refused: %v, want ENOENT", err)
	}
	if _, err = diagAnswers(b[:len(b)-30], 2, func(socket) {}); !errors.Is(err, errMessage) {
		t.Errorf("cut short: %v", err)
	}
}

func TestSocketsAreSummedUp(t *testing.T) {
	var s Sockets
	for _, rtt := range []uint32{900, 100, 200} {
		s.addTCP(socket{state: 1, rtt: rtt, retransmit: 2, receive: 5, send: 6})
	}
	s.addTCP(socket{state: stateListen, receive: 128, send: 4096})
	s.addUDP(socket{drops: 4, receive: 1})
	s.finish()
	if s.RTT.Microseconds() != 200 || s.Retransmits != 6 || s.Unread != 16 || s.Unsent != 18 || s.UDPDrops != 4 || s.UDP != 1 ||
		s.States["established"] != 3 || s.States["listen"] != 1 {
		t.Errorf("got %+v", s)
	}
}

func FuzzDiagAnswers(f *testing.F) {
	f.Add(message(unix.SOCK_DIAG_BY_FAMILY, 2, diagBody(unix.AF_INET, a4, 1, tcpInfo(250, 3))))
	f.Add(message(unix.SOCK_DIAG_BY_FAMILY, 2, diagBody(unix.AF_INET6, a6, 10, tcpInfo(0, 0)[:9])))
	f.Add(message(unix.NLMSG_ERROR, 2, []byte{0xfe, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, _ = diagAnswers(b, 2, func(s socket) {
			n++
			if !s.local.IsValid() || s.local.Is4In6() {
				t.Errorf("address %v", s.local)
			}
			_ = stateName(s.state)
		})
		if n > len(b)/sizeofDiagMessage {
			t.Errorf("%d sockets in %d bytes", n, len(b))
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add("VirtualServer/vsvra 1763719200")
	f.Fuzz(func(t *testing.T, text string) {
		if c, ok := parseClaim(text); ok {
			if again, ok := parseClaim(c.text()); !ok || again != c {
				t.Errorf("%q is %+v, which is written %q and read as %+v", text, c, c.text(), again)
			}
		}
	})
}
