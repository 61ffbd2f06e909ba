package messages

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
)

func nothing(*bbolt.Tx) error { return nil }

// TestNobodyIsToldBeforeAllIsBooked: who is woken finds the books of the whole
// transaction, and their lock free.
func TestNobodyIsToldBeforeAllIsBooked(t *testing.T) {
	n := newWorld(t).open("a")
	var steps []string // the committer's alone until the last is done
	step := func(s string) { steps = append(steps, s) }
	locked := func(want bool) {
		free := n.mu.TryLock()
		if free {
			n.mu.Unlock()
		}
		if free == want {
			t.Errorf("after %q the lock is held: %v, want %v", steps, !free, want)
		}
	}
	begun, hold, told := make(chan struct{}), make(chan struct{}), make(chan struct{}, 3)
	n.commits.submit(Control, &op{do: func(*bbolt.Tx) error { close(begun); <-hold; return nil }})
	<-begun
	for _, name := range []string{"1", "2", "3"} {
		o := &op{
			begin: func() { locked(true); step("begin " + name) },
			do:    nothing,
			book:  func(error) { locked(true); step("book " + name) },
			done:  func(error) { locked(false); step("done " + name); told <- struct{}{} },
		}
		if name == "2" {
			o.do = func(*bbolt.Tx) error { return errors.New("not this one") }
		}
		n.commits.submit(Control, o)
	}
	close(hold)
	for range 3 {
		<-told
	}
	want := []string{
		"begin 1", "begin 2", "begin 3", "book 2", "done 2", "book 1", "book 3", "done 1", "done 3",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("got  %q\nwant %q", steps, want)
	}
}

// TestWhoIsAboutToSubmitGoesAlong: those who were woken together are written
// together, although the first has submitted before the last has had its turn.
func TestWhoIsAboutToSubmitGoesAlong(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // turns are taken one after the other
	n := newWorld(t).open("a")
	var wg sync.WaitGroup
	for turns := range 20 {
		wg.Add(1)
		go func() {
			for range turns {
				runtime.Gosched()
			}
			n.commits.submit(Control, &op{do: nothing, done: func(error) { wg.Done() }})
		}()
	}
	wg.Wait()
	if c := n.Status().Counts; c.Operations != 20 || c.Syncs != 1 {
		t.Errorf("%d operations in %d transactions, want 20 in 1", c.Operations, c.Syncs)
	}
}

// TestPagesOfTheOutboxAreFilled: numbers rise, so that nothing comes in between.
func TestPagesOfTheOutboxAreFilled(t *testing.T) {
	n := newWorld(t).open("a")
	box := box(t, n, "client")
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			m := Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes(make([]byte, 256))}
			if _, err := box.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_ = n.db.View(func(tx *bbolt.Tx) error {
		s := tx.Bucket(bucketOut).Stats()
		if used := float64(s.LeafInuse) / float64(s.LeafAlloc); used < 0.8 {
			t.Errorf("%.0f %% of the pages are used, want 80", 100*used)
		}
		return nil
	})
}
