package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// streamPair are the two ends of a stream over one connection.
func streamPair(t *testing.T) (a, b *chunked) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	y, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close(); y.Close() })
	return newChunked(x, bufio.NewReader(x)), newChunked(y, bufio.NewReader(y))
}

func TestAStreamThatEndsIsToldFromOneThatIsCut(t *testing.T) {
	tests := []struct {
		name string
		end  func(*chunked)
		want error
		says string
	}{
		{"ended", func(c *chunked) { _ = c.CloseWrite() }, nil, ""},
		{"closed", func(c *chunked) { _ = c.Close() }, nil, ""},
		{"aborted", func(c *chunked) { c.Abort(errors.New("the disk is full")) }, ErrCut, "the disk is full"},
		{"the process killed", func(c *chunked) { c.Conn.Close() }, ErrCut, ""},
		{"the process killed within a chunk", func(c *chunked) { _, _ = c.Conn.Write([]byte{0, 0, 0, 9, 1}); c.Conn.Close() }, ErrCut, ""},
		{"the process killed within a length", func(c *chunked) { _, _ = c.Conn.Write([]byte{0, 0}); c.Conn.Close() }, ErrCut, ""},
		{"a chunk that is too long", func(c *chunked) { _, _ = c.Conn.Write([]byte{0x7f, 0, 0, 0}) }, ErrCut, "1048576 are the most"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			a, b := streamPair(t)
			if _, err := a.Write([]byte("some of it")); err != nil {
				t.Fatal(err)
			}
			tc.end(a)
			_ = b.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(b)
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("read %q, %v; want %v %q", got, err, tc.want, tc.says)
			}
			if !strings.HasPrefix(string(got), "some of it") {
				t.Errorf("read %q", got)
			}
			if errors.Is(err, ErrCut) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error("the error is no io.ErrUnexpectedEOF")
			}
		})
	}
}

func TestAStreamCarriesAnySize(t *testing.T) {
	a, b := streamPair(t)
	sent := bytes.Repeat([]byte("0123456789"), 300<<10)
	go func() {
		_, _ = a.Write(sent[:1])
		_, _ = a.Write(nil) // no end
		_, _ = a.Write(sent[1:])
		_ = a.CloseWrite()
		if _, err := a.Write([]byte("more")); err == nil {
			t.Error("wrote after the end")
		}
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(sent), err)
	}
	if _, err := b.Write([]byte("the other direction is open")); err != nil {
		t.Error(err)
	}
}

// Both directions are carried until both have ended; half of it ends the whole.
func TestJoinedStreamsEndTogether(t *testing.T) {
	a, b := streamPair(t)
	c, d := streamPair(t)
	done := make(chan struct{})
	go func() { defer close(done); join(b, c) }()
	if _, err := a.Write([]byte("there")); err != nil {
		t.Fatal(err)
	}
	_ = a.CloseWrite()
	if got, err := io.ReadAll(d); err != nil || string(got) != "there" {
		t.Fatalf("read %q, %v", got, err)
	}
	if _, err := d.Write([]byte("and")); err != nil {
		t.Fatal(err)
	}
	d.Abort(errors.New("no more"))
	if got, err := io.ReadAll(a); !errors.Is(err, ErrCut) || !strings.Contains(err.Error(), "no more") {
		t.Errorf("read %q, %v", got, err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the copying has not ended")
	}
}

func TestStreamsNeedADaemonAndAnOpenListener(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "nobody"))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.OpenStream(ctx, "berlin", "x"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without a daemon: %v", err)
	}
	l := c.ListenStreams("x")
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}

// Whatever comes over a local connection, reading ends, and never with a clean
// end that was not said.
func FuzzChunks(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'n', 'o'})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, text []byte) {
		c := newChunked(nil, bufio.NewReader(bytes.NewReader(text)))
		got, err := io.ReadAll(c)
		if len(got) > len(text) {
			t.Errorf("%d bytes out of %d", len(got), len(text))
		}
		if err != nil {
			return
		}
		rest, n := text, 0
		for {
			if len(rest) < 4 {
				t.Fatal("a clean end that was not said")
			}
			n = int(binary.BigEndian.Uint32(rest))
			if n == 0 {
				return
			}
			rest = rest[4+n:]
		}
	})
}
