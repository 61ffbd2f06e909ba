package messages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

// A handClock moves when a test says so; what waits on it is woken then.
type handClock struct {
	mu    sync.Mutex
	now   time.Time
	timer []handTimer
}

type handTimer struct {
	at time.Time
	c  chan time.Time
}

func newHandClock() *handClock { return &handClock{now: time.Unix(1_800_000_000, 0)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := handTimer{c.now.Add(d), make(chan time.Time, 1)}
	c.timer = append(c.timer, t)
	return t.c
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.timer = slices.DeleteFunc(c.timer, func(t handTimer) bool {
		due := !t.at.After(c.now)
		if due {
			t.c <- c.now
		}
		return due
	})
}

func TestCompletionsOfAClientThatNeverComesBackAreCollected(t *testing.T) {
	w := newWorld(t)
	clock := newHandClock()
	w.tune = func(c *Config) {
		c.Clock = clock
		c.Limits = Limits{CompletionAge: time.Hour, CompletionBytes: 10 * (1000 + keptOverhead)}
	}
	a := w.start("a")
	mustServe(t, a, "work", func(context.Context, *Message) ([]byte, error) { return make([]byte, 1000), nil })
	b := box(t, a, "client")
	var ids []ID
	for range 30 {
		id, err := b.Send(soon(t), Message{To: Target{Service: "work", Filer: "a"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	await(t, "ten are left by size", func() bool { s := a.Status(); return s.Pending == 0 && s.Completions == 10 })
	list, err := b.Completions(soon(t), 0, 100)
	if err != nil || len(list) != 10 || list[0].ID != ids[20] || list[9].ID != ids[29] {
		t.Fatalf("the box holds %d completions from %s on, want the last ten: %v", len(list), list[0].ID, err)
	}
	clock.advance(30 * time.Minute)
	id, err := b.Send(soon(t), Message{To: Target{Service: "work", Filer: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it is completed", func() bool { return a.Status().Pending == 0 })
	await(t, "those older than an hour are gone", func() bool {
		clock.advance(time.Minute)
		return a.Status().Completions == 1
	})
	if list, err = b.Completions(soon(t), 0, 100); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("the box holds %+v, want the newest only: %v", list, err)
	}
	if c := a.Status().Counts.Collected; c != 30 {
		t.Errorf("%d were collected, want 30", c)
	}
}

// TestTheResultsOfASenderThatDoesNotComeAreCollected: at the receiver, by size and
// age. What is left says that the message was handled: it is not handled again.
func TestTheResultsOfASenderThatDoesNotComeAreCollected(t *testing.T) {
	for _, by := range []string{"age", "size"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t)
			clock := newHandClock()
			w.tune = func(c *Config) {
				if c.Self == "b" {
					c.Clock = clock
					c.Limits.CompletionAge = time.Hour
					if by == "size" {
						c.Limits.CompletionBytes = 5000
					}
				}
			}
			a, b := w.start("a"), w.start("b")
			for range 10 {
				if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}}); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "all are accepted", func() bool { return b.Status().Inbox == 10 })
			w.halt("a")
			var handled atomic.Int32
			mustServe(t, b, "work", func(context.Context, *Message) ([]byte, error) {
				handled.Add(1)
				return make([]byte, 1000), nil
			})
			await(t, "all are handled", func() bool { return b.Status().Stored == 10 })
			want := map[string]int{"age": 10, "size": 6}[by]
			await(t, "results are collected", func() bool {
				clock.advance(time.Minute)
				return int(b.Status().Counts.Collected) >= want
			})
			a = w.start("a")
			done := []Completion{}
			await(t, "the sender has its completions", func() bool {
				var err error
				done, err = box(t, a, "client").Completions(soon(t), 0, 100)
				return err == nil && len(done) == 10
			})
			collected := 0
			for _, c := range done {
				if c.Outcome == Collected {
					collected++
				}
			}
			if handled.Load() != 10 || collected < want {
				t.Errorf("%d calls of the handler, %d collected; want 10 and at least %d", handled.Load(), collected, want)
			}
			await(t, "the receiver has forgotten them", func() bool { return b.Status().Stored == 0 })
		})
	}
}

func TestAMessageToAFilerThatLeftTheClusterIsUndeliverable(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	id, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.gone["b"] = true
	w.mu.Unlock()
	list, err := box(t, a, "client").Completions(soon(t), 0, 1)
	if err != nil || list[0].ID != id || list[0].Outcome != Undeliverable {
		t.Errorf("the completion is %+v, %v", list, err)
	}
}

func TestAFullOutboxMakesSendersWait(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.MaxPending = 5; c.Limits.MaxSpool = 100_000 }
	a := w.start("a")
	b := box(t, a, "client")
	m := Message{To: Target{Service: "work", Filer: "b"}}
	for range 5 {
		if _, err := b.Send(soon(t), m); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Send(ended, m); !errors.Is(err, ErrFull) || !errors.Is(err, context.Canceled) {
		t.Errorf("Send without waiting: %v, want ErrFull", err)
	}
	if _, err := box(t, a, "other").Send(soon(t), m); err != nil {
		t.Errorf("another client has to wait too: %v", err)
	}
	if _, err := box(t, a, "third").Send(soon(t), Message{To: m.To, Body: Bytes(make([]byte, 100_001))}); !errors.Is(err, ErrFull) {
		t.Errorf("a body larger than the spool: %v, want ErrFull", err)
	}
	sent := make(chan error)
	go func() {
		_, err := b.Send(soon(t), m)
		sent <- err
	}()
	select {
	case err := <-sent:
		t.Fatalf("Send did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	mustServe(t, w.start("b"), "work", func(context.Context, *Message) ([]byte, error) { return nil, nil })
	a.Reachable("b")
	if err := <-sent; err != nil {
		t.Errorf("Send after there was room: %v", err)
	}
}

// TestAFullInboxHoldsUpItsOwnServiceOnly: what nobody serves is bounded, and does
// not delay other services, nor streams whose handler stands still other streams.
func TestAFullInboxHoldsUpItsOwnServiceOnly(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.MaxInbox = 10 }
	a, b := w.start("a"), w.start("b")
	box := box(t, a, "client")
	for i := range 100 {
		if _, err := box.Send(soon(t), Message{To: Target{Service: "unserved", Filer: "b"}, Stream: fmt.Sprint(i % 3)}); err != nil {
			t.Fatal(err)
		}
	}
	hold := make(chan struct{})
	mustServe(t, b, "work", func(_ context.Context, m *Message) ([]byte, error) {
		if m.Stream == "stuck" {
			<-hold
		}
		return nil, nil
	})
	stuck, err := box.Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Stream: "stuck"})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := box.Call(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Stream: "free"}); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Status(); s.Inbox != 11 {
		t.Errorf("%d messages are in the inbox, want 10 that nobody serves and one that is held", s.Inbox)
	}
	if p := box.Pending(0); len(p) != 101 || p[100].ID != stuck {
		t.Errorf("%d are pending, want 101", len(p))
	}
	close(hold)
	last := map[string]uint64{}
	stop, err := b.Serve("unserved", func(_ context.Context, m *Message) ([]byte, error) { // of a stream one after the other
		w.mu.Lock()
		defer w.mu.Unlock()
		if last[m.Stream] >= m.ID.Seq {
			t.Errorf("%d comes after %d", m.ID.Seq, last[m.Stream])
		}
		last[m.Stream] = m.ID.Seq
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v\n%+v\n%+v", b.Status(), a.Status(), box.Pending(3))
			a.mu.Lock()
			defer a.mu.Unlock()
			for k, s := range a.lines {
				t.Logf("line %+v: next %d of %d, held %d parked %v draining %v queued %p session %p", k, s.next, len(s.outs), s.held, s.parked, s.draining, s.queued, a.peers["b"].session)
			}
		}
	})
	await(t, "all are handled once they are served", func() bool { return a.Status().Pending == 0 })
}

// TestWhatIsWithdrawnHoldsUpNothing: neither what was turned away for a lack of
// room and will not come again.
func TestWhatIsWithdrawnHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.MaxInbox = 1 }
	a, b := w.start("a"), w.start("b")
	box := box(t, a, "client")
	var ids []ID
	for range 4 {
		id, err := box.Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	await(t, "the first is accepted and the others were turned away", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, q := range b.queues {
			return len(b.ins) == 1 && len(q.blocked) > 0
		}
		return false
	})
	if err := box.Withdraw(soon(t), ids[1]); err != nil {
		t.Fatal(err)
	}
	var handled []ID
	mustServe(t, b, "work", func(_ context.Context, m *Message) ([]byte, error) { handled = append(handled, m.ID); return nil, nil })
	await(t, "all are completed", func() bool { return a.Status().Pending == 0 })
	if want := []ID{ids[0], ids[2], ids[3]}; !slices.Equal(handled, want) {
		t.Errorf("%v were handled, want %v", handled, want)
	}
}

// TestBulkDoesNotDelayControl: while bodies of 16 MiB flow and their handlers
// hold all the workers that they may, control messages are handled in
// milliseconds.
func TestBulkDoesNotDelayControl(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.Workers = 4 }
	a, b := w.start("a"), w.start("b")
	var bulk atomic.Int32
	hold := make(chan struct{})
	mustServe(t, b, "work", func(ctx context.Context, m *Message) ([]byte, error) {
		if m.Priority == Bulk {
			bulk.Add(1)
			<-hold
		}
		return nil, nil
	})
	box := box(t, a, "client")
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	for i := range 6 {
		if _, err := box.Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Priority: Bulk, Stream: fmt.Sprint(i), Body: Bytes(body)}); err != nil {
			t.Fatal(err)
		}
	}
	var took []time.Duration
	for len(took) < 20 || bulk.Load() < 3 {
		begin := time.Now()
		if _, err := box.Call(soon(t), Message{To: Target{Service: "work", Filer: "b"}}); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	t.Logf("%d calls beside bulk: median %v, longest %v", len(took), took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 250*time.Millisecond {
		t.Errorf("the median call took %v beside bulk", took[len(took)/2])
	}
	if n := bulk.Load(); n > 3 {
		t.Errorf("bulk has %d of 4 workers", n)
	}
	close(hold)
	await(t, "all are done", func() bool { return a.Status().Pending == 0 })
}

// TestASmallMessageIsNotBehindALargeOneOfAnotherStream, even of the same priority.
func TestASmallMessageIsNotBehindALargeOneOfAnotherStream(t *testing.T) {
	w := newWorld(t)
	a, b := w.start("a"), w.start("b")
	order := make(chan string, 3)
	mustServe(t, b, "work", func(ctx context.Context, m *Message) ([]byte, error) {
		order <- m.Stream + fmt.Sprint(m.Body.Size())
		return nil, nil
	})
	box := box(t, a, "client")
	w.cut("b")
	for _, m := range []Message{
		{Stream: "one", Body: Bytes(make([]byte, 8<<20))}, {Stream: "one", Body: Bytes(make([]byte, 1))}, {Stream: "two", Body: Bytes(make([]byte, 2))},
	} {
		m.To, m.Priority = Target{Service: "work", Filer: "b"}, Bulk
		if _, err := box.Send(soon(t), m); err != nil {
			t.Fatal(err)
		}
	}
	w.heal("b")
	for _, want := range []string{"two2", "one8388608", "one1"} {
		if got := <-order; got != want {
			t.Errorf("%s was handled where %s was expected", got, want)
		}
	}
}

// TestDeliveriesToHandlersElsewhere: one that is released is delivered again before
// those after it.
func TestDeliveriesToHandlersElsewhere(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	box := box(t, a, "client")
	to := Target{Service: "out", Filer: "a"}
	for i := range 3 {
		if _, err := box.Send(soon(t), Message{To: to, Body: Bytes([]byte{byte(i)})}); err != nil {
			t.Fatal(err)
		}
	}
	first, err := a.Receive(soon(t), "out")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Receive(short, "out"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the second of a stream was delivered while the first is held: %v", err)
	}
	if _, err := a.Serve("out", nil); !errors.Is(err, ErrServed) {
		t.Errorf("Serve beside a delivery: %v, want ErrServed", err)
	}
	first.Release()
	for i := range 3 {
		d, err := a.Receive(soon(t), "out")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := d.Message.Body.Bytes(10); err != nil || body[0] != byte(i) || d.Message.Redelivered != (i == 0) {
			t.Errorf("delivery %d is of %v, again: %v, %v", i, body, d.Message.Redelivered, err)
		}
		if i == 2 {
			err = d.Fail(soon(t), "no")
		} else {
			err = d.Ack(soon(t), []byte("yes"))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(soon(t), nil); !errors.Is(err, ErrGone) {
			t.Errorf("a second answer: %v, want ErrGone", err)
		}
	}
	await(t, "all are completed", func() bool { return a.Status().Pending == 0 })
	done, err := box.Completions(soon(t), 0, 10)
	if err != nil || len(done) != 3 || string(done[0].Result) != "yes" || done[2].Outcome != Failed || done[2].Error != "no" {
		t.Errorf("completions %+v, %v", done, err)
	}
	if err := box.Forget(soon(t), done[0].ID, done[1].ID); err != nil {
		t.Fatal(err)
	}
	if rest, err := box.Completions(soon(t), 0, 10); err != nil || len(rest) != 1 || rest[0].ID != done[2].ID {
		t.Errorf("after Forget the box holds %+v, %v", rest, err)
	}
}

func TestADirectoryBelongsToOneFiler(t *testing.T) {
	w := newWorld(t)
	w.start("a")
	w.halt("a")
	_, err := Open(Config{Dir: w.dirs["a"], Self: "b", Network: &memNetwork{world: w, self: "b", end: make(chan struct{})}, Hosts: &memHosts{w, netquorum.FilerID("b")}})
	if !errors.Is(err, ErrForeign) {
		t.Errorf("another filer's directory: %v, want ErrForeign", err)
	}
}
