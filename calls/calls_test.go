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
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 10 * time.Second

// A peer is a server of one handler on a socket.
type peer struct {
	socket  string
	stop    context.CancelFunc // graceful
	cut     context.CancelFunc // not
	served  sync.WaitGroup
	mu      sync.Mutex
	errs    []error
	accepts atomic.Int64
}

func start(t testing.TB, h http.HandlerFunc, more ...Program) *peer {
	t.Helper()
	return serve(t, &Server{Programs: append([]Program{{Name: "", Handler: h}}, more...)})
}

func serve(t testing.TB, s *Server) *peer {
	t.Helper()
	s.Log = slog.New(slog.DiscardHandler)
	p := &peer{socket: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	var ctx, base context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	base, p.cut = context.WithCancel(context.Background())
	p.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.accepts.Add(1)
			p.served.Go(func() {
				err := s.Serve(ctx, base, conn, nil)
				p.mu.Lock()
				defer p.mu.Unlock()
				p.errs = append(p.errs, err)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.stop()
		p.cut()
		p.served.Wait()
	})
	return p
}

func (p *peer) client(t testing.TB) *Client {
	c := &Client{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", p.socket)
	}}
	t.Cleanup(c.Close)
	return c
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || int64(len(body)) != r.ContentLength {
		w.WriteHeader(http.StatusBadRequest)
	}
	w.Header().Set("Content-Type", "text/"+r.Header.Get("Content-Type"))
	if r.URL.Query().Has("status") {
		w.WriteHeader(http.StatusTeapot)
	}
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Accept"), body)
}

func TestAHandlerSeesWhatACallerSends(t *testing.T) {
	c := start(t, echo).client(t)
	for _, test := range []struct {
		method, target, contentType, accept, body, want string
		status                                          int
	}{
		{"GET", "/v1/a?x=1", "", "", "", "GET /v1/a  ", 200},
		{"POST", "/v1/b", "kind", "text", "hello", "POST /v1/b text hello", 200},
		{"PUT", "/c%20d?status", "", "", strings.Repeat("long ", 100_000), "PUT /c d  " + strings.Repeat("long ", 100_000), http.StatusTeapot},
	} {
		a, err := c.Call(t.Context(), Request{Method: test.method, Target: test.target, ContentType: test.contentType, Accept: test.accept, Body: []byte(test.body)})
		if err != nil || string(a.Body) != test.want || a.Status != test.status || a.ContentType != "text/"+test.contentType || a.Version != 1 {
			t.Errorf("%s %s: %d, %q, %.80q, %v", test.method, test.target, a.Status, a.ContentType, a.Body, err)
		}
	}
}

func TestManyCallersShareAConnection(t *testing.T) {
	p := start(t, echo)
	c := p.client(t)
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for j := range 100 {
				body := fmt.Sprintf("%d of %d %s", j, i, strings.Repeat("x", j*i%5000))
				a, err := c.Call(t.Context(), Request{Method: "POST", Target: "/", Body: []byte(body)})
				if err != nil || string(a.Body) != "POST /  "+body {
					t.Errorf("%v, %.80q", err, a.Body)
					return
				}
			}
		})
	}
	callers.Wait()
	if n := p.accepts.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestASlowCallDoesNotHoldUpOthers(t *testing.T) {
	release := make(chan struct{})
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	})
	c := p.client(t)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), Request{Method: "GET", Target: "/slow"})
		slow <- err
	}()
	for range 50 {
		if _, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestACallerThatLeavesEndsItsRequest(t *testing.T) {
	ended := make(chan struct{})
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-r.Context().Done()
			close(ended)
		}
	})
	c := p.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Request{Method: "GET", Target: "/wait"})
		done <- err
	}()
	// Its request is in the connection before this one's answer comes back.
	if _, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		// It may have been cancelled before it was sent; then there is nothing to end.
		t.Log("the request was never sent")
	}
	if _, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil {
		t.Errorf("the connection is of no use afterwards: %v", err)
	}
}

func TestARequestTakesItsTimeoutAlong(t *testing.T) {
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		if _, set := r.Context().Deadline(); !set {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		<-r.Context().Done()
		w.WriteHeader(http.StatusGatewayTimeout)
	})
	c := p.client(t)
	for timeout, want := range map[time.Duration]int{
		0: http.StatusTeapot, time.Nanosecond: http.StatusGatewayTimeout, 20 * time.Millisecond: http.StatusGatewayTimeout,
	} {
		if a, err := c.Call(t.Context(), Request{Method: "GET", Target: "/", Timeout: timeout}); err != nil || a.Status != want {
			t.Errorf("timeout %v: %d, %v; want %d", timeout, a.Status, err, want)
		}
	}
}

func TestAPanicCostsOneAnswer(t *testing.T) {
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			w.Write([]byte("half an answer"))
			panic("as planned")
		}
	})
	c := p.client(t)
	if a, err := c.Call(t.Context(), Request{Method: "GET", Target: "/panic"}); err != nil || a.Status != 500 || len(a.Body) > 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil || a.Status != 200 {
		t.Errorf("the next call: %+v, %v", a, err)
	}
}

func TestAStoppedServerAnswersWhatItHasBegun(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-release
		w.Write([]byte("done"))
	})
	c := p.client(t)
	type outcome struct {
		a   Answer
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		a, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"})
		done <- outcome{a, err}
	}()
	<-begun
	p.stop()
	close(release)
	if o := <-done; o.err != nil || string(o.a.Body) != "done" {
		t.Errorf("%q, %v", o.a.Body, o.err)
	}
}

func TestACutConnectionEndsItsCallsAndTheNextMakesANewOne(t *testing.T) {
	begun := make(chan struct{}, 1)
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			begun <- struct{}{}
			<-r.Context().Done()
		}
	})
	c := p.client(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), Request{Method: "GET", Target: "/wait"})
		done <- err
	}()
	<-begun
	c.link.conn.Close()
	if err := <-done; err == nil || errors.Is(err, ErrNotSent) {
		t.Errorf("%v, want an error that leaves open whether the request had an effect", err)
	}
	if _, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestWhatCannotBeSentSaysSo(t *testing.T) {
	p := start(t, echo)
	c := p.client(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	nobody := &Client{Dial: func(context.Context) (net.Conn, error) { return nil, io.ErrClosedPipe }}
	for name, call := range map[string]func() error{
		"its context has ended": func() error { _, err := c.Call(over, Request{Method: "GET", Target: "/"}); return err },
		"a body that is too long": func() error {
			_, err := c.Call(t.Context(), Request{Method: "GET", Target: "/", Body: make([]byte, DefaultMaxBody+1)})
			return err
		},
		"a target that is too long": func() error {
			_, err := c.Call(t.Context(), Request{Method: "GET", Target: "/" + strings.Repeat("x", 1<<16)})
			return err
		},
		"nobody is there": func() error { _, err := nobody.Call(t.Context(), Request{Method: "GET", Target: "/"}); return err },
	} {
		if err := call(); !errors.Is(err, ErrNotSent) {
			t.Errorf("%s: %v, want ErrNotSent", name, err)
		}
	}
	if _, err := c.Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil {
		t.Errorf("a good call afterwards: %v", err)
	}
}

func TestAnAnswerThatIsTooLongIsAnError(t *testing.T) {
	p := start(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, DefaultMaxBody+1)) })
	if a, err := p.client(t).Call(t.Context(), Request{Method: "GET", Target: "/"}); err != nil || a.Status != 500 {
		t.Errorf("%d, %v", a.Status, err)
	}
}

// TestAPeerThatDoesNotReadHoldsUpItsCallers sends requests whose answers nobody
// takes: the server must stop reading them rather than keep them all.
func TestAPeerThatDoesNotReadHoldsUpItsCallers(t *testing.T) {
	var answered atomic.Int64
	p := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 100<<10))
		answered.Add(1)
	})
	conn, err := net.Dial("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	one := sent{Request{Method: "GET", Target: "/"}, 0, 1}
	conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	n := 0
	for ; err == nil && n < 200_000; n++ {
		_, err = conn.Write(frameOf(nil, kindRequest, uint32(n), one.whole))
	}
	if err == nil || answered.Load() > maxCalls+100 {
		t.Errorf("%d requests were taken and %d answered for a peer that does not read", n, answered.Load())
	}
}

func TestGarbageEndsTheConnectionAndNothingElse(t *testing.T) {
	p := start(t, echo)
	request := func(target string) sent { return sent{Request{Method: "GET", Target: target}, 0, 1} }
	good := request("/")
	unknown, newer := good, good
	unknown.program, newer.version = 1, 2
	for name, b := range map[string][]byte{
		"text":                          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a frame without a call":        {0, 0, 0, 1, 1},
		"a huge frame":                  {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 1},
		"an answer":                     frameOf(nil, kindAnswer, 1, Answer{Status: 200}.whole),
		"an unknown kind":               frameOf(nil, 9, 1, nil),
		"a request without words":       frameOf(nil, kindRequest, 1, nil),
		"a request with a bad path":     frameOf(nil, kindRequest, 1, request("%%").whole),
		"a call that is in use":         append(frameOf(nil, kindRequest, 1, request("/wait").whole), frameOf(nil, kindRequest, 1, good.whole)...),
		"a program that is not offered": frameOf(nil, kindRequest, 1, unknown.whole),
		"a version that is not offered": frameOf(nil, kindRequest, 1, newer.whole),
		"a hello":                       frameOf(nil, kindHello, 0, hello{}.append),
		"a frame that is cut off":       frameOf(nil, kindRequest, 1, good.whole)[:20],
		"a large frame that is cut":     append([]byte{0, 0x10, 0, 0, 1, 0, 0, 0, 1}, make([]byte, 100)...),
		"a word longer than a frame":    frameOf(nil, kindRequest, 1, func(b []byte) []byte { return append(b, 0xff, 0xff, 'x') }),
	} {
		t.Run(name, func(t *testing.T) {
			p := p
			if name == "a call that is in use" {
				p = start(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			}
			conn, err := net.Dial("unix", p.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			conn.(*net.UnixConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(patience))
			if got, err := io.ReadAll(conn); err != nil || bytes.Contains(got, []byte("GET /")) {
				t.Errorf("answered %q, %v", got, err)
			}
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, err := range p.errs {
		if err == nil {
			t.Error("a connection of garbage counts as a good one")
		}
	}
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		p := start(t, echo)
		c := p.client(t)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() { c.Call(t.Context(), Request{Method: "GET", Target: "/"}) })
		}
		callers.Wait()
		c.CloseIdleConnections()
		p.stop()
		p.cut()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+25 { // 20 listeners are open until the test ends
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

func BenchmarkCalls(b *testing.B) {
	p := start(b, echo)
	c := p.client(b)
	b.Run("one caller", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Call(b.Context(), Request{Method: "GET", Target: "/"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 callers", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Call(b.Context(), Request{Method: "GET", Target: "/"}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
