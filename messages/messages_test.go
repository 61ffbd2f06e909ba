package messages

import (
	"bytes"
	"context"
	"fmt"
	"testing"
)

func TestCallReachesAServiceOfAnotherFilerAndOfThisOne(t *testing.T) {
	w := newWorld(t)
	a, b := w.start("a"), w.start("b")
	for _, n := range []*Node{a, b} {
		if _, err := n.Serve("echo", func(_ context.Context, m *Message) ([]byte, error) {
			body, err := m.Body.Bytes(1 << 20)
			return append([]byte(string(n.cfg.Self)+":"), body[:min(len(body), 10)]...), err
		}); err != nil {
			t.Fatal(err)
		}
	}
	box := box(t, a, "test")
	for _, to := range []Target{{Service: "echo", Filer: "a"}, {Service: "echo", Filer: "b"}} {
		for _, size := range []int{0, 10, MaxInline, MaxInline + 1, 1 << 20} {
			for _, p := range []Priority{Control, Bulk} {
				body := bytes.Repeat([]byte("x"), size)
				c, err := box.Call(soon(t), Message{To: to, Priority: p, Body: Bytes(body)})
				if err != nil {
					t.Fatalf("%v %d %v: %v", to, size, p, err)
				}
				if want := fmt.Sprintf("%s:%s", to.Filer, body[:min(size, 10)]); string(c.Result) != want {
					t.Errorf("%v %d: the result is %q, want %q", to, size, c.Result, want)
				}
			}
		}
	}
	await(t, "nothing is left", func() bool {
		x, y := a.Status(), b.Status()
		return x.Pending+x.Completions+x.Inbox+x.Stored+y.Inbox+y.Stored == 0 && x.SpoolOut+x.SpoolIn+y.SpoolIn == 0
	})
}
