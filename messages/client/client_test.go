package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
	"github.com/netquorum/netquorum/trace"
)

// A daemon carries messages in memory, and can be stopped and started.
type daemon struct {
	t        *testing.T
	messages *apitest.Messages
	backend  api.MessagesBackend
	socket   string
	stop     func()
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "nq") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, messages: new(apitest.Messages), socket: filepath.Join(dir, "s"), stop: func() {}}
	d.backend = d.messages
	t.Cleanup(func() { d.stop() })
	return d
}

func (d *daemon) start() *daemon {
	d.t.Helper()
	l, err := api.Listen(d.socket, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	s := api.NewServer(api.Options{Backend: new(apitest.Backend), Messages: d.backend, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	d.stop = func() {
		d.stop = func() {}
		cancel()
		if err := <-served; err != nil {
			d.t.Errorf("Serve: %v", err)
		}
	}
	return d
}

func (d *daemon) client(name string, change ...func(*Config)) *Client {
	cfg := Config{Socket: d.socket, Name: name, RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	c := New(cfg)
	d.t.Cleanup(c.Close)
	return c
}

// serve handles a service until the test ends or stop is called.
func (d *daemon) serve(service string, concurrency int, h Handler) (stop func()) {
	c := d.client("")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, service, concurrency, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.t.Errorf("Serve ended with %v", err)
		}
	})
	d.t.Cleanup(stop)
	return stop
}

var here = api.MessageTarget{Service: "ledger", Filer: "filer1"}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited 20 s for %s", what)
	}
	return v
}

// eventually waits for a condition; it may be called by any goroutine of the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("waited 10 s for %s", what)
}

// echo answers with what it was sent.
func echo(ctx context.Context, m *Incoming) ([]byte, error) { return m.Body(ctx, 1<<20) }

func TestACallIsHandledAndAnswered(t *testing.T) {
	d := newDaemon(t).start()
	d.serve("ledger", 4, func(ctx context.Context, m *Incoming) ([]byte, error) {
		body, err := m.Body(ctx, 100)
		if string(body) == "bad" {
			err = errors.New("no good")
		}
		return append([]byte("got "), body...), err
	})
	c := d.client("mxa")
	done, _, err := c.Call(soon(t), Message{To: here, Body: []byte("x")})
	if err != nil || string(done.Answer) != "got x" {
		t.Errorf("%+v, %v", done, err)
	}
	if _, _, err := c.Call(soon(t), Message{To: here, Body: []byte("bad")}); !errors.Is(err, api.ErrFailed) || !strings.Contains(err.Error(), "no good") {
		t.Errorf("a failure: %v", err)
	}
	if _, _, err := c.Call(soon(t), Message{To: here, Body: bytes.Repeat([]byte("x"), 101)}); !errors.Is(err, api.ErrFailed) {
		t.Errorf("too large a body: %v", err)
	}
	if _, err := c.Send(soon(t), Message{To: api.MessageTarget{Service: "ledger"}}); !errors.Is(err, api.ErrUsage) {
		t.Errorf("no target: %v", err)
	}
}

func TestATraceGoesFromMessageToMessage(t *testing.T) {
	d := newDaemon(t).start()
	traces := make(chan trace.ID, 1)
	d.serve("last", 1, func(_ context.Context, m *Incoming) ([]byte, error) { traces <- m.Trace; return nil, nil })
	through := d.client("through")
	d.serve("ledger", 1, func(ctx context.Context, m *Incoming) ([]byte, error) {
		_, err := through.Send(ctx, Message{To: api.MessageTarget{Service: "last", Filer: "filer1"}})
		return nil, err
	})
	if _, _, err := d.client("mxa").Call(trace.With(soon(t), 0xc0ffee), Message{To: here}); err != nil {
		t.Fatal(err)
	}
	if id := await(t, "the second message", traces); id != 0xc0ffee {
		t.Errorf("its trace is %s", id)
	}
}

func TestGoIsDoneWithoutAnybodyWaiting(t *testing.T) {
	d := newDaemon(t).start()
	d.serve("ledger", 4, echo)
	c := d.client("mxa")
	const n = 200
	results := make(chan string, n)
	for i := range n {
		c.Go(t.Context(), Message{To: here, Stream: fmt.Sprint(i % 10), Body: []byte(fmt.Sprint(i))}, func(s *Sent) {
			done, err := s.Result()
			if err != nil {
				t.Error(err)
			}
			results <- string(done.Answer)
		})
	}
	got := map[string]bool{}
	for range n {
		got[await(t, "an answer", results)] = true
	}
	if len(got) != n {
		t.Errorf("%d answers, want %d", len(got), n)
	}
	quiet(t, c)
}

// quiet waits until the daemon holds no completion that was seen.
func quiet(t *testing.T, c *Client) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		st, err := c.api.MessageStatus(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, m := range st.Clients {
			left += m.Completions
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d completions are not acknowledged after 20 s", left)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestMessagesOfAStreamAreHandledInOrder(t *testing.T) {
	d := newDaemon(t).start()
	var mu sync.Mutex
	next := map[string]int{}
	running := map[string]bool{}
	most := 0
	d.serve("ledger", 8, func(ctx context.Context, m *Incoming) ([]byte, error) {
		body, _ := m.Body(ctx, 100)
		mu.Lock()
		if running[m.Stream] || string(body) != fmt.Sprint(next[m.Stream]) {
			t.Errorf("stream %s: %s while it is at %d", m.Stream, body, next[m.Stream])
		}
		next[m.Stream]++
		running[m.Stream] = true
		most = max(most, len(running))
		mu.Unlock()
		defer func() { mu.Lock(); delete(running, m.Stream); mu.Unlock() }()
		return nil, nil
	})
	c := d.client("mxa")
	var all []*Sent
	for i := range 200 {
		all = append(all, c.Go(t.Context(), Message{To: here, Stream: fmt.Sprint(i % 4), Body: []byte(fmt.Sprint(i / 4))}, nil))
	}
	for _, s := range all {
		await(t, "the end of a message", s.Done())
	}
}

// TestNothingIsLostOrSentTwiceWhileTheDaemonIsRestarted restarts it all the time.
func TestNothingIsLostOrSentTwiceWhileTheDaemonIsRestarted(t *testing.T) {
	d := newDaemon(t).start()
	var mu sync.Mutex
	handled := map[string]map[string]bool{} // by body, the ids
	d.serve("ledger", 4, func(ctx context.Context, m *Incoming) ([]byte, error) {
		body, err := m.Body(ctx, 100)
		mu.Lock()
		defer mu.Unlock()
		if handled[string(body)] == nil {
			handled[string(body)] = map[string]bool{}
		}
		handled[string(body)][m.ID] = true
		return body, err
	})
	c := d.client("mxa")
	const n = 100
	all := make(chan *Sent, n)
	go func() {
		for i := range n {
			all <- c.Go(t.Context(), Message{To: here, Stream: fmt.Sprint(i % 3), Body: []byte(fmt.Sprint(i))}, nil)
			<-time.After(time.Millisecond)
		}
	}()
	for range 10 {
		<-time.After(15 * time.Millisecond)
		d.stop()
		d.start()
	}
	for i := range n {
		s := await(t, "a message", all)
		await(t, "its end", s.Done())
		if done, err := s.Result(); err != nil || string(done.Answer) != fmt.Sprint(i) {
			t.Errorf("message %d: %+v, %v", i, done, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for body, ids := range handled {
		if len(ids) != 1 {
			t.Errorf("%s was sent as %d messages", body, len(ids))
		}
	}
	if len(handled) != n {
		t.Errorf("%d messages were handled, want %d", len(handled), n)
	}
}

func TestWhatAnEarlierProcessSentIsFoundByItsName(t *testing.T) {
	d := newDaemon(t).start()
	first := d.client("mxa")
	kept, err := first.Send(soon(t), Message{To: here, Key: "order-1", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := kept.Result(); !errors.Is(err, ErrClosed) {
		t.Errorf("the first process's: %v, want ErrClosed", err)
	}
	handled := make(chan string, 10)
	d.serve("ledger", 1, func(ctx context.Context, m *Incoming) ([]byte, error) { handled <- m.ID; return []byte("ok"), nil })
	await(t, "the message", handled)
	second := d.client("mxa")
	var missed []api.Completion
	for deadline := time.Now().Add(20 * time.Second); len(missed) == 0 && time.Now().Before(deadline); {
		if missed, err = second.Missed(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	if len(missed) != 1 || missed[0].ID != kept.ID() || string(missed[0].Answer) != "ok" {
		t.Fatalf("missed %+v", missed)
	}
	// It does not know that its earlier self had sent it.
	again, _, err := second.Call(soon(t), Message{To: here, Key: "order-1", Body: []byte("1")})
	if err != nil || again.ID != kept.ID() {
		t.Errorf("sent again: %+v, %v", again, err)
	}
	quiet(t, second)
	if _, _, err := second.Call(soon(t), Message{To: here, Key: "order-1", Body: []byte("1")}); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("after it was acknowledged: %v, want not-found", err)
	}
	if len(handled) != 0 {
		t.Errorf("it was handled %d times more", len(handled))
	}
}

func TestTwoWhoSendWithOneKeyBothHearOfTheEnd(t *testing.T) {
	d := newDaemon(t).start()
	c := d.client("mxa")
	one := c.Go(t.Context(), Message{To: here, Key: "k", Stream: "a"}, nil)
	other := c.Go(t.Context(), Message{To: here, Key: "k", Stream: "b"}, nil)
	if one.ID() != other.ID() {
		t.Errorf("sent as %s and %s", one.ID(), other.ID())
	}
	d.serve("ledger", 1, echo)
	for _, s := range []*Sent{one, other} {
		await(t, "the end", s.Done())
		if _, err := s.Result(); err != nil {
			t.Error(err)
		}
	}
}

func TestAProcessThatKeepsCompletionsAcknowledgesThem(t *testing.T) {
	d := newDaemon(t).start()
	d.serve("ledger", 1, echo)
	c := d.client("mxa", func(c *Config) { c.KeepCompletions = true })
	done, s, err := c.Call(soon(t), Message{To: here})
	if err != nil {
		t.Fatal(err)
	}
	if missed, err := c.Missed(soon(t)); err != nil || len(missed) != 1 || missed[0].ID != s.ID() {
		t.Errorf("kept %+v, %v", missed, err)
	}
	if err := c.Acknowledge(soon(t), done.ID); err != nil {
		t.Fatal(err)
	}
	if missed, err := c.Missed(soon(t)); err != nil || len(missed) != 0 {
		t.Errorf("still kept %+v, %v", missed, err)
	}
}

func TestAHandlerMayAskForAnotherTime(t *testing.T) {
	d := newDaemon(t).start()
	times := make(chan bool, 10)
	d.serve("ledger", 1, func(_ context.Context, m *Incoming) ([]byte, error) {
		times <- m.Redelivered
		if !m.Redelivered {
			return nil, fmt.Errorf("the disk is busy: %w", ErrLater)
		}
		return nil, nil
	})
	if _, _, err := d.client("mxa").Call(soon(t), Message{To: here}); err != nil {
		t.Error(err)
	}
	if first, second := <-times, <-times; first || !second {
		t.Errorf("redelivered: %v, then %v", first, second)
	}
}

func TestAConsumerThatIsStoppedWhileHandlingGivesTheMessageBack(t *testing.T) {
	d := newDaemon(t).start()
	begun := make(chan struct{}, 1)
	stop := d.serve("ledger", 1, func(ctx context.Context, _ *Incoming) ([]byte, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return []byte("too late"), nil
	})
	s := d.client("mxa").Go(t.Context(), Message{To: here}, nil)
	await(t, "the first consumer", begun)
	stop()
	d.serve("ledger", 1, func(_ context.Context, m *Incoming) ([]byte, error) {
		return []byte(fmt.Sprint("again ", m.Redelivered)), nil
	})
	await(t, "the second consumer", s.Done())
	if done, err := s.Result(); err != nil || string(done.Answer) != "again true" {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestConnectWhenTheServerComesUp(t *testing.T) {
	d := newDaemon(t)
	c := d.client("mxa")
	target := api.MessageTarget{Service: "ledger", VServer: "vsvra"}
	states := make(chan api.TargetState, 100)
	stop, _ := c.Watch(target, func(st api.TargetState) { states <- st })
	defer stop()
	if st := await(t, "a daemon that is not there", states); st.Reachable || st.Reason == "" {
		t.Errorf("without a daemon: %+v", st)
	}
	ready := make(chan error, 1)
	go func() { ready <- c.Ready(t.Context(), target) }()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ready(short, target); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("not up: %v, want the context's end", err)
	}
	d.start()
	d.messages.Place("vsvra", "filer1", 1)
	select {
	case err := <-ready:
		t.Fatalf("ready before anybody serves: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	leave := d.serve("ledger", 1, echo)
	if err := await(t, "the target", ready); err != nil {
		t.Error(err)
	}
	until := func(what string, cond func(api.TargetState) bool) {
		t.Helper()
		for {
			if st := await(t, what, states); cond(st) {
				return
			}
		}
	}
	until("up", api.TargetState.Up)
	leave()
	until("not served", func(st api.TargetState) bool { return st.Reachable && !st.Served })
	d.messages.Place("vsvra", "filer2", 2)
	until("the peer's loss", func(st api.TargetState) bool { return st.Filer == "filer2" && !st.Reachable })
	d.messages.Place("vsvra", "filer1", 3)
	until("it is back", func(st api.TargetState) bool { return st.Filer == "filer1" && st.Reachable })
	d.stop()
	until("the daemon's loss", func(st api.TargetState) bool { return st.Filer == "" && !st.Reachable })
	stop()
	d.start()
	select {
	case st := <-states:
		t.Errorf("called back after stop: %+v", st)
	case <-time.After(50 * time.Millisecond):
	}
}

// TestALargeBodyIsReadAsItGoes sends one that is opened anew when the first attempt
// fails.
func TestALargeBodyIsReadAsItGoes(t *testing.T) {
	d := newDaemon(t).start()
	sums := make(chan int, 1)
	d.serve("ledger", 1, func(ctx context.Context, m *Incoming) ([]byte, error) {
		r, err := m.Open(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		sums <- int(n)
		return nil, err
	})
	const size = 4 << 20
	opened := 0
	_, _, err := d.client("mxa").Call(soon(t), Message{To: here, Open: func() (io.ReadCloser, int64, error) {
		if opened++; opened == 1 {
			d.stop()
			defer d.start()
		}
		return io.NopCloser(io.LimitReader(endless{}, size)), size, nil
	}})
	if n := <-sums; err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAQueueThatIsFullRefuses(t *testing.T) {
	d := newDaemon(t) // not started
	c := d.client("mxa", func(c *Config) { c.MaxQueue = 2 })
	ctx, cancel := context.WithCancel(t.Context())
	var last *Sent
	for range 10 {
		last = c.Go(ctx, Message{To: here, Discard: true}, nil)
	}
	if _, err := last.Result(); !errors.Is(err, api.ErrFull) {
		t.Errorf("%v, want full", err)
	}
	s := c.Go(ctx, Message{To: api.MessageTarget{Service: "other", Filer: "f"}}, nil)
	cancel()
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Error("a message whose context has ended waits for 20 s")
	}
	c.Close()
	if _, err := c.Go(t.Context(), Message{To: here}, nil).Result(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestACompletionMayComeAtTheInstantThatTheMessageIsKnownToBeSent: the answer to
// the sending and the completion come over two connections.
func TestACompletionMayComeAtTheInstantThatTheMessageIsKnownToBeSent(t *testing.T) {
	c := New(Config{Name: "mxa", KeepCompletions: true})
	defer c.Close()
	for i := range 20_000 {
		id := fmt.Sprint(i)
		s := &Sent{message: Message{Key: id}, durable: make(chan struct{}), done: make(chan struct{})}
		c.sending[id] = 1
		var wg sync.WaitGroup
		wg.Go(func() { c.completed(api.Completion{ID: id, Outcome: api.OutcomeDone}) })
		c.sent(s, outcome{SentMessage: api.SentMessage{ID: id}})
		wg.Wait()
		if <-s.Done(); s.ID() != id {
			t.Fatalf("%s was sent as %s", id, s.ID())
		}
	}
}
