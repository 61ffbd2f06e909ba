package messages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestAMessageThatIsSentAgainWithItsKeyIsOneMessage covers a client that did not
// hear the answer: at the same time, after a restart, and after its completion.
func TestAMessageThatIsSentAgainWithItsKeyIsOneMessage(t *testing.T) {
	w := newWorld(t)
	n := w.start("a")
	m := Message{To: Target{Service: "ledger", Filer: "a"}, Body: Bytes([]byte("1"))}
	var senders sync.WaitGroup
	ids := make([]ID, 16)
	for i := range ids {
		senders.Go(func() {
			var err error
			if ids[i], _, err = box(t, n, "mxa").SendOnce(soon(t), "order-1", m); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	for _, id := range ids {
		if id != ids[0] || id.Seq == 0 {
			t.Fatalf("ids %v, want one", ids)
		}
	}
	if id, repeated, err := box(t, n, "other").SendOnce(soon(t), "order-1", m); err != nil || repeated || id.Client != "other" {
		t.Errorf("another client's key: %v, %v, %v", id, repeated, err)
	}
	w.halt("a")
	n = w.start("a")
	again := func(key string) (ID, bool) {
		t.Helper()
		id, repeated, err := box(t, n, "mxa").SendOnce(soon(t), key, m)
		if err != nil {
			t.Fatal(err)
		}
		return id, repeated
	}
	if id, repeated := again("order-1"); id != ids[0] || !repeated {
		t.Errorf("after a restart: %v, %v; want %v again", id, repeated, ids[0])
	}
	handled := make(chan ID, 10)
	mustServe(t, n, "ledger", func(_ context.Context, m *Message) ([]byte, error) { handled <- m.ID; return []byte("ok"), nil })
	c, err := box(t, n, "mxa").Completion(soon(t), ids[0])
	if err != nil || string(c.Result) != "ok" || c.ID != ids[0] {
		t.Fatalf("completion %+v, %v", c, err)
	}
	if id, repeated := again("order-1"); id != ids[0] || !repeated {
		t.Errorf("after its completion: %v, %v; want %v again", id, repeated, ids[0])
	}
	if err := box(t, n, "mxa").Forget(soon(t), ids[0]); err != nil {
		t.Fatal(err)
	}
	if id, repeated := again("order-1"); id != ids[0] || !repeated {
		t.Errorf("after it was forgotten: %v, %v; want %v again", id, repeated, ids[0])
	}
	if id, repeated := again("order-2"); id == ids[0] || repeated {
		t.Errorf("another key: %v, %v", id, repeated)
	}
	await(t, "three messages are handled", func() bool { return len(handled) == 3 })
	if _, err := box(t, n, "mxa").Completion(soon(t), ids[0]); !errors.Is(err, ErrUnknown) {
		t.Errorf("a completion that was forgotten: %v, want ErrUnknown", err)
	}
}

func TestKeysAreForgottenByAgeButNotOfPendingMessages(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.CompletionAge = time.Nanosecond }
	n := w.start("a")
	b := box(t, n, "mxa")
	done, _, err := b.SendOnce(soon(t), "done", Message{To: Target{Service: "x", Filer: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := n.Receive(soon(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ack(soon(t), nil); err != nil {
		t.Fatal(err)
	}
	pending, _, err := b.SendOnce(soon(t), "pending", Message{To: Target{Service: "x", Filer: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the first is completed", func() bool { return len(b.Pending(0)) == 1 })
	n.mu.Lock()
	n.expireKeys(n.client("mxa"))
	n.mu.Unlock()
	w.halt("a")
	n = w.start("a")
	b = box(t, n, "mxa")
	if id, repeated, err := b.SendOnce(soon(t), "pending", Message{To: Target{Service: "x", Filer: "a"}}); id != pending || !repeated || err != nil {
		t.Errorf("a pending message's key: %v, %v, %v", id, repeated, err)
	}
	if id, repeated, err := b.SendOnce(soon(t), "done", Message{To: Target{Service: "x", Filer: "a"}}); id == done || repeated || err != nil {
		t.Errorf("a key that was collected: %v, %v, %v", id, repeated, err)
	}
}

// TestManyKeysAreBounded writes what 10,000 keys and more leave in memory.
func TestManyKeysAreBounded(t *testing.T) {
	w := newWorld(t)
	n := w.start("a")
	n.mu.Lock()
	c := n.client("mxa")
	for i := range 3 * keptKeys {
		k := &keyed{key: fmt.Sprint(i), id: ID{Seq: uint64(i + 1)}, at: time.Now()}
		c.keys[k.key], c.named = k, append(c.named, k)
	}
	n.expireKeys(c)
	defer n.mu.Unlock()
	if len(c.named) != keptKeys || len(c.keys) != keptKeys || c.keys[fmt.Sprint(3*keptKeys-1)] == nil {
		t.Errorf("%d and %d keys are left, want the newest %d", len(c.named), len(c.keys), keptKeys)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(keyKey("mxa", "order-1"), []byte{recordVersion, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		client, r, err := parseKey(k, v)
		if err == nil && string(keyKey(client, r.key)) != string(k) {
			t.Errorf("%q came back as %q", k, keyKey(client, r.key))
		}
	})
}
