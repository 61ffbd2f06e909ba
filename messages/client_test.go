package messages

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestNamesThatAreOnlyAskedForAreForgotten, but nobody who waits for completions
// misses one for that.
func TestNamesThatAreOnlyAskedForAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.tune = func(c *Config) { c.Limits.CompletionAge = 2 * time.Second } // looked at each half
	a := w.start("a")
	mustServe(t, a, "work", func(context.Context, *Message) ([]byte, error) { return nil, nil })
	clients := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.clients)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 1000 {
		b := box(t, a, fmt.Sprint("client", i))
		if _, err := b.Completions(over, 0, 1); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := b.Forget(t.Context(), ID{Seq: 1}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "they are forgotten", func() bool { return clients() == 0 })
	waiting := box(t, a, "waits")
	got := make(chan error, 1)
	go func() {
		_, err := waiting.Completions(soon(t), 0, 1)
		got <- err
	}()
	await(t, "it is known", func() bool { return clients() == 1 })
	a.mu.Lock()
	c := a.clients["waits"]
	a.mu.Unlock()
	await(t, "it is forgotten, and asks anew", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.clients["waits"] != nil && a.clients["waits"] != c
	})
	if _, err := waiting.Send(soon(t), Message{To: Target{Service: "work", Filer: "a"}}); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the completion that was waited for: %v", err)
	}
	if clients() != 1 {
		t.Errorf("%d clients are known, want the one that has sent", clients())
	}
}
