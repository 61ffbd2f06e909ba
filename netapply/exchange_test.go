package netapply

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// refusal is what the kernel answers: the error, the header of the request, the
// request itself unless capped, a text.
func refusal(seq uint32, requestBody int, e unix.Errno, flags uint16, text string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(e)))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+requestBody))
	b = append(b, make([]byte, unix.SizeofNlMsghdr-4)...)
	if flags&unix.NLM_F_CAPPED == 0 && e != 0 {
		b = append(b, make([]byte, (requestBody+3)&^3)...)
	}
	if text != "" {
		m := &message{}
		m.text(unix.NLMSGERR_ATTR_MSG, text)
		b = append(b, m.b...)
	}
	h := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(b)))
	h = binary.NativeEndian.AppendUint16(h, unix.NLMSG_ERROR)
	h = binary.NativeEndian.AppendUint16(h, flags)
	h = binary.NativeEndian.AppendUint32(h, seq)
	return append(append(h, 0, 0, 0, 0), b...)
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		b     []byte
		errno unix.Errno
		says  string
	}{
		{"done", refusal(7, 20, 0, 0, ""), 0, ""},
		{"refused", refusal(7, 20, unix.EEXIST, 0, ""), unix.EEXIST, "file exists"},
		{"refused with a text behind the request", refusal(7, 21, unix.EINVAL, unix.NLM_F_ACK_TLVS, "Invalid prefsrc address"), unix.EINVAL, "invalid argument: Invalid prefsrc address"},
		{"refused with a text and no request", refusal(7, 21, unix.EINVAL, unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED, "Unknown device type"), unix.EINVAL, "invalid argument: Unknown device type"},
	} {
		n := 0
		for seq, err := range answers(tt.b) {
			n++
			if seq != 7 || tt.errno == 0 && err != nil || tt.errno != 0 && (!errors.Is(err, tt.errno) || err.Error() != tt.says) {
				t.Errorf("%s: answer to %d: %v", tt.name, seq, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d answers", tt.name, n)
		}
	}
	// Several in one datagram, and something else between them.
	b := refusal(1, 0, 0, 0, "")
	other := refusal(2, 0, unix.EPERM, 0, "")
	binary.NativeEndian.PutUint16(other[4:], unix.RTM_NEWLINK)
	b = append(append(b, other...), refusal(3, 0, unix.EPERM, 0, "")...)
	var got []uint32
	for seq := range answers(b) {
		got = append(got, seq)
	}
	if len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("answers to %v, want to 1 and 3", got)
	}
}
