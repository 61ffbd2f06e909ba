package transport

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAHelloIsReadAsItWasWritten(t *testing.T) {
	said := hello{incarnation: incarnation{1, 2, 3, 15: 9}, features: canSCTP | forBulk}
	var wire bytes.Buffer
	if err := said.write(&wire); err != nil {
		t.Fatal(err)
	}
	longer := bytes.Clone(wire.Bytes())
	longer[1] += 5
	longer = append(longer, "later"...)
	for name, data := range map[string][]byte{"as it is": wire.Bytes(), "of a later version": longer} {
		r := bytes.NewReader(append(bytes.Clone(data), "the link's"...))
		heard, err := readHello(r)
		rest, _ := io.ReadAll(r)
		if err != nil || heard != said || string(rest) != "the link's" {
			t.Errorf("%s: %+v, %v, then %q", name, heard, err, rest)
		}
	}
	for n := range wire.Len() {
		if _, err := readHello(bytes.NewReader(wire.Bytes()[:n])); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for name, data := range map[string]string{"short": "\x00\x13", "long": "\x04\x01"} {
		if _, err := readHello(strings.NewReader(data + strings.Repeat("x", 2000))); !errors.As(err, new(*FrameError)) {
			t.Errorf("too %s: %v", name, err)
		}
	}
}

func FuzzHello(f *testing.F) {
	var wire bytes.Buffer
	_ = hello{features: canSCTP}.write(&wire)
	f.Add(wire.Bytes())
	f.Add([]byte{4, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := readHello(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := h.write(&again); err != nil || !bytes.Equal(again.Bytes()[2:], data[2:2+helloSize]) {
			t.Errorf("%x read as %+v, %v", data, h, err)
		}
	})
}
