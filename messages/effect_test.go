package messages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAFailedTransactionTakesItsOwnEffectOnly: others of the same transaction keep
// theirs.
func TestAFailedTransactionTakesItsOwnEffectOnly(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	box := box(t, a, "client")
	w.run("a")
	var ids []ID
	for i := range 60 { // they wait until there is a handler, and then come at once
		id, err := box.Send(soon(t), Message{To: Target{Service: "count", Filer: "a"}, Stream: fmt.Sprint(i % 20), Body: Bytes([]byte{byte(i)})})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	await(t, "all are accepted", func() bool { return a.Status().Inbox == len(ids) })
	tried := map[ID]int{}
	if _, err := a.ServeTx("count", func(tx *Tx, m *Message) ([]byte, error) {
		body, err := m.Body.Bytes(10)
		if err != nil {
			return nil, err
		}
		if _, err := ledger(tx, m); err != nil {
			return nil, err
		}
		tried[m.ID]++
		switch i := body[0]; {
		case i%10 == 3:
			return nil, errors.New("three")
		case i%10 == 5:
			panic("five")
		case i%10 == 7 && tried[m.ID] == 1:
			return nil, fmt.Errorf("seven: %w", ErrLater)
		}
		return []byte("ok"), nil
	}); err != nil {
		t.Fatal(err)
	}
	await(t, "all are completed", func() bool { return a.Status().Pending == 0 })
	effects := map[string]uint64{}
	readLedger(t, []*Node{a}, "count", func(_ *Node, id string, count, _ uint64) { effects[id] = count })
	done, err := box.Completions(soon(t), 0, 100)
	if err != nil || len(done) != len(ids) {
		t.Fatalf("%d completions, %v", len(done), err)
	}
	for _, c := range done {
		i := (c.ID.Seq - ids[0].Seq) % 10
		want, effect := Done, uint64(1)
		if i == 3 || i == 5 {
			want, effect = Failed, 0
		}
		if c.Outcome != want || effects[c.ID.String()] != effect {
			t.Errorf("message %d: %s (%s) with %d effects, want %s with %d", i, c.Outcome, c.Error, effects[c.ID.String()], want, effect)
		}
	}
}

// TestADamagedBodyIsFetchedAgain: the part that had arrived is not what it was. A
// machine may be so fast that all of a body has arrived when it is looked at;
// then a larger one is sent.
func TestADamagedBodyIsFetchedAgain(t *testing.T) {
	for size := 4 << 20; size <= 256<<20; size *= 4 {
		if damagedOnItsWay(t, size) {
			return
		}
	}
	t.Fatal("every body arrived before it could be damaged")
}

// damagedOnItsWay reports whether the body was caught before all of it had arrived.
func damagedOnItsWay(t *testing.T, size int) bool {
	w := newWorld(t)
	a, b := w.start("a"), w.start("b")
	body := make([]byte, size)
	_, _ = rand.Read(body)
	got := make(chan []byte, 1)
	mustServe(t, b, "work", func(_ context.Context, m *Message) ([]byte, error) {
		all, err := m.Body.Bytes(int64(len(body)))
		got <- all
		return nil, err
	})
	w.cut("b")
	if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes(body)}); err != nil {
		t.Fatal(err)
	}
	w.heal("b")
	await(t, "a part has arrived", func() bool { return b.Status().Counts.BodyBytes > 100_000 })
	w.halt("b")
	files, err := filepath.Glob(filepath.Join(w.dirs["b"], "spool", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		return false
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{body[5] ^ 1}, 5); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b = w.open("b")
	if b.Status().Inbox != 1 {
		return false
	}
	mustServe(t, b, "work", func(_ context.Context, m *Message) ([]byte, error) {
		all, err := m.Body.Bytes(int64(len(body)))
		got <- all
		return nil, err
	})
	w.run("b")
	if all := <-got; string(all) != string(body) {
		t.Error("the handler saw something else than what was sent")
	}
	if c := b.Status().Counts; c.Corrupt != 1 {
		t.Errorf("%d bodies were found damaged, want 1", c.Corrupt)
	}
	return true
}

// TestABodyGoesOnWhereItBroke: what has arrived does not come again.
func TestABodyGoesOnWhereItBroke(t *testing.T) {
	w := newWorld(t)
	a, b := w.start("a"), w.start("b")
	size := uint64(16 << 20)
	if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes(make([]byte, size))}); err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for range 5 {
		await(t, "more has arrived", func() bool {
			n := b.Status().Counts.BodyBytes
			return n > total || n == size
		})
		total = b.Status().Counts.BodyBytes
		w.cut("b")
		w.heal("b")
	}
	mustServe(t, b, "work", func(context.Context, *Message) ([]byte, error) { return nil, nil })
	await(t, "it is completed", func() bool { return a.Status().Pending == 0 })
	if n := b.Status().Counts.BodyBytes; n != size {
		t.Errorf("%d bytes of a body of %d were taken", n, size)
	}
}

// TestAfterTheDiskFailedNothingIsPromised, and nothing is answered.
func TestAfterTheDiskFailedNothingIsPromised(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	running := make(chan error, 1)
	go func() { running <- a.Run(t.Context()) }()
	box := box(t, a, "client")
	m := Message{To: Target{Service: "work", Filer: "b"}}
	if _, err := box.Send(soon(t), m); err != nil {
		t.Fatal(err)
	}
	a.commits.fail(errors.New("input/output error"))
	for range 2 {
		if _, err := box.Send(soon(t), m); !errors.Is(err, ErrDisk) {
			t.Errorf("Send after the disk failed: %v, want ErrDisk", err)
		}
	}
	if err := <-running; !errors.Is(err, ErrDisk) {
		t.Errorf("Run ended with %v, want ErrDisk", err)
	}
	if s := a.Status(); s.Error == "" {
		t.Error("the status does not say that the disk failed")
	}
}

// TestADamagedFileIsSaidToBe, with what to do, and does not end the daemon.
func TestADamagedFileIsSaidToBe(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	for range 100 {
		if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes(make([]byte, 1000))}); err != nil {
			t.Fatal(err)
		}
	}
	w.halt("a")
	path := filepath.Join(w.dirs["a"], "messages.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, damaged := range map[string][]byte{
		"cut off": whole[:len(whole)/3], "overwritten": append(whole[:16384:16384], make([]byte, len(whole)-16384)...), "of another kind": []byte("hello"),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := Open(Config{Dir: w.dirs["a"], Self: "a", Network: &memNetwork{world: w, self: "a", end: make(chan struct{})}, Hosts: &memHosts{w, "a"}})
		if err == nil {
			n.Close()
			t.Errorf("a file that is %s was opened", what)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name the file", what, err)
		}
	}
}
