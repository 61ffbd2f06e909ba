package link

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link/memlink"
)

// allFrames has one frame of each kind.
func allFrames() []byte {
	b := hello{incarnation: 7, knows: 8, filer: "a"}.encode()
	q := sender{stream: 3, small: maxSmall, limit: 1 << 20}
	q.write([]byte("payload"))
	q.finish()
	for _, f := range q.frames {
		b = append(b, f.b...)
	}
	b = putAck(b, 3, 100, 200)
	b = putPing(b, kindPing, 1)
	b = putPing(b, kindPong, 1)
	return putBye(b, "an upgrade")
}

func TestFramesAreReadAsTheyWereWritten(t *testing.T) {
	all := allFrames()
	r := reader{r: bytes.NewReader(all)}
	h, err := readHello(&r)
	if err != nil || h != (hello{7, 8, "a"}) {
		t.Fatal(h, err)
	}
	kinds := []byte{}
	for {
		h, body, err := readFrame(&r)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, h.kind)
		switch h.kind {
		case kindData:
			if string(body) != "payload" || h.stream != 3 || h.offset != 0 {
				t.Errorf("%+v %q", h, body)
			}
		case kindEnd:
			if len(body) != 0 || h.offset != 7 {
				t.Errorf("%+v %q", h, body)
			}
		case kindAck:
			if h.stream != 3 || h.offset != 100 || h.limit != 200 {
				t.Errorf("%+v", h)
			}
		case kindBye:
			if string(body) != "an upgrade" {
				t.Errorf("%q", body)
			}
		}
		r.take(headSize + h.n)
	}
	if !bytes.Equal(kinds, []byte{kindData, kindEnd, kindAck, kindPing, kindPong, kindBye}) {
		t.Errorf("kinds %v", kinds)
	}
}

func TestACarrierEndsCleanlyOrWithinAFrame(t *testing.T) {
	var b []byte
	b = putAck(b, 1, 2, 3)
	for n := range len(b) {
		_, _, err := readFrame(&reader{r: bytes.NewReader(b[:n])})
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if err != want {
			t.Errorf("%d of %d bytes: %v, want %v", n, len(b), err, want)
		}
	}
}

// Whatever arrives, no more memory is made than a frame may need, and what is
// read is within bounds.
func FuzzFrames(f *testing.F) {
	f.Add(allFrames())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, kindData})
	f.Add([]byte{0, 0, 0, 0, kindAck})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := reader{r: bytes.NewReader(data)}
		for {
			h, body, err := readFrame(&r)
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrProtocol) {
					t.Fatal(err)
				}
				return
			}
			if len(body) > h.n || h.n > maxFrame {
				t.Fatalf("%+v has a body of %d bytes", h, len(body))
			}
			r.take(headSize + h.n)
		}
	})
}

// A peer that talks nonsense after its hello costs its link and nothing else.
func FuzzPeer(f *testing.F) {
	all := allFrames()
	f.Add(all[len(hello{filer: "a"}.encode()):])
	open := []byte{0, 0, messageOpen, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 's'}
	open[1] = byte(len(open) - 2)
	q := sender{small: maxSmall, limit: 1 << 20}
	q.write(open)
	f.Add(q.frames[0].b)
	q.write([]byte{0, 9, messageReset, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add(append(q.frames[0].b, putAck(nil, 1, 0, 100)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs, err := memlink.NewWire(1).Connect()
		if err != nil {
			t.Fatal(err)
		}
		l := New(Config{Local: "a", Peer: "b", Accept: func(offered []string, _ Class) (string, func(*Stream)) {
			return offered[0], func(s *Stream) {
				s.Handle(func(p []byte) error { return s.TryWrite(p) }, func(error) { s.Close() })
			}
		}})
		theirs.Write(hello{incarnation: 1, filer: "b"}.encode())
		c, err := l.Attach(context.Background(), ours, Path{})
		if err != nil {
			t.Fatal(err)
		}
		theirs.Write(data)
		theirs.Close()
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the carrier goes on")
		}
		l.Close()
	})
}

func FuzzMessages(f *testing.F) {
	var b bytes.Buffer
	if err := WriteMessage(&b, []byte("hello"), 100); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 10
		r := bytes.NewReader(data)
		for {
			m, err := ReadMessage(r, nil, limit)
			if err != nil {
				return
			}
			var again bytes.Buffer
			at := len(data) - r.Len() - len(m) - 4
			if err := WriteMessage(&again, m, limit); err != nil || !bytes.Equal(again.Bytes(), data[at:at+4+len(m)]) {
				t.Fatalf("%q is written as %q, %v", data, again.Bytes(), err)
			}
		}
	})
}

func TestFrameBuffered(t *testing.T) {
	whole := putPing(nil, kindPing, 7)
	for n := range len(whole) + 3 {
		r := reader{slab: newSlab(maxFrame), start: 3}
		r.end = 3 + copy(r.slab.b[3:], append(append([]byte(nil), whole...), 1, 2, 3)[:n])
		if got, want := frameBuffered(&r), n >= len(whole); got != want {
			t.Errorf("%d of %d bytes: %v", n, len(whole), got)
		}
	}
}
