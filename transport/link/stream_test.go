package link

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// A sender and a receiver with a bad carrier between them, which loses, doubles,
// reorders and cuts short: all that is written is read, once and in order, and
// never more is kept than the window.
func TestASenderAndAReceiverOverABadCarrier(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		window := uint64(1 + r.IntN(50_000))
		send := sender{stream: 1, small: []int{100, maxSmall, maxFrame}[r.IntN(3)], limit: window}
		recv := receiver{window: window, limit: window}
		var wire [][]byte
		var want, got []byte
		size := r.IntN(5 * int(window))
		on := &Carrier{}
		in := reader{}
		read := func() {
			for _, p := range recv.ready {
				got = append(got, p.b...)
				recv.read(len(p.b), recv.window/4)
				p.slab.release()
			}
			recv.ready = nil
		}
		acked := func(offset, limit uint64) {
			if !send.acked(offset, limit, func(*frame) {}) {
				t.Fatalf("seed %d: %d acknowledged, %d written", seed, offset, send.end)
			}
		}
		for step := 0; !recv.ended || len(send.frames) > 0; step++ {
			if step > 1_000_000 {
				t.Fatalf("seed %d: no end, %d of %d bytes read", seed, len(got), size)
			}
			op := r.IntN(100)
			switch {
			case op < 30 && len(want) < size:
				p := make([]byte, min(r.IntN(70_000), send.room(), size-len(want)))
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				send.write(p)
				want = append(want, p...)
			case op < 30:
				send.finish()
			case op < 70:
				if f := send.next(); f != nil {
					f.on = on
					for range 1 + r.IntN(10)/9 { // twice at times
						if r.IntN(10) > 0 {
							wire = append(wire, slices.Clone(f.b))
						}
					}
				}
			case op < 90 && len(wire) > 0:
				i := 0
				if r.IntN(5) == 0 {
					i = r.IntN(len(wire))
				}
				in.r = bytes.NewReader(wire[i])
				h, body, err := readFrame(&in)
				if err != nil {
					t.Fatal(err)
				}
				in.take(headSize + h.n)
				wire = slices.Delete(wire, i, i+1)
				if h.offset+uint64(len(body)) > recv.limit {
					t.Fatalf("seed %d: data up to %d, the window ends at %d", seed, h.offset+uint64(len(body)), recv.limit)
				}
				p := piece{offset: h.offset, b: body, slab: in.slab, end: h.kind == kindEnd}
				if ok, _ := recv.accept(&p); ok {
					recv.add(p)
				}
				if n := send.end - recv.taken; n > 2*window+1 {
					t.Fatalf("seed %d: %d bytes under way, the window is %d", seed, n, window)
				}
				if r.IntN(3) == 0 {
					acked(recv.ack())
				}
			case op < 95:
				read()
			case op < 98:
				acked(recv.ack())
			case len(wire) == 0 && send.next() == nil || r.IntN(50) == 0:
				send.rewind(func(f *frame) bool { return f.on == on })
			}
		}
		read()
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %d bytes read, %d written, equal %t", seed, len(got), len(want), bytes.Equal(got, want[:min(len(got), len(want))]))
		}
	}
}

// Single bytes must not cost a slab each.
func TestManyTinyPiecesAreKeptTogether(t *testing.T) {
	recv := receiver{window: 1 << 20, limit: 1 << 20}
	send := sender{stream: 1, small: maxSmall, limit: 1 << 20}
	on := &Carrier{}
	for i := range 20_000 {
		b := []byte{byte(i)}
		send.write(b)
		if f := send.next(); f != nil && i < 4000 {
			f.on = on
		}
		p := piece{offset: uint64(i), b: b}
		if ok, _ := recv.accept(&p); ok {
			recv.add(p)
		}
	}
	if n := len(recv.ready); n > 20 {
		t.Errorf("20000 bytes are kept in %d pieces", n)
	}
	if n := len(send.frames); n > 4100 {
		t.Errorf("20000 bytes to be sent are kept in %d frames", n)
	}
	early := receiver{window: 1 << 20, limit: 1 << 20}
	for i := range 20_000 {
		early.add(piece{offset: uint64(2*i + 1), b: []byte{1}})
	}
	if n := len(early.early); n > maxEarly {
		t.Errorf("%d pieces wait for what comes before them", n)
	}
}

// The link's own stream has no writer that could wait: what is beyond the peer's
// window stays until it is opened.
func TestNothingIsSentBeyondTheWindow(t *testing.T) {
	send := sender{small: maxSmall, limit: 100}
	send.write(make([]byte, 60))
	first := send.next()
	if first == nil {
		t.Fatal("nothing is sent")
	}
	first.on = &Carrier{}
	send.write(make([]byte, 60))
	if f := send.next(); f != nil {
		t.Errorf("bytes %d to %d are sent, the window ends at 100", f.offset, f.end)
	}
	send.acked(60, 160, func(*frame) {})
	if f := send.next(); f == nil || f.end != 120 {
		t.Errorf("%+v is sent when the window is open", f)
	}
	if send.acked(121, 0, func(*frame) {}) {
		t.Error("what was not written can be acknowledged")
	}
}
