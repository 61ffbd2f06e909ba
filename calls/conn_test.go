package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// frameOf appends a frame whose payload fill appends.
func frameOf(b []byte, kind byte, call uint32, fill func([]byte) []byte) []byte {
	var payload []byte
	if fill != nil {
		payload = fill(nil)
	}
	return appendFrame(b, kind, call, payload, nil)
}

// whole is a request as a payload, its body included.
func (q sent) whole(b []byte) []byte { return append(q.append(b), q.Body...) }

func (a Answer) whole(b []byte) []byte { return append(a.append(b), a.Body...) }

// A pushed connection gives data by a callback in its reader's goroutine, as the
// streams of links do, and fails the test when the callback waits.
type pushed struct {
	net.Conn
	t      testing.TB
	reader sync.WaitGroup
	full   atomic.Bool // TryWrite takes nothing
}

func (c *pushed) Handle(data func([]byte) error, end func(error)) {
	c.reader.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Conn.Read(buf)
			if n > 0 {
				slow := time.AfterFunc(patience/2, func() { c.t.Error("a callback waits") })
				if failed := data(buf[:n]); err == nil {
					err = failed
				}
				slow.Stop()
				for i := range buf[:n] {
					buf[i] = 0xEE // it is not theirs to keep
				}
			}
			if err != nil {
				c.Conn.Close()
				end(err)
				return
			}
		}
	})
}

func (c *pushed) TryWrite(p []byte) error {
	if c.full.Load() {
		return errors.New("full")
	}
	_, err := c.Conn.Write(p)
	return err
}

// pair is a client and a server over pushed connections.
func pair(t testing.TB, s *Server) (*Client, *pushed) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Log = slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{Dial: func(ctx context.Context) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		return &pushed{Conn: conn, t: t}, err
	}}
	accepted := make(chan *pushed, 1)
	var served sync.WaitGroup
	served.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p := &pushed{Conn: conn, t: t}
		accepted <- p
		_ = s.Serve(ctx, ctx, p, nil)
		p.reader.Wait()
	})
	t.Cleanup(func() {
		c.Close()
		l.Close()
		stop()
		served.Wait()
	})
	if _, err := c.Version(t.Context(), "", Versions{1, 1}); err != nil {
		t.Fatal(err)
	}
	return c, <-accepted
}

func TestCallsOverAConnectionThatPushes(t *testing.T) {
	c, theirs := pair(t, &Server{Programs: []Program{{Handler: http.HandlerFunc(echo)}}})
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			for j := range 50 {
				body := fmt.Sprintf("%d of %d %s", j, i, strings.Repeat("x", j*i*50))
				a, err := c.Call(t.Context(), Request{Method: "POST", Target: "/", Body: []byte(body)})
				if err != nil || string(a.Body) != "POST /  "+body {
					t.Errorf("%v, %.80q", err, a.Body)
					return
				}
				theirs.full.Store(j%5 == 0)
			}
		})
	}
	callers.Wait()
}

// lingering is a connection whose end comes late.
type lingering struct {
	net.Conn
	until <-chan struct{}
}

func (c lingering) Close() error {
	<-c.until
	return c.Conn.Close()
}

// A handler that was cut off returns as if it were done, sometimes before the connection
// has ended: the caller took its empty answer for one.
func TestWhatAHandlerWritesThatWasCutOffIsNoAnswer(t *testing.T) {
	ours, theirs := net.Pipe()
	begun, ended := make(chan struct{}), make(chan struct{})
	s := &Server{Log: slog.New(slog.DiscardHandler), Programs: []Program{{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})}}}
	base, cut := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(context.Background(), base, lingering{theirs, ended}, nil) })
	c := &Client{Dial: func(context.Context) (net.Conn, error) { return ours, nil }}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"})
		failed <- err
	}()
	<-begun
	cut()
	var err error
	select {
	case err = <-failed: // without waiting for the connection's end
	case <-time.After(300 * time.Millisecond):
		close(ended)
		err = <-failed
	}
	if err == nil || errors.Is(err, ErrNotSent) {
		t.Errorf("%v, want an error that leaves open whether the request had an effect", err)
		close(ended)
	}
	c.Close()
	served.Wait()
}

// Where reading must not wait, requests beyond the limit are turned away, with an
// error that says so, and those before it are answered.
func TestTooManyRequestsAtOnceAreTurnedAway(t *testing.T) {
	release := make(chan struct{})
	c, _ := pair(t, &Server{Programs: []Program{{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })}}})
	var callers sync.WaitGroup
	var answered, refused atomic.Int64
	const more = 100
	for range maxCalls + more {
		callers.Go(func() {
			switch _, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); {
			case err == nil:
				answered.Add(1)
			case errors.Is(err, ErrNotSent):
				if refused.Add(1) == more {
					close(release)
				}
			default:
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if answered.Load() != maxCalls || refused.Load() != more {
		t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
	}
}

// The assembler must find the same frames however their bytes are cut.
func FuzzAssembler(f *testing.F) {
	some := frameOf(nil, kindRequest, 1, sent{Request{Method: "POST", Target: "/x", Body: []byte("body")}, 0, 1}.whole)
	some = frameOf(some, kindCancel, 2, nil)
	some = frameOf(some, kindAnswer, 3, Answer{Status: 200, Body: make([]byte, 100)}.whole)
	f.Add(some, uint8(1))
	f.Add(some, uint8(7))
	f.Add([]byte{0, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		collect := func(step int) (out []byte, between bool, failed error) {
			a := &assembler{most: 1 << 20}
			for p := b; len(p) > 0 && failed == nil; {
				n := min(step, len(p))
				part := bytes.Clone(p[:n])
				failed = a.feed(part, func(f frame) error {
					out = appendFrame(out, f.kind, f.call, f.payload, nil)
					return nil
				})
				for i := range part {
					part[i] = 0xEE
				}
				p = p[n:]
				if cap(a.part) > 2*len(b)+firstRoom {
					t.Fatalf("%d bytes of room for %d", cap(a.part), len(b))
				}
			}
			return out, a.between(), failed
		}
		whole, between, err := collect(len(b) + 1)
		parts, same, again := collect(max(int(step), 1))
		if !bytes.Equal(whole, parts) || (err == nil) != (again == nil) || err == nil && between != same {
			t.Fatalf("in parts of %d: %x, %v, %v; whole: %x, %v, %v", step, parts, same, again, whole, between, err)
		}
		if !bytes.HasPrefix(b, whole) {
			t.Fatalf("%x of %x", whole, b)
		}
	})
}

func FuzzServer(f *testing.F) {
	one := sent{Request{Method: "POST", Target: "/x?y=z", ContentType: "a", Accept: "b", Timeout: time.Second, Trace: 9, Body: []byte("body")}, 0, 1}
	f.Add(frameOf(nil, kindRequest, 1, one.whole))
	f.Add(frameOf(frameOf(nil, kindRequest, 1, one.whole), kindRequest, 1, one.whole))
	f.Add(frameOf(nil, kindCancel, 1, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs) // ends with the connection
		s := &Server{Programs: []Program{{Handler: http.HandlerFunc(echo)}}, Log: slog.New(slog.DiscardHandler)}
		_ = s.Serve(t.Context(), t.Context(), ours, bytes.NewReader(b))
	})
}

// A client must stand anything that a server says.
func FuzzClient(f *testing.F) {
	greeting := frameOf(nil, kindHello, 0, hello{100, []offer{{"", Versions{1, 1}}}}.append)
	f.Add(frameOf(bytes.Clone(greeting), kindAnswer, 1, Answer{Status: 200, ContentType: "text", Body: []byte("body")}.whole))
	f.Add(frameOf(bytes.Clone(greeting), kindRefused, 1, func(b []byte) []byte { return appendWord(b, "no") }))
	f.Add(append(bytes.Clone(greeting), greeting...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Client{Dial: func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			go func() {
				theirs.Write(b)
				theirs.Close()
			}()
			return ours, nil
		}}
		_, _ = c.Call(t.Context(), Request{Method: "GET", Target: "/"})
		c.Close()
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(Answer{Status: 200, Trace: 3, ContentType: "text", Body: []byte("body")}.whole(nil))
	f.Add(sent{Request{Method: "GET", Target: "/", Timeout: 1}, 1, 2}.whole(nil))
	f.Add(hello{7, []offer{{"x", Versions{1, 2}}}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAnswer(b); err == nil && !bytes.Equal(a.whole(nil), b) {
			t.Errorf("the answer %x became %x", b, a.whole(nil))
		}
		if q, err := parseRequest(b); err == nil && !bytes.Equal(q.whole(nil), b) {
			t.Errorf("the request %x became %x", b, q.whole(nil))
		}
		if h, err := parseHello(b); err == nil && !bytes.HasPrefix(b, h.append(nil)) {
			t.Errorf("the hello %x became %x", b, h.append(nil))
		}
	})
}
