package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/transporttest"
)

func request(ctx context.Context, from *transporttest.Filer, to netquorum.FilerID, method, path string, body io.Reader) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+string(to)+path, body)
	if err != nil {
		return 0, "", err
	}
	resp, err := from.Client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func TestARequestCarriesWhoAsks(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	ctx := within(t, 10*time.Second)
	if _, _, err := request(ctx, a, b.ID, "GET", "/", nil); !errors.Is(err, transport.ErrNotServed) {
		t.Errorf("before there is a handler: %v", err)
	}
	b.Handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", transport.PeerID(r), r.Proto, r.URL.Path)
	}))
	for _, scheme := range []string{"http", "https"} { // an unencrypted-looking URL changes nothing
		resp, err := a.Client().Get(scheme + "://" + string(b.ID) + "/who")
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := string(a.ID) + " HTTP/2.0 /who"; string(data) != want {
			t.Errorf("%s: got %q, want %q", scheme, data, want)
		}
	}
	b.Handle(http.NotFoundHandler())
	if code, _, err := request(ctx, a, b.ID, "GET", "/who", nil); code != 404 || err != nil {
		t.Errorf("after the handler was replaced: %d, %v", code, err)
	}
	if s := a.Stats(); s.Dials != 2 || s.Requested != 1 {
		t.Errorf("dialled %d times, keeps %d connections; want 2 (one failed) and 1", s.Dials, s.Requested)
	}
	bare, err := http.NewRequest("GET", "http://x/", nil)
	if err != nil || transport.PeerID(bare) != "" {
		t.Errorf("a request from nowhere has the peer %q", transport.PeerID(bare))
	}
	for _, host := range []string{"filer-2.example.com", "FILER", "-%41-", "10.0.0.1:80"} {
		if _, err := a.Client().Get("http://" + host + "/"); err == nil {
			t.Errorf("host %q was reached", host)
		}
	}
}

func TestConcurrentRequestsShareOneConnection(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	var together sync.WaitGroup
	const n = 100
	together.Add(n)
	b.Handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		together.Done()
		together.Wait() // passes only when all are in flight at once
		_, _ = w.Write(data)
	}))
	ctx := within(t, 20*time.Second)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			body := strings.Repeat(fmt.Sprintf("%d ", i), 1000)
			_, got, err := request(ctx, a, b.ID, "POST", "/", strings.NewReader(body))
			if err != nil || got != body {
				t.Errorf("request %d: %d bytes of %d, %v", i, len(got), len(body), err)
			}
		})
	}
	wg.Wait()
	if s := a.Stats(); s.Dials != 1 {
		t.Errorf("%d connections were made for it", s.Dials)
	}
}

func TestARequestEndsWithItsContext(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	gone := make(chan struct{}, 1)
	b.Handle(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			gone <- struct{}{}
		}
	}))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := request(ctx, a, b.ID, "GET", "/slow", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the handler was not told")
	}
	if _, _, err := request(within(t, 5*time.Second), a, b.ID, "GET", "/", nil); err != nil {
		t.Error(err)
	}
	if a.Stats().Dials != 1 {
		t.Error("the connection did not survive one request's end")
	}
}

func TestBodiesAreBounded(t *testing.T) {
	c := transporttest.New(t, 2, func(cfg *transport.Config) { cfg.MaxBody = 1000 })
	a, b := c.Filers[0], c.Filers[1]
	b.Handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		}
	}))
	tests := []struct {
		name string
		body io.Reader
		code int
	}{
		{"as much as allowed", bytes.NewReader(make([]byte, 1000)), 200},
		{"more, and said so", bytes.NewReader(make([]byte, 1001)), 413},
		{"more, without saying", io.MultiReader(bytes.NewReader(make([]byte, 1001))), 413},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, _, err := request(within(t, 5*time.Second), a, b.ID, "POST", "/", test.body)
			if err != nil || code != test.code {
				t.Errorf("got %d, %v; want %d", code, err, test.code)
			}
		})
	}
}

func TestADeadPeerIsNoticedAndFoundAgain(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	b.Handle(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	relay := transporttest.NewRelay(t, b.Addr().String())
	c.Route(b.ID, relay.Addr)
	c.Route(a.ID) // the relay is the only path
	ctx := within(t, 30*time.Second)
	if _, _, err := request(ctx, a, b.ID, "GET", "/", nil); err != nil {
		t.Fatal(err)
	}

	relay.Freeze()
	start := time.Now()
	if _, _, err := request(ctx, a, b.ID, "POST", "/", nil); err == nil {
		t.Fatal("a request went through a frozen relay")
	}
	if took := time.Since(start); took > 2500*time.Millisecond {
		t.Errorf("the silence was noticed after %v, want about a second", took)
	}
	start = time.Now()
	if _, _, err := request(ctx, a, b.ID, "GET", "/", nil); err == nil {
		t.Fatal("a request went through a frozen relay")
	}
	if took := time.Since(start); took > 2500*time.Millisecond {
		t.Errorf("a new connection was given up after %v, want about a second", took)
	}
	relay.Thaw()
	if _, _, err := request(ctx, a, b.ID, "POST", "/", nil); err != nil {
		t.Errorf("after the cable was back: %v", err)
	}

	// Cut, not frozen: it is known at once, and nothing that is safe to send
	// again fails.
	for range 20 {
		relay.Cut()
		if _, _, err := request(ctx, a, b.ID, "GET", "/", nil); err != nil {
			t.Fatalf("a GET over a connection that was cut: %v", err)
		}
	}
}

// All who wait for a filer that is away share one attempt. If each made its own
// after the other, the last would wait for minutes.
func TestManyRequestsToAFilerThatIsAwayFailTogether(t *testing.T) {
	c := transporttest.New(t, 2, func(cfg *transport.Config) { cfg.AttemptTimeout = 300 * time.Millisecond })
	a, b := c.Filers[0], c.Filers[1]
	relay := transporttest.NewRelay(t, b.Addr().String())
	relay.Freeze()
	c.Route(b.ID, relay.Addr)
	start := time.Now()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			_, _, err := request(within(t, 10*time.Second), a, b.ID, "POST", "/", nil)
			if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "dial" {
				t.Errorf("%v does not say that nothing was sent", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 5*time.Second { // 64 one after the other take 19
		t.Errorf("took %v", took)
	}
	if s := a.Stats(); s.Attempts > 3 || s.Requested != 0 {
		t.Errorf("%d attempts, %d connections kept", s.Attempts, s.Requested)
	}
}

func TestARemovedFilerGetsNoMoreAnswers(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	var served atomic.Int32
	for _, f := range c.Filers {
		f.Handle(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	}
	ctx := within(t, 20*time.Second)
	for _, pair := range [][2]*transporttest.Filer{{a, b}, {b, a}} {
		if _, _, err := request(ctx, pair[0], pair[1].ID, "GET", "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	c.Remove(b.ID)
	for _, pair := range [][2]*transporttest.Filer{{a, b}, {b, a}} {
		if _, _, err := request(ctx, pair[0], pair[1].ID, "GET", "/", nil); err == nil {
			t.Errorf("%s still answers %s", pair[1].ID, pair[0].ID)
		}
	}
	if served.Load() != 2 {
		t.Errorf("%d requests were served, want the 2 before the removal", served.Load())
	}
}

func TestCloseEndsHandlersAndWaitsForThem(t *testing.T) {
	before := runtime.NumGoroutine()
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	running := make(chan struct{})
	var ended atomic.Bool
	b.Handle(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
		runtime.Gosched()
		ended.Store(true)
	}))
	failed := make(chan error, 1)
	go func() {
		_, _, err := request(within(t, 20*time.Second), a, b.ID, "GET", "/watch", nil)
		failed <- err
	}()
	<-running
	b.Close()
	if !ended.Load() {
		t.Error("Close returned while a handler ran")
	}
	if err := <-failed; err == nil {
		t.Error("the request of a closed endpoint was answered")
	}
	b.Handle(http.NotFoundHandler()) // too late, and harmless
	a.Close()
	if _, _, err := request(within(t, time.Second), a, b.ID, "GET", "/", nil); err == nil {
		t.Error("a closed endpoint sends requests")
	}
	settled(t, before)
}
