package messages

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/netquorum/netquorum"
)

var long = os.Getenv("NQ_MESSAGES_LONG") != ""

// A ledger counts in the receivers' own buckets who handled what in which epoch.
func ledger(tx *Tx, m *Message) ([]byte, error) {
	key := []byte(m.ID.String())
	n := uint64(1)
	if v := tx.Bucket().Get(key); v != nil {
		n += binary.BigEndian.Uint64(v)
	}
	v := binary.BigEndian.AppendUint64(nil, n)
	return nil, tx.Bucket().Put(key, binary.BigEndian.AppendUint64(v, m.Epoch))
}

// readLedger adds up what ledger wrote.
func readLedger(t testing.TB, nodes []*Node, service string, f func(n *Node, id string, count, epoch uint64)) {
	t.Helper()
	for _, n := range nodes {
		err := n.View(service, func(b *bbolt.Bucket) error {
			if b == nil {
				return nil
			}
			return b.ForEach(func(k, v []byte) error {
				f(n, string(k), binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]))
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAServerThatMovesAllTheTime: every message is handled exactly once, by a
// filer that was host in the epoch that it was handled in. For a minute:
//
//	NQ_MESSAGES_LONG=1 go test -run TestAServerThatMovesAllTheTime -v ./messages
func TestAServerThatMovesAllTheTime(t *testing.T) {
	t.Parallel()
	lasts := 2 * time.Second
	if long {
		lasts = time.Minute
	}
	for _, form := range []string{"transaction", "handler"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			moveAllTheTime(t, form, lasts)
		})
	}
}

func moveAllTheTime(t *testing.T, form string, lasts time.Duration) {
	w := newWorld(t)
	w.lag["sender"] = 20 * time.Millisecond // it hears of each move a little late
	nodes := []*Node{w.start("a"), w.start("b"), w.start("sender")}
	var mu sync.Mutex
	handled, order := map[string]int{}, map[string]uint64{}
	hosts := map[uint64]netquorum.FilerID{} // by epoch
	ended := map[uint64]time.Time{}
	note := func(n *Node, m *Message) {
		mu.Lock()
		defer mu.Unlock()
		handled[m.ID.String()]++
		if hosts[m.Epoch] != n.cfg.Self {
			t.Errorf("%s handled %s in epoch %d, which is %q's", n.cfg.Self, m.ID, m.Epoch, hosts[m.Epoch])
		}
		// The look at the epoch and the call of the handler are not one instant.
		if late := time.Since(ended[m.Epoch]); !ended[m.Epoch].IsZero() && late > 100*time.Millisecond {
			t.Errorf("%s handled %s %v after the end of its epoch %d", n.cfg.Self, m.ID, late, m.Epoch)
		}
		if last := order[m.Stream]; last >= m.ID.Seq {
			t.Errorf("stream %s: %d was handled after %d", m.Stream, m.ID.Seq, last)
		}
		order[m.Stream] = m.ID.Seq
	}
	for _, n := range nodes[:2] {
		var err error
		if form == "transaction" {
			_, err = n.ServeTx("count", ledger)
		} else {
			_, err = n.Serve("count", func(_ context.Context, m *Message) ([]byte, error) { note(n, m); return nil, nil })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	move := func(id netquorum.FilerID) {
		mu.Lock()
		defer mu.Unlock()
		ended[w.place("vs", "")-1] = time.Now() // it leaves one before it is placed on the other
		hosts[w.place("vs", id)] = id
	}
	move("a")
	<-time.After(w.lag["sender"])
	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(300 * time.Millisecond):
				move(netquorum.FilerID("ab"[i%2 : i%2+1]))
			}
		}
	})
	var sent []ID
	const streams = 20
	b := box(t, nodes[2], "client")
	for s := range streams {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * streams / 500)
			defer tick.Stop()
			for ctx.Err() == nil {
				id, err := b.Send(soon(t), Message{To: Target{Service: "count", Server: "vs"}, Stream: fmt.Sprint(s), Priority: Priority(s % 2), Body: Bytes([]byte("one"))})
				if err != nil {
					t.Errorf("sending: %v", err)
					return
				}
				mu.Lock()
				sent = append(sent, id)
				mu.Unlock()
				<-tick.C
			}
		})
	}
	wg.Wait()
	await(t, "all are completed", func() bool { return nodes[2].Status().Pending == 0 })
	readLedger(t, nodes[:2], "count", func(n *Node, id string, count, epoch uint64) {
		handled[id] += int(count)
		if hosts[epoch] != n.cfg.Self {
			t.Errorf("%s handled %s in epoch %d, which is %q's", n.cfg.Self, id, epoch, hosts[epoch])
		}
	})
	for _, id := range sent {
		if handled[id.String()] != 1 {
			t.Errorf("%s was handled %d times", id, handled[id.String()])
		}
	}
	done, err := b.Completions(soon(t), 0, len(sent)+1)
	if err != nil || len(done) != len(sent) {
		t.Errorf("%d completions of %d messages: %v", len(done), len(sent), err)
	}
	c := nodes[2].Status().Counts
	t.Logf("%d messages, %d placements, %d retargeted, %d abandoned", len(sent), len(hosts), c.Retargeted, c.Abandoned)
	if c.Abandoned > 0 {
		t.Errorf("%d targets were given up although they were within reach", c.Abandoned)
	}
	if c.Retargeted == 0 {
		t.Error("no message was ever refused: the test shows nothing")
	}
}

// TestAMessageThatAHandlerHasStaysWhereItIs: the sender knows of the new host, and
// waits for what the old one says.
func TestAMessageThatAHandlerHasStaysWhereItIs(t *testing.T) {
	w := newWorld(t)
	a, b, s := w.start("a"), w.start("b"), w.start("sender")
	entered, leave := make(chan struct{}), make(chan struct{})
	var handled sync.Map
	mustServe(t, a, "work", func(ctx context.Context, m *Message) ([]byte, error) {
		close(entered)
		select {
		case <-leave:
		case <-ctx.Done():
		}
		return []byte("a"), nil
	})
	mustServe(t, b, "work", func(_ context.Context, m *Message) ([]byte, error) {
		handled.Store(m.ID, true)
		return []byte("b"), nil
	})
	w.place("vs", "a")
	type answer struct {
		c   Completion
		err error
	}
	calls := make([]chan answer, 2)
	for i := range calls { // of one stream: the second waits behind the first
		calls[i] = make(chan answer, 1)
		go func() {
			c, err := box(t, s, "client").Call(soon(t), Message{To: Target{Service: "work", Server: "vs"}})
			calls[i] <- answer{c, err}
		}()
		await(t, "it has been accepted", func() bool { return a.Status().Inbox == i+1 })
	}
	<-entered
	w.place("vs", "b")
	await(t, "the second was refused by the old host", func() bool { return a.Status().Counts.Refused == 1 || a.Status().Inbox == 1 })
	select {
	case r := <-calls[0]:
		t.Fatalf("completed by %s while the handler runs", r.c.By)
	case <-time.After(100 * time.Millisecond):
	}
	if _, ok := handled.Load(ID{}); ok || s.Status().Counts.Abandoned > 0 {
		t.Error("the message was given to the new host")
	}
	close(leave)
	for i, want := range []netquorum.FilerID{"a", "b"} {
		if r := <-calls[i]; r.err != nil || r.c.By != want {
			t.Errorf("message %d was completed by %s, want %s: %v", i+1, r.c.By, want, r.err)
		}
	}
}

// TestAHostThatIsGoneIsGivenUp: it is out of reach, and there is a later placement.
// When it comes back, it does not handle what it had accepted.
func TestAHostThatIsGoneIsGivenUp(t *testing.T) {
	w := newWorld(t)
	a, b, s := w.start("a"), w.start("b"), w.start("sender")
	w.place("vs", "a")
	id, err := box(t, s, "client").Send(soon(t), Message{To: Target{Service: "work", Server: "vs"}})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the host has accepted it", func() bool { return a.Status().Inbox == 1 }) // and does not serve it yet
	mustServe(t, b, "work", func(context.Context, *Message) ([]byte, error) { return []byte("b"), nil })
	w.cut("a")
	w.place("vs", "b")
	done, err := box(t, s, "client").Completions(soon(t), 0, 1)
	if err != nil || done[0].ID != id || done[0].By != "b" {
		t.Fatalf("completion %+v, %v", done, err)
	}
	if c := s.Status().Counts; c.Abandoned != 1 {
		t.Errorf("%d abandoned, want 1", c.Abandoned)
	}
	mustServe(t, a, "work", func(context.Context, *Message) ([]byte, error) {
		t.Error("the former host handled it too")
		return nil, nil
	})
	w.heal("a")
	await(t, "the former host has refused it", func() bool { return a.Status().Counts.Refused == 1 && a.Status().Inbox == 0 })
}

// TestAnEpochThatIsOverDoesNotComeBack: the server left and is here again. What was
// accepted before is not handled as if nothing had been: its sender may have given
// it to the host in between.
func TestAnEpochThatIsOverDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	a, s := w.start("a"), w.start("sender")
	w.place("vs", "a")
	if _, err := box(t, s, "client").Send(soon(t), Message{To: Target{Service: "work", Server: "vs"}}); err != nil {
		t.Fatal(err)
	}
	await(t, "the host has accepted it", func() bool { return a.Status().Inbox == 1 })
	w.cut("sender")
	w.mu.Lock()
	w.epochs["vs"]++ // on another filer in between, which this one never heard of
	w.mu.Unlock()
	w.place("vs", "a")
	epochs := make(chan uint64, 10)
	mustServe(t, a, "work", func(_ context.Context, m *Message) ([]byte, error) { epochs <- m.Epoch; return nil, nil })
	await(t, "it is refused", func() bool { return a.Status().Counts.Refused == 1 })
	w.heal("sender")
	if epoch := <-epochs; epoch != 3 {
		t.Errorf("it was handled in epoch %d, want 3", epoch)
	}
	await(t, "it is completed", func() bool { return s.Status().Pending == 0 })
}

// TestAHostThatMovesAwayDuringATransactionLeavesNothing: the second look at the
// epoch, in the transaction that would commit the effect.
func TestAHostThatMovesAwayDuringATransactionLeavesNothing(t *testing.T) {
	w := newWorld(t)
	a, b, s := w.start("a"), w.start("b"), w.start("sender")
	w.place("vs", "a")
	var once sync.Once
	for _, n := range []*Node{a, b} {
		if _, err := n.ServeTx("count", func(tx *Tx, m *Message) ([]byte, error) {
			once.Do(func() { w.place("vs", "b") })
			return ledger(tx, m)
		}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := box(t, s, "client").Call(soon(t), Message{To: Target{Service: "count", Server: "vs"}})
	if err != nil || c.By != "b" || c.Epoch != 2 {
		t.Fatalf("completion %+v, %v", c, err)
	}
	effects := 0
	readLedger(t, []*Node{a, b}, "count", func(n *Node, id string, count, epoch uint64) {
		effects++
		if n != b {
			t.Errorf("an effect of %s is on %s", id, n.cfg.Self)
		}
	})
	if effects != 1 {
		t.Errorf("%d effects, want 1", effects)
	}
}

func mustServe(t testing.TB, n *Node, service string, h Handler) (stop func()) {
	t.Helper()
	stop, err := n.Serve(service, h)
	if err != nil {
		t.Fatal(err)
	}
	return stop
}
