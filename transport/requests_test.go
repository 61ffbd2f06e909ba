package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/calls"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// program is what the tests' filers ask of each other.
const program = "test"

func serving(h http.HandlerFunc) calls.Program { return calls.Program{Name: program, Handler: h} }

func request(ctx context.Context, from *transporttest.Filer, to netquorum.FilerID, method, path, body string) (int, string, error) {
	a, err := from.Call(ctx, to, calls.Request{Program: program, Method: method, Target: path, Body: []byte(body)})
	return a.Status, string(a.Body), err
}

func TestARequestCarriesWhoAsks(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	ctx := within(t, 10*time.Second)
	if _, _, err := request(ctx, a, b.ID, "GET", "/", ""); !errors.Is(err, transport.ErrNotServed) || !errors.Is(err, calls.ErrNotSent) {
		t.Errorf("before there is a handler: %v", err)
	}
	b.Handle(serving(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", transport.PeerID(r), r.URL.Path)
	}))
	for range 2 {
		if _, got, err := request(ctx, a, b.ID, "GET", "/who", ""); err != nil || got != string(a.ID)+" /who" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if s := a.Stats(); s.Requested != 1 {
		t.Errorf("keeps %d connections, want 1", s.Requested)
	}
	b.Handle(serving(http.NotFound))
	if code, _, err := request(ctx, a, b.ID, "GET", "/who", ""); code != 404 || err != nil {
		t.Errorf("after the handler was replaced: %d, %v", code, err)
	}
	_, err := a.Call(ctx, b.ID, calls.Request{Program: program, Versions: calls.Versions{Low: 2, High: 3}, Method: "GET", Target: "/"})
	if refused := (*calls.VersionError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), string(b.ID)) {
		t.Errorf("a version that the other has not: %v", err)
	}
	b.Handle()
	if _, _, err := request(ctx, a, b.ID, "GET", "/who", ""); !errors.Is(err, calls.ErrNotSent) {
		t.Errorf("after the programs were taken away: %v", err)
	}
	bare, err := http.NewRequest("GET", "http://x/", nil)
	if err != nil || transport.PeerID(bare) != "" {
		t.Errorf("a request from nowhere has the peer %q", transport.PeerID(bare))
	}
	for _, host := range []netquorum.FilerID{"filer-2.example.com", "FILER", "-%41-", "10.0.0.1:80", ""} {
		if _, _, err := request(ctx, a, host, "GET", "/", ""); !errors.Is(err, calls.ErrNotSent) {
			t.Errorf("host %q: %v", host, err)
		}
	}
}

func TestConcurrentRequestsShareOneConnection(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	var together sync.WaitGroup
	const n = 100
	together.Add(n)
	b.Handle(serving(func(w http.ResponseWriter, r *http.Request) {
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
			_, got, err := request(ctx, a, b.ID, "POST", "/", body)
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
	b.Handle(serving(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			gone <- struct{}{}
		}
	}))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := request(ctx, a, b.ID, "GET", "/slow", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the handler was not told")
	}
	if _, _, err := request(within(t, 5*time.Second), a, b.ID, "GET", "/", ""); err != nil {
		t.Error(err)
	}
	if a.Stats().Dials != 1 {
		t.Error("the connection did not survive one request's end")
	}
}

func TestBodiesAreBounded(t *testing.T) {
	c := transporttest.New(t, 2, func(cfg *transport.Config) { cfg.MaxBody = 1000 })
	a, b := c.Filers[0], c.Filers[1]
	b.Handle(serving(func(http.ResponseWriter, *http.Request) {}))
	if code, _, err := request(within(t, 5*time.Second), a, b.ID, "POST", "/", strings.Repeat("x", 1000)); err != nil || code != 200 {
		t.Errorf("as much as allowed: %d, %v", code, err)
	}
	if _, _, err := request(within(t, 5*time.Second), a, b.ID, "POST", "/", strings.Repeat("x", 1001)); !errors.Is(err, calls.ErrNotSent) {
		t.Errorf("more than allowed: %v", err)
	}
}

// What is large goes beside what is small, and not before it.
func TestALargeRequestHoldsNobodyUp(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	b.Handle(serving(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	ctx := within(t, time.Minute)
	large := make(chan string, 1)
	go func() {
		_, got, err := request(ctx, a, b.ID, "POST", "/", strings.Repeat("x", 64<<20))
		large <- fmt.Sprint(got, err)
	}()
	small := 0
	for {
		select {
		case got := <-large:
			if got != fmt.Sprint(64<<20)+" <nil><nil>" {
				t.Error(got)
			}
			t.Logf("%d small requests during a large one", small)
			if small < 20 {
				t.Error("small requests waited for the large one")
			}
			return
		default:
			if _, _, err := request(ctx, a, b.ID, "GET", "/", ""); err != nil {
				t.Fatal(err)
			}
			small++
		}
	}
}

func TestADeadPeerIsNoticedAndFoundAgain(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	b.Handle(serving(func(http.ResponseWriter, *http.Request) {}))
	relay := transporttest.NewRelay(t, b.Addr().String())
	c.Route(b.ID, relay.Addr)
	c.Route(a.ID) // the relay is the only path
	ctx := within(t, 30*time.Second)
	if _, _, err := request(ctx, a, b.ID, "GET", "/", ""); err != nil {
		t.Fatal(err)
	}
	// A cut is known at once, and nothing that is safe to send again fails.
	for range 20 {
		relay.Cut()
		if _, _, err := request(ctx, a, b.ID, "GET", "/", ""); err != nil {
			t.Fatalf("a GET over a connection that was cut: %v", err)
		}
	}
}

// A waiting request ends with the other side's process, at once and not when its
// own time is up.
func TestTheEndOfTheOtherSideEndsWhatWaits(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	begun := make(chan struct{})
	b.Handle(serving(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	failed := make(chan error, 1)
	go func() {
		_, _, err := request(within(t, time.Minute), a, b.ID, "POST", "/", "")
		failed <- err
	}()
	<-begun
	start := time.Now()
	b.Close()
	if err := <-failed; err == nil || errors.Is(err, calls.ErrNotSent) {
		t.Errorf("%v, want an error that leaves open whether it was carried out", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
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
			_, _, err := request(within(t, 10*time.Second), a, b.ID, "POST", "/", "")
			if !errors.Is(err, calls.ErrNotSent) {
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
		f.Handle(serving(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	}
	ctx := within(t, 20*time.Second)
	for _, pair := range [][2]*transporttest.Filer{{a, b}, {b, a}} {
		if _, _, err := request(ctx, pair[0], pair[1].ID, "GET", "/", ""); err != nil {
			t.Fatal(err)
		}
	}
	c.Remove(b.ID)
	for _, pair := range [][2]*transporttest.Filer{{a, b}, {b, a}} {
		if _, _, err := request(ctx, pair[0], pair[1].ID, "GET", "/", ""); err == nil {
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
	b.Handle(serving(func(_ http.ResponseWriter, r *http.Request) {
		close(running)
		<-r.Context().Done()
		runtime.Gosched()
		ended.Store(true)
	}))
	failed := make(chan error, 1)
	go func() {
		_, _, err := request(within(t, 20*time.Second), a, b.ID, "GET", "/watch", "")
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
	b.Handle(serving(http.NotFound)) // too late, and harmless
	a.Close()
	if _, _, err := request(within(t, time.Second), a, b.ID, "GET", "/", ""); err == nil {
		t.Error("a closed endpoint sends requests")
	}
	settled(t, before)
}

// A filer that answers on no path: who waits is told after a while, who asks then at
// once and that nothing was sent; and the link is there when a path is mended.
func TestRequestsDoNotWaitForASilentFiler(t *testing.T) {
	const giveUp = time.Second
	c := transporttest.New(t, 2, func(cfg *transport.Config) { cfg.Link.GiveUp = giveUp })
	a, b := c.Filers[0], c.Filers[1]
	relay := transporttest.NewRelay(t, b.Addr().String())
	c.Route(b.ID, relay.Addr)
	c.Route(a.ID) // the relay is the only path
	begun := make(chan struct{}, 1)
	b.Handle(serving(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-r.Context().Done()
		}
	}))
	ctx := within(t, time.Minute)
	failed := make(chan error, 1)
	go func() {
		_, _, err := request(ctx, a, b.ID, "POST", "/slow", "")
		failed <- err
	}()
	<-begun
	was := a.Links()[0].Incarnation
	relay.Freeze()
	frozen := time.Now()
	err := <-failed
	silent := new(transport.SilentError)
	if !errors.As(err, &silent) || errors.Is(err, calls.ErrNotSent) || !silent.Asked || silent.Since.Before(frozen.Add(-time.Second)) ||
		!strings.HasPrefix(err.Error(), string(b.ID)+" has answered on no path for 1s") || !strings.HasSuffix(err.Error(), "is not known") {
		t.Errorf("of a request that was on its way: %v", err)
	}
	if took := time.Since(frozen); took < giveUp || took > 5*giveUp {
		t.Errorf("it took %v", took)
	}
	start := time.Now()
	if _, _, err := request(ctx, a, b.ID, "POST", "/", ""); !errors.As(err, &silent) || !errors.Is(err, calls.ErrNotSent) || silent.Asked {
		t.Errorf("of a request during the silence: %v", err)
	}
	if took := time.Since(start); took > giveUp/2 {
		t.Errorf("it took %v", took)
	}
	relay.Thaw()
	transporttest.Eventually(t, "answers after the silence", func() bool {
		_, _, err := request(ctx, a, b.ID, "POST", "/", "")
		return err == nil
	})
	if now := a.Links()[0].Incarnation; now != was {
		t.Error("the link was made anew")
	}
}
