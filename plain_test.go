package netquorum

import "testing"

func TestPlainStopsBeforeWhatIsNot(t *testing.T) {
	for special := range 256 {
		c := byte(special)
		is := c == '"' || c == '\\' || c < 0x20
		for at := range 20 {
			b := []byte("0123456789abcdefghij\xff\x80\x7f ")
			b[at] = c
			n := plain(b)
			if is && n > at {
				t.Fatalf("byte %#x at %d was passed over", c, at)
			}
			if !is && n != 24 {
				t.Fatalf("it stopped at %d of 24, and byte %#x is plain", n, c)
			}
		}
	}
	if n := plain([]byte("short")); n != 0 {
		t.Errorf("%d bytes of five were looked at together", n)
	}
}
