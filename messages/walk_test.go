package messages

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
)

// TestWalk does whatever may happen to three filers, by chance: messages of all
// kinds, streams that break, filers that cannot be reached, that stop and start,
// servers that move, streams of the past that come again. When all is well again
// each message has had its effect once and has its completion, and the messages of
// a stream have had theirs in order. One seed again, or many:
//
//	NQ_MESSAGES_SEED=42 go test -run TestWalk ./messages
//	NQ_MESSAGES_LONG=1 go test -timeout 30m -run TestWalk ./messages
func TestWalk(t *testing.T) {
	t.Parallel()
	if s := os.Getenv("NQ_MESSAGES_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		walk(t, seed)
		return
	}
	seeds := 4
	if long {
		seeds = 200
	}
	for range seeds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { walk(t, seed) })
	}
}

// inOrder is a ledger that also notes, for each stream, what it saw last.
func inOrder(tx *Tx, m *Message) ([]byte, error) {
	if m.Body.Size() == 13 && !m.Redelivered { // some are not wanted at first
		return nil, fmt.Errorf("thirteen: %w", ErrLater)
	}
	if tx.Bucket().Get([]byte(m.ID.String())) != nil {
		return ledger(tx, m) // once too often: that is to be seen
	}
	key := []byte(fmt.Sprintf("last/%s/%s/%v/%s/%s", m.ID.Filer, m.ID.Client, m.To, m.Stream, m.Priority))
	if v := tx.Bucket().Get(key); v != nil && binary.BigEndian.Uint64(v) >= m.ID.Seq {
		return nil, fmt.Errorf("%d comes after %d", m.ID.Seq, binary.BigEndian.Uint64(v))
	}
	if err := tx.Bucket().Put(key, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, m.ID.Seq), 0)); err != nil {
		return nil, err
	}
	return ledger(tx, m)
}

func walk(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	w.record = true
	w.tune = func(c *Config) {
		c.GoneAfter = time.Hour // nobody is given up: exactly once
		c.IdleAfter = 50 * time.Millisecond
		c.Limits = Limits{MaxInbox: 8, MaxPending: 200}
	}
	filers := []netquorum.FilerID{"a", "b", "c"}
	up, cut := map[netquorum.FilerID]bool{}, map[netquorum.FilerID]bool{}
	start := func(id netquorum.FilerID) {
		if _, err := w.start(id).ServeTx("count", inOrder); err != nil {
			t.Fatal(err)
		}
		up[id] = true
	}
	for _, id := range filers {
		start(id)
	}
	w.place("vs0", "a")
	var sent []ID
	some := func() netquorum.FilerID { return filers[r.IntN(len(filers))] }
	for range 400 {
		switch id := some(); r.IntN(12) {
		default:
			if !up[id] {
				continue
			}
			m := Message{To: Target{Service: "count", Filer: some()}, Stream: fmt.Sprint(r.IntN(3)), Priority: Priority(r.IntN(2))}
			if r.IntN(2) == 0 {
				m.To = Target{Service: "count", Server: fmt.Sprintf("vs%d", r.IntN(2))}
			}
			size := r.IntN(100)
			if r.IntN(10) == 0 {
				size = MaxInline + r.IntN(300_000)
			}
			m.Body = Bytes(make([]byte, size))
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
			got, err := box(t, w.nodes[id].Node, fmt.Sprint("client", r.IntN(2))).Send(ctx, m)
			stop()
			if err == nil {
				sent = append(sent, got)
			} else if !errors.Is(err, ErrFull) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("sending: %v", err)
			}
		case 0:
			w.breakStreams(func(a, b netquorum.FilerID) bool { return (a == id || b == id) && r.IntN(2) == 0 })
		case 1:
			if cut[id] {
				w.heal(id)
			} else {
				w.cut(id)
			}
			cut[id] = !cut[id]
		case 2:
			if up[id] {
				w.halt(id)
				up[id], cut[id] = false, false
			} else {
				start(id)
			}
		case 3:
			w.place("vs0", "")
			w.place("vs0", id)
		case 4:
			w.place(fmt.Sprintf("vs%d", r.IntN(2)), []netquorum.FilerID{id, ""}[r.IntN(2)])
		case 5:
			w.mu.Lock()
			past := w.past
			w.mu.Unlock()
			if len(past) > 0 {
				w.replay(past[r.IntN(len(past))])
			}
		case 6:
			<-time.After(time.Duration(r.IntN(20)) * time.Millisecond)
		case 7:
			if up[id] {
				box(t, w.nodes[id].Node, "client0").Resend()
			}
		}
	}
	for _, id := range filers {
		if !up[id] {
			start(id)
		}
		w.heal(id)
	}
	w.place("vs0", "b")
	w.place("vs1", "c")
	t.Cleanup(func() {
		for _, id := range filers {
			if n := w.nodes[id]; t.Failed() && n != nil {
				t.Logf("%s: %+v", id, n.Status())
				for _, client := range n.Status().Clients {
					for _, p := range box(t, n.Node, client.Client).Pending(0) {
						t.Logf("pending: %+v", p)
					}
				}
			}
		}
	})
	await(t, fmt.Sprintf("all %d messages are completed (seed %d)", len(sent), seed), func() bool {
		for _, id := range filers {
			if w.nodes[id].Status().Pending > 0 {
				return false
			}
		}
		return true
	})
	done := map[ID]Completion{}
	nodes := []*Node{}
	for _, id := range filers {
		n := w.nodes[id].Node
		nodes = append(nodes, n)
		for _, c := range n.Status().Clients {
			if c.Completions == 0 {
				continue
			}
			list, err := box(t, n, c.Client).Completions(soon(t), 0, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for i, c := range list {
				done[c.ID] = c
				if i > 0 && c.Position <= list[i-1].Position {
					t.Errorf("completions %d and %d are out of order", list[i-1].Position, c.Position)
				}
			}
		}
	}
	effects := map[string]uint64{}
	readLedger(t, nodes, "count", func(_ *Node, id string, count, _ uint64) { effects[id] += count })
	for _, id := range sent {
		if c, ok := done[id]; !ok || c.Err() != nil || effects[id.String()] != 1 {
			t.Errorf("%s has %d effects and the completion %+v (%v)", id, effects[id.String()], c, ok)
		}
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}
