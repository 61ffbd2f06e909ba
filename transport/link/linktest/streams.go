package linktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
)

func boundaries(t *testing.T, k Kind) {
	const limit = 300 << 10
	p := NewPair(t, k, 2)
	a, b := p.Streams(t, link.Control)
	sizes := []int{0, 1, 3, 4095, 4096, 16 << 10, 16<<10 + 1, 0, 64 << 10, limit}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for i, n := range sizes {
			if err := link.WriteMessage(a, bytes.Repeat([]byte{byte(i)}, n), limit); err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		a.Write([]byte{0, 0, 0, 9, 'h', 'a', 'l', 'f'})
		a.Close()
	})
	var buf []byte
	for i, n := range sizes {
		m, err := link.ReadMessage(b, buf, limit)
		if err != nil || !bytes.Equal(m, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("message %d of %d bytes: %d bytes, %v", i, n, len(m), err)
		}
		buf = m
	}
	if _, err := link.ReadMessage(b, buf, limit); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an end within a message: %v", err)
	}
	if _, err := link.ReadMessage(b, buf, limit); err != io.EOF {
		t.Errorf("an end after a message: %v", err)
	}
	var size *link.SizeError
	if err := link.WriteMessage(io.Discard, make([]byte, 11), 10); !errors.As(err, &size) {
		t.Errorf("a message that is too large is written: %v", err)
	}
	if _, err := link.ReadMessage(bytes.NewReader([]byte{0, 0, 0, 11}), nil, 10); !errors.As(err, &size) {
		t.Errorf("a message that is too large is read: %v", err)
	}
}

func order(t *testing.T, k Kind) {
	const streams = 6
	size := min(1<<20, k.large()/4)
	p := NewPair(t, k, 2)
	var all sync.WaitGroup
	for i := range streams {
		a, b := p.Streams(t, link.Class(i%3))
		for _, way := range [][2]*link.Stream{{a, b}, {b, a}} {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				for n := 0; n < size; {
					p := make([]byte, min(1+r.IntN(40<<10), size-n))
					for j := range p {
						p[j] = byte(i + (n+j)/251)
					}
					if _, err := way[0].Write(p); err != nil {
						t.Errorf("stream %d: %v", i, err)
						return
					}
					n += len(p)
				}
				if err := way[0].CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				got, err := io.ReadAll(way[1])
				if err != nil || len(got) != size {
					t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
					return
				}
				for j, b := range got {
					if b != byte(i+j/251) {
						t.Errorf("stream %d: byte %d is wrong", i, j)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

func services(t *testing.T, k Kind) {
	p := NewPair(t, k, 1)
	s, err := p.A.OpenAny(t.Context(), []string{"test-echo/3", "test-echo/2", Echo}, link.Control)
	if err != nil || s.Service() != Echo {
		t.Fatalf("%v, %v", s, err)
	}
	s.Close()
	if _, err := p.B.Open(t.Context(), "test-echo/2", link.Control); !errors.Is(err, link.ErrNotServed) {
		t.Errorf("a service that nobody accepts: %v", err)
	}
	if s.RemoteAddr().String() != "b" || s.LocalAddr().String() != "a" || s.Peer() != "b" {
		t.Errorf("from %v to %v", s.LocalAddr(), s.RemoteAddr())
	}
	for _, bad := range [][]string{nil, {""}, make([]string, 17)} {
		if _, err := p.A.OpenAny(t.Context(), bad, link.Control); err == nil {
			t.Errorf("%q can be opened", bad)
		}
	}
}

func deadlines(t *testing.T, k Kind) {
	p := NewPair(t, k, 1)
	a, b := p.Streams(t, link.Control)
	timed := func(what string, f func() error) {
		t.Helper()
		start := time.Now()
		err := f()
		took := time.Since(start)
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v", what, err)
		}
		if took < 49*time.Millisecond || took > k.bound(51*time.Millisecond, time.Second) {
			t.Errorf("%s took %v, the deadline was 50ms", what, took)
		}
	}
	in := func() time.Time { return time.Now().Add(50 * time.Millisecond) }
	buf := make([]byte, 64<<10)
	timed("a read", func() error {
		a.SetReadDeadline(in())
		_, err := a.Read(buf)
		return err
	})
	timed("a write to a reader that has stopped", func() error {
		a.SetWriteDeadline(in())
		for {
			if _, err := a.Write(buf); err != nil {
				return err
			}
		}
	})
	timed("a deadline that is set while a read waits", func() error {
		a.SetReadDeadline(time.Time{})
		done := make(chan error, 1)
		go func() {
			_, err := a.Read(buf)
			done <- err
		}()
		a.SetReadDeadline(in())
		return <-done
	})
	// The stream is as good as before.
	a.SetDeadline(time.Time{})
	go io.Copy(io.Discard, b)
	if _, err := a.Write(buf); err != nil {
		t.Error(err)
	}
	a.SetDeadline(time.Now().Add(-time.Second))
	if _, err := a.Write(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a past deadline: %v", err)
	}
	// Opening is bounded by its context.
	p.Paths[0].Cut(3)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.A.Open(ctx, Echo, link.Control); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opening without an answer: %v", err)
	}
	p.Paths[0].Heal()
}

func ends(t *testing.T, k Kind) {
	p := NewPair(t, k, 2)
	read := func(s *link.Stream, want string, end error) {
		t.Helper()
		s.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := io.ReadAll(s)
		if err == nil {
			err = io.EOF
		}
		if string(got) != want || !errors.Is(err, end) {
			t.Errorf("%q, %v; want %q, %v", got, err, want, end)
		}
	}
	say := func(s *link.Stream, what string) {
		t.Helper()
		if _, err := io.WriteString(s, what); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []link.Class{link.Control, link.Urgent, link.Bulk} {
		a, b := p.Streams(t, c)
		say(a, "question") // half
		a.CloseWrite()
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing after CloseWrite: %v", err)
		}
		read(b, "question", io.EOF)
		say(b, "answer")
		b.Close()
		read(a, "answer", io.EOF)

		a, b = p.Streams(t, c)
		say(a, "all of it") // clean
		a.Close()
		read(b, "all of it", io.EOF)
		read(a, "", net.ErrClosed)
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closing twice: %v", err)
		}
		Eventually(t, "the writer to a closed stream to hear of it", func() bool {
			_, err := b.Write([]byte("x"))
			return errors.Is(err, link.ErrStopped)
		})

		a, b = p.Streams(t, c)
		say(a, "some of ") // within
		io.ReadFull(b, make([]byte, 8))
		a.Abort(errors.New("the disk is full"))
		read(b, "", io.ErrUnexpectedEOF)
		if _, err := b.Write([]byte("x")); !errors.Is(err, link.ErrAborted) || !bytes.Contains([]byte(err.Error()), []byte("the disk is full")) {
			t.Errorf("writing to an aborted stream: %v", err)
		}
	}
	a, b := p.Streams(t, link.Control)
	done := make(chan error, 1)
	go func() {
		_, err := b.Read(make([]byte, 1))
		done <- err
	}()
	cause := errors.New("removed from the cluster")
	p.B.End(cause)
	if err := <-done; !errors.Is(err, link.ErrPeerLost) || !errors.Is(err, cause) {
		t.Errorf("reading when the link ends: %v", err)
	}
	read(a, "", link.ErrPeerLost)
	if _, err := p.B.Open(t.Context(), Echo, link.Control); !errors.Is(err, link.ErrPeerLost) {
		t.Errorf("opening on a link that has ended: %v", err)
	}
}

func handlers(t *testing.T, k Kind) {
	p := NewPair(t, k, 2)
	a, b := p.Streams(t, link.Control)
	io.WriteString(a, "early, ")
	b.SetReadDeadline(time.Now().Add(10 * time.Second))
	io.ReadFull(b, make([]byte, 1)) // the rest waits in the reader's half
	var got bytes.Buffer
	end := make(chan error, 1)
	b.Handle(func(p []byte) error { got.Write(p); return nil }, func(err error) { end <- err })
	for i := range 1000 {
		fmt.Fprintf(a, "%d ", i)
	}
	a.CloseWrite()
	if err := <-end; err != io.EOF {
		t.Errorf("a clean end is %v", err)
	}
	want := "arly, "
	for i := range 1000 {
		want += fmt.Sprintf("%d ", i)
	}
	if got.String() != want {
		t.Errorf("the handler got %q", got.String())
	}

	a, b = p.Streams(t, link.Control)
	b.Handle(func([]byte) error { return errors.New("no such request") }, func(err error) { end <- err })
	io.WriteString(a, "?")
	if err := <-end; err == nil || err.Error() != "no such request" {
		t.Errorf("a handler's error ends its stream with %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, link.ErrAborted) {
		t.Errorf("a handler's error ends the peer's stream with %v", err)
	}

	a, _ = p.Streams(t, link.Control) // nobody reads
	chunk := make([]byte, 1000)
	for {
		err := a.TryWrite(chunk)
		if errors.Is(err, link.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.Handle(func([]byte) error { return nil }, func(err error) { end <- err })
	p.B.End(nil)
	if err := <-end; !errors.Is(err, link.ErrPeerLost) {
		t.Errorf("the end of the link is %v", err)
	}
}
