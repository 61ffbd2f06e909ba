package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/messages"
)

// TestMessagesFollowAVirtualServer: to whoever hosts it by placement and lease, and
// to the next one when its host dies. What a filer that is away is sent, it gets
// when it is back.
func TestMessagesFollowAVirtualServer(t *testing.T) {
	var mu sync.Mutex
	nodes := map[string]*messages.Node{}
	fs := formOf(t, func(f *testFiler) {
		f.cfg.Messages = func(n *messages.Node) {
			mu.Lock()
			nodes[f.name] = n
			mu.Unlock()
			if _, err := n.Serve("whoami", func(_ context.Context, m *messages.Message) ([]byte, error) {
				body, err := m.Body.Bytes(1 << 20)
				return fmt.Appendf(nil, "%s got %d bytes", f.name, len(body)), err
			}); err != nil {
				t.Error(err)
			}
		}
	})
	host := hostOf(t, fs)
	sender := fs[0]
	if host == sender {
		sender = fs[1]
	}
	mu.Lock()
	box, err := nodes[sender.name].Box("test")
	id := nodes[host.name].Status().Self
	mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	m := messages.Message{To: messages.Target{Service: "whoami", Server: "web"}, Body: messages.Bytes(make([]byte, 100_000))}
	answer := func() string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c, err := box.Call(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Result)
	}
	if got, want := answer(), host.name+" got 100000 bytes"; got != want {
		t.Errorf("%q answered, want %q", got, want)
	}
	host.stop()
	waiting, err := box.Send(t.Context(), messages.Message{To: messages.Target{Service: "whoami", Filer: id}})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(); got == host.name+" got 100000 bytes" {
		t.Errorf("%q answered and is off", got)
	}
	host.start()
	eventually(t, "the filer that was away has its message", func(ctx context.Context) error {
		done, err := box.Completions(ctx, 0, 1)
		if err == nil && (done[0].ID != waiting || done[0].By != id) {
			err = errors.New("another message's completion")
		}
		return err
	})
}
