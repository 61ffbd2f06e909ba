package messages

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// TestTheFileShrinksAtTheStart, with all that is in use, although a crash has left
// a part of a copy; and what is not much is left.
func TestTheFileShrinksAtTheStart(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	m := Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes([]byte("hello"))}
	first, _, err := box(t, a, "client").SendOnce(soon(t), "key", m)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(n *Node, bytes int) {
		err := n.db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.Bucket(bucketApps).CreateBucket([]byte("work"))
			if err != nil {
				return err
			}
			return b.Put([]byte("large"), make([]byte, bytes))
		})
		if err == nil {
			err = n.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketApps).DeleteBucket([]byte("work")) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(w.dirs["a"], "messages.db")
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	fill(a, 2*shrinkFrom)
	w.halt("a")
	large := size()
	if err := os.WriteFile(path+".new", []byte("a part of a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = w.open("a")
	if size() > large/2 {
		t.Errorf("the file had %d bytes and has %d", large, size())
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("the copy is still there")
	}
	if again, repeated, err := box(t, a, "client").SendOnce(soon(t), "key", m); err != nil || !repeated || again != first {
		t.Errorf("the message that was sent as %s is %s now, known %v: %v", first, again, repeated, err)
	}
	fill(a, shrinkFrom/2)
	w.halt("a")
	before := size()
	b := w.open("a")
	if size() != before {
		t.Errorf("a file of %d bytes, half of them free, has %d now", before, size())
	}
	if _, err := openOwn(path); err == nil {
		t.Error("the file was opened twice")
	}
	if _, err := box(t, b, "client").Send(soon(t), m); err != nil {
		t.Error(err)
	}
}

// TestWithoutRoomForACopyTheFileStays: it is no reason not to start.
func TestWithoutRoomForACopyTheFileStays(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	err := a.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketApps).Put([]byte("large"), make([]byte, 2*shrinkFrom))
	})
	if err == nil {
		err = a.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketApps).Delete([]byte("large")) })
	}
	if err != nil {
		t.Fatal(err)
	}
	w.halt("a")
	inTheWay := filepath.Join(w.dirs["a"], "messages.db.new", "something")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	a = w.open("a")
	if _, err := box(t, a, "client").Send(soon(t), Message{To: Target{Service: "work", Filer: "b"}, Body: Bytes(nil)}); err != nil {
		t.Error(err)
	}
}

// TestAFileThatWasReplacedIsNotOpened by who has waited for its lock meanwhile.
func TestAFileThatWasReplacedIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "messages.db")
	if err := create(path, "a"); err != nil {
		t.Fatal(err)
	}
	first, err := openOwn(path)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		db, err := openOwn(path)
		if err == nil {
			err = db.Close()
		}
		second <- err
	}()
	await(t, "the second has the file open", func() bool {
		open := 0
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); to == path {
				open++
			}
		}
		return open == 2
	})
	small, err := compact(first, path+".new")
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; !errors.Is(err, bolterrors.ErrTimeout) {
		t.Errorf("the file that is not there any more was opened: %v", err)
	}
}
