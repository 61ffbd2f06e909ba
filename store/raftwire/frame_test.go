package raftwire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func frames(t *testing.T) []byte {
	t.Helper()
	b := AppendFrame(nil, Failure, 1, []byte("why")...)
	start := len(b)
	b = append(Begin(b, Chunk, 2), bytes.Repeat([]byte("x"), 3*trust+5)...)
	if err := Finish(b, start); err != nil {
		t.Fatal(err)
	}
	return AppendTaken(b, 3, 1<<40)
}

func TestFramesArriveHoweverTheirBytesDo(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "in halves": iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(wrap(bytes.NewReader(frames(t))))
			for i, want := range []struct {
				kind Kind
				size int
			}{{Failure, 3}, {Chunk, 3*trust + 5}, {Taken, 6}} {
				h, err := r.Next()
				if err != nil || h.Kind != want.kind || h.Size != want.size || h.Call != uint32(i+1) {
					t.Fatalf("frame %d: %+v, %v", i, h, err)
				}
				b, err := r.Payload(h)
				if err != nil || len(b) != want.size {
					t.Fatalf("frame %d: %d bytes, %v", i, len(b), err)
				}
				switch h.Kind {
				case Failure:
					if string(b) != "why" {
						t.Errorf("%q", b)
					}
				case Taken:
					if n, err := ParseTaken(b); n != 1<<40 || err != nil {
						t.Errorf("%d, %v", n, err)
					}
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("after the last: %v, want io.EOF", err)
			}
		})
	}
}

func TestAnEndWithinAFrameIsNoCleanEnd(t *testing.T) {
	b := AppendFrame(nil, Failure, 1, []byte("why")...)
	for n := 1; n < len(b); n++ {
		r := NewReader(bytes.NewReader(b[:n]))
		h, err := r.Next()
		if err == nil {
			_, err = r.Payload(h)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

// TestALengthIsNotBelieved: room is made as the bytes come.
func TestALengthIsNotBelieved(t *testing.T) {
	huge := Begin(nil, Append, 1)
	copy(huge, []byte{0x03, 0, 0, 0}) // 48 MiB
	r := NewReader(bytes.NewReader(append(huge, 1, 2, 3)))
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := r.Payload(h); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 2*trust {
		t.Errorf("%d bytes were allocated for 3", got)
	}
	for _, length := range [][]byte{{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 4}, {0, 0, 0, 0}} {
		b := Begin(nil, Append, 1)
		copy(b, length)
		if _, err := NewReader(bytes.NewReader(b)).Next(); !errors.Is(err, ErrMalformed) {
			t.Errorf("length %x: %v", length, err)
		}
	}
}

func TestAFrameThatIsTooLongIsNotSent(t *testing.T) {
	if err := Finish(append(Begin(nil, Append, 1), make([]byte, MaxFrame)...), 0); err != nil {
		t.Error(err)
	}
	if err := Finish(append(Begin(nil, Append, 1), make([]byte, MaxFrame+1)...), 0); err == nil {
		t.Error("it was accepted")
	}
}

func TestAPreambleOfAnotherVersionIsRefused(t *testing.T) {
	for _, c := range []struct{ preamble, says string }{
		{"nq-raft\x02", ""},
		{"nq-raft\x01", "version 1, this filer speaks version 2"},
		{"nq-raft\xff", "version 255"},
		{"GET / HTTP/1.1", `begins with "GET / HT"`},
	} {
		err := NewReader(strings.NewReader(c.preamble)).Preamble()
		if c.says == "" {
			if err != nil {
				t.Errorf("%q: %v", c.preamble, err)
			}
			continue
		}
		if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.preamble, err)
		}
	}
	if err := NewReader(strings.NewReader("nq")).Preamble(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}

func TestReadingGoesOnAfterADeadline(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	r := NewReader(here)
	b := AppendFrame(nil, Failure, 7)
	sent := make(chan struct{})
	go func() { there.Write(b[:4]); close(sent) }()
	here.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("half a header: %v", err)
	}
	<-sent
	here.SetReadDeadline(time.Time{})
	go there.Write(b[4:])
	if h, err := r.Next(); err != nil || h.Call != 7 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestASplitterSeesTheFramesHoweverTheyAreCut(t *testing.T) {
	b := AppendFrame(nil, Failure, 1, []byte("why")...)
	b = AppendTaken(AppendFrame(b, Answer, 2, bytes.Repeat([]byte("x"), MaxAnswer)...), 3, 77)
	for _, size := range []int{1, 2, 8, 9, 10, 1000, len(b)} {
		var s Splitter
		var again []byte
		for at := 0; at < len(b); at += size {
			err := s.Feed(slices.Clone(b[at:min(at+size, len(b))]), func(h Header, payload []byte) error {
				again = AppendFrame(again, h.Kind, h.Call, payload...)
				return nil
			})
			if err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
		}
		if !bytes.Equal(again, b) {
			t.Errorf("pieces of %d: %d bytes of frames, want %d", size, len(again), len(b))
		}
	}
	var s Splitter
	if err := s.Feed(AppendFrame(nil, Answer, 1, make([]byte, MaxAnswer+1)...), func(Header, []byte) error { return nil }); !errors.Is(err, ErrMalformed) {
		t.Errorf("an answer that is too long: %v", err)
	}
}

// FuzzSplitter: it sees what a Reader sees.
func FuzzSplitter(f *testing.F) {
	f.Add(AppendTaken(AppendFrame(nil, Append, 1, 1, 2, 3), 2, 1), byte(3))
	f.Fuzz(func(t *testing.T, b []byte, size byte) {
		var s Splitter
		var got []byte
		for rest := b; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			if s.Feed(rest[:n], func(h Header, payload []byte) error {
				got = AppendFrame(got, h.Kind, h.Call, payload...)
				return nil
			}) != nil {
				return
			}
			rest = rest[n:]
		}
		var want []byte
		for r := NewReader(bytes.NewReader(b)); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			payload, err := r.Payload(h)
			if err != nil {
				break
			}
			want = AppendFrame(want, h.Kind, h.Call, payload...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%x was split into %x, read as %x", b, got, want)
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(Preamble + string(AppendTaken(AppendFrame(nil, Append, 1, 1, 2, 3), 2, 1))))
	f.Add([]byte("nq-raft\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		if err := r.Preamble(); err != nil {
			return
		}
		var again []byte
		for {
			h, err := r.Next()
			if err != nil {
				break
			}
			payload, err := r.Payload(h)
			if err != nil {
				break
			}
			again = AppendFrame(again, h.Kind, h.Call, payload...)
			if h.Kind == Taken {
				_, _ = ParseTaken(payload)
			}
		}
		if !bytes.HasPrefix(b[len(Preamble):], again) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}
