package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages/client"
)

// mailClient is another process on a filer.
func (f *testFiler) mailClient(name string) *client.Client {
	c := client.New(client.Config{Socket: f.cfg.Socket, Name: name, RetryMin: 10 * time.Millisecond, RetryMax: 200 * time.Millisecond})
	f.t.Cleanup(c.Close)
	return c
}

// handle serves a service until the test ends or stop is called.
func (f *testFiler) handle(service string, concurrency int, h client.Handler) (stop func()) {
	c := f.mailClient("")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, service, concurrency, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			f.t.Errorf("serving %s on %s ended with %v", service, f.name, err)
		}
	})
	f.t.Cleanup(stop)
	return stop
}

func mustEnd(t *testing.T, what string, s *client.Sent) api.Completion {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(40 * time.Second):
		t.Fatalf("waited 40 s for %s", what)
	}
	c, err := s.Result()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return c
}

// TestProcessesOfThreeFilersExchangeMessages sends between all of them, to filers
// and to whoever hosts a virtual server, and restarts a daemon in the middle.
func TestProcessesOfThreeFilersExchangeMessages(t *testing.T) {
	fs := form(t)
	host := hostOf(t, fs)
	for _, f := range fs {
		f.handle("where", 4, func(ctx context.Context, m *client.Incoming) ([]byte, error) {
			body, err := m.Body(ctx, 100)
			return fmt.Appendf(nil, "%s on %s for %s of %s, trace %s", body, f.name, m.Client, m.From, m.Trace), err
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, from := range fs {
		c := from.mailClient("mxa")
		for _, to := range fs {
			target := api.MessageTarget{Service: "where", Filer: to.name}
			done, _, err := c.Call(ctx, client.Message{To: target, Body: []byte("x"), Trace: 0xc0ffee})
			if want := fmt.Sprintf("x on %s for mxa of %s, trace 0000000000c0ffee", to.name, from.name); err != nil || string(done.Answer) != want || done.By != to.name {
				t.Errorf("from %s to %s: %+v, %v", from.name, to.name, done, err)
			}
		}
		done, _, err := c.Call(ctx, client.Message{To: api.MessageTarget{Service: "where", VServer: "WEB"}, Body: []byte("v")})
		if err != nil || done.By != host.name || done.Epoch == 0 {
			t.Errorf("from %s to web, which is on %s: %+v, %v", from.name, host.name, done, err)
		}
		if _, err := c.Send(ctx, client.Message{To: api.MessageTarget{Service: "where", Filer: "f9"}}); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("to a filer that does not exist: %v", err)
		}
	}
	followed, err := fs[2].client.Trace(ctx, 0xc0ffee)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[string]bool{}
	for _, e := range followed.Entries {
		for _, what := range []string{"sent to where@filer:", "for where given to a program", "for where completed"} {
			if strings.Contains(e.What, what) {
				if seen[what] == nil {
					seen[what] = map[string]bool{}
				}
				seen[what][e.Filer] = true
			}
		}
	}
	if len(seen) != 3 || len(seen["sent to where@filer:"]) != 3 || len(seen["for where completed"]) != 3 {
		t.Errorf("the trace has %v of messages, want each on three filers: %+v", seen, followed)
	}
	st, err := fs[0].client.MessageStatus(ctx)
	if err != nil || len(st.Clients) == 0 || st.Clients[0].Client != "mxa" || len(st.Peers) < 2 {
		t.Errorf("status %+v, %v", st, err)
	}

	// Restart the sender's and a receiver's daemon while messages go.
	c := fs[0].mailClient("mxa")
	var all []*client.Sent
	for i := range 300 {
		all = append(all, c.Go(ctx, client.Message{To: api.MessageTarget{Service: "where", Filer: fs[1+i%2].name}, Stream: fmt.Sprint(i % 7), Body: fmt.Append(nil, i)}, nil))
		switch i {
		case 100:
			fs[1].stop()
		case 150:
			fs[1].start()
			fs[0].stop()
		case 200:
			fs[0].start()
		}
	}
	for i, s := range all {
		if done := mustEnd(t, fmt.Sprint("message ", i), s); done.By != fs[1+i%2].name {
			t.Errorf("message %d was handled by %s", i, done.By)
		}
	}
}

// TestAProcessThatDiesWhileHandlingGivesItsMessageToTheNext takes a message by a
// stream that breaks, and by a long poll whose time is over.
func TestAProcessThatDiesWhileHandlingGivesItsMessageToTheNext(t *testing.T) {
	f := newTestFiler(t, "f1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := f.client.Init(ctx, api.InitRequest{Filer: "f1", Documents: parse(t, testCluster)}); err != nil {
		t.Fatal(err)
	}
	c := f.mailClient("mxa")
	s := c.Go(ctx, client.Message{To: api.MessageTarget{Service: "work", Filer: "f1"}}, nil)
	begun := make(chan struct{}, 1)
	die := f.handle("work", 1, func(ctx context.Context, _ *client.Incoming) ([]byte, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return nil, nil
	})
	<-begun
	die()
	d, err := f.client.ReceiveMessage(ctx, "work", 200*time.Millisecond)
	if err != nil || !d.Message.Redelivered {
		t.Fatalf("after the first died: %+v, %v", d, err)
	}
	f.handle("work", 1, func(_ context.Context, m *client.Incoming) ([]byte, error) {
		return fmt.Append(nil, m.Redelivered), nil
	})
	if done := mustEnd(t, "the message", s); string(done.Answer) != "true" {
		t.Errorf("completion %+v", done)
	}
	if err := f.client.CompleteMessage(ctx, d.Delivery, nil); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("completed by the second, whose time was over: %v", err)
	}

	// A key holds over a restart of the daemon, and so do completions.
	key := client.Message{To: api.MessageTarget{Service: "work", Filer: "f1"}, Key: "once"}
	kept := f.mailClient("keeper")
	first, err := kept.Send(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	f.stop()
	f.start()
	again, err := kept.Send(ctx, key)
	if err != nil || again.ID() != first.ID() {
		t.Errorf("sent as %s, and again as %s, %v", first.ID(), again.ID(), err)
	}
	mustEnd(t, "the message with a key", first)
}

// TestATargetComesUpAndIsLost watches a service on another filer: nobody serves it,
// somebody does, the filer's daemon ends, and it is back.
func TestATargetComesUpAndIsLost(t *testing.T) {
	fs := form(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	target := api.MessageTarget{Service: "late", Filer: "f3"}
	c := fs[0].mailClient("mxa")
	states := make(chan api.TargetState, 100)
	stop, _ := c.Watch(target, func(st api.TargetState) { states <- st })
	defer stop()
	var start time.Time
	until := func(what string, cond func(api.TargetState) bool) time.Duration {
		t.Helper()
		for {
			select {
			case st := <-states:
				if cond(st) {
					return time.Since(start)
				}
			case <-ctx.Done():
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
	until("f3 without the service", func(st api.TargetState) bool { return st.Reachable && !st.Served && st.Filer == "f3" })
	ready := make(chan error, 1)
	go func() { ready <- c.Ready(ctx, target) }()
	start = time.Now()
	leave := fs[2].handle("late", 1, func(context.Context, *client.Incoming) ([]byte, error) { return nil, nil })
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Logf("up was told after %v", until("the service", api.TargetState.Up))
	leave()
	until("nobody serves", func(st api.TargetState) bool { return st.Reachable && !st.Served })
	start = time.Now()
	fs[2].stop()
	t.Logf("the loss of the peer was told after %v", until("the loss of f3", func(st api.TargetState) bool { return !st.Reachable }))
	start = time.Now()
	fs[2].start()
	t.Logf("its return was told after %v", until("f3 is back", func(st api.TargetState) bool { return st.Reachable }))
}

// TestALargeBodyNeedsLittleMemory sends largeBody between processes of two filers and
// looks at how much all of it, in this one process, has in memory meanwhile.
func TestALargeBodyNeedsLittleMemory(t *testing.T) {
	fs := form(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const size = largeBody
	fs[1].handle("dump", 1, func(ctx context.Context, m *client.Incoming) ([]byte, error) {
		r, err := m.Open(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		sum := sha256.New()
		if n, err := io.Copy(sum, r); err != nil || n != size {
			return nil, fmt.Errorf("read %d bytes: %w", n, err)
		}
		return sum.Sum(nil), nil
	})
	c := fs[0].mailClient("mxa")
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.Tick(20 * time.Millisecond); watching.Err() == nil; <-tick {
			runtime.ReadMemStats(&now)
			most.Store(max(most.Load(), now.HeapInuse))
		}
	}()
	sum := sha256.New()
	start := time.Now()
	done, _, err := c.Call(ctx, client.Message{To: api.MessageTarget{Service: "dump", Filer: "f2"}, Bulk: true, Open: func() (io.ReadCloser, int64, error) {
		sum.Reset()
		return io.NopCloser(io.TeeReader(io.LimitReader(&counting{}, size), sum)), -1, nil
	}})
	stopWatching()
	<-watched
	if err != nil || string(done.Answer) != string(sum.Sum(nil)) {
		t.Fatalf("completion %+v, %v", done, err)
	}
	grown := int64(most.Load()) - int64(before.HeapInuse)
	t.Logf("%d MiB in %v; the heap grew by %d MiB", size>>20, time.Since(start), grown>>20)
	if grown > 48<<20 { // of three daemons and two clients
		t.Errorf("the heap grew by %d MiB for a body of %d MiB", grown>>20, size>>20)
	}
}

// A counting is bytes without an end that are not all alike.
type counting struct{ n uint64 }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c.n * 0x9e3779b97f4a7c15 >> 56)
		c.n++
	}
	return len(p), nil
}
