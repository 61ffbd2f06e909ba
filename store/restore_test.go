package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// generation is a configuration whose every record says the same.
func generation(n, records, size int) []netquorum.Document {
	docs := []netquorum.Document{clusterDocument()}
	for i := range records {
		docs = append(docs, record(fmt.Sprintf("gen%d", i), fmt.Sprint(n)+strings.Repeat(" ", size)))
	}
	return docs
}

// generationOf returns which generation a state holds, and false if it is a
// mixture.
func generationOf(s *fsm.State, records int) (string, bool) {
	first := value(s, "gen0")
	for i := range records {
		if value(s, fmt.Sprintf("gen%d", i)) != first {
			return "", false
		}
	}
	return strings.TrimSpace(first), true
}

// packAll returns a restore's parts.
func packAll(t testing.TB, tx fsm.Transaction) [][]byte {
	t.Helper()
	p, err := pack(tx)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	parts, err := p.all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func TestARestoreReplacesEverythingAtOneStrokeAmongWriters(t *testing.T) {
	const records, size = 100, 8 << 10 // several parts
	l := newCluster(t, 3)
	l.propose(l.leader(), put(record("old", "x")))
	stop := make(chan struct{})
	var mixtures, looked atomic.Int64
	done := make(chan struct{})
	for _, f := range l.filers {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				changed := f.Changed()
				if _, whole := generationOf(f.State(), records); !whole {
					mixtures.Add(1)
				}
				looked.Add(1)
				select {
				case <-changed:
				case <-stop:
					return
				}
			}
		}()
	}
	w := l.load(4, func(i int) *filer { return l.filers[i%3] })
	var last netquorum.Revision
	for n := range 6 {
		rev, err := l.filers[n%3].Restore(l.context(), generation(n, records, size), "test")
		if err != nil {
			t.Fatal(err)
		}
		if rev <= last {
			t.Errorf("restore %d has revision %d, after %d", n, rev, last)
		}
		last = rev
	}
	w.end()
	after := l.propose(l.follower(), put(record("after", "x")))
	if after.Revision <= last {
		t.Errorf("the next write has revision %d, after %d", after.Revision, last)
	}
	for _, f := range l.filers {
		if err := f.Wait(l.context(), after.Revision); err != nil {
			t.Fatal(err)
		}
		if g, whole := generationOf(f.State(), records); !whole || g != "5" {
			t.Errorf("%s has generation %q, whole: %v", f.id, g, whole)
		}
		if value(f.State(), "old") != "" {
			t.Errorf("%s still has what was there before", f.id)
		}
	}
	close(stop)
	for range l.filers {
		<-done
	}
	if mixtures.Load() > 0 {
		t.Errorf("%d of %d states were mixtures", mixtures.Load(), looked.Load())
	}
}

func TestARefusedRestoreChangesNothing(t *testing.T) {
	l := newCluster(t, 3)
	l.propose(l.leader(), put(record("kept", "x")))
	before := l.leader().State().Revision()
	var refusal *fsm.Refusal
	if _, err := l.follower().Restore(l.context(), []netquorum.Document{record("r", "x")}, "test"); !errors.As(err, &refusal) {
		t.Fatalf("a configuration without a cluster: %v, want a refusal", err)
	}
	l.mustHave(map[string]string{"kept": "x", "r": ""})
	if got := l.leader().State().Revision(); got != before {
		t.Errorf("revision %d, want %d", got, before)
	}
	big := []netquorum.Document{clusterDocument()}
	for i := range MaxRestore/(200<<10) + 1 {
		big = append(big, record(fmt.Sprintf("r%d", i), strings.Repeat("x", 200<<10)))
	}
	if _, err := l.leader().Restore(l.context(), big, "test"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a configuration of more than %d bytes: %v, want ErrTooLarge", MaxRestore, err)
	}
}

func TestARepeatedRestoreDoesNotUndoWhatCameAfterIt(t *testing.T) {
	l := newCluster(t, 3)
	leader := l.leader()
	tx := put(generation(1, 3, 10)...)
	tx.ID = "restore-1"
	first, err := leader.restoreHere(l.context(), packed(tx.ID, packAll(t, tx)))
	if err != nil {
		t.Fatal(err)
	}
	l.propose(leader, put(record("later", "x")))
	again, err := leader.restoreHere(l.context(), packed(tx.ID, packAll(t, tx)))
	if err != nil || !again.Duplicate {
		t.Errorf("%+v, %v; want the recorded result of %+v", again, err, first)
	}
	l.mustHave(map[string]string{"later": "x"})
}

func TestARestoreFollowsTheLeader(t *testing.T) {
	l := newCluster(t, 3)
	old := l.leader()
	f := l.follower()
	ctx, cancel := context.WithCancel(l.context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := f.Restore(ctx, generation(7, 200, 20<<10), "test")
		done <- err
	}()
	l.wait("the restore to be under way", func() bool { return old.node.Load().raft.LastIndex() > 12 })
	l.kill(old)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s, err := f.Read(l.context(), Linearizable)
	if err != nil {
		t.Fatal(err)
	}
	if g, whole := generationOf(s, 200); !whole || g != "7" {
		t.Errorf("generation %q, whole: %v", g, whole)
	}
}

func TestARestoreIsCutIntoPartsOfAboutOneSize(t *testing.T) {
	for _, size := range []int{10, 1 << 10, 100 << 10} {
		docs := generation(1, 8<<20/(size+500), size)
		parts := packAll(t, put(docs...))
		puts := 0
		for i, p := range parts {
			var o opener
			tx, err := o.open(p)
			if err != nil {
				t.Fatal(err)
			}
			puts += len(tx.Puts)
			if n := len(o.room); n > 2*partSize || i > 0 && i < len(parts)-1 && n < partSize/4 {
				t.Errorf("records of %d bytes: part %d of %d has %d bytes", size, i, len(parts), n)
			}
		}
		if puts != len(docs) {
			t.Errorf("%d documents in %d parts, want %d", puts, len(parts), len(docs))
		}
	}
}

func TestARestoreIsForwardedAsItIs(t *testing.T) {
	want := restoreRequest{"id", [][]byte{[]byte("one"), {}, []byte("three")}}
	data, err := want.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got restoreRequest
	if err := got.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for n := range data {
		if err := got.UnmarshalBinary(data[:n]); err == nil && len(got.Parts) == len(want.Parts) {
			t.Errorf("%d of %d bytes: no error, and all parts", n, len(data))
		}
	}
}

func FuzzRestoreRequest(f *testing.F) {
	data, _ := restoreRequest{"id", [][]byte{[]byte("part")}}.MarshalBinary()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r restoreRequest
		if err := r.UnmarshalBinary(data); err != nil {
			if !errors.Is(err, errBadPart) {
				t.Errorf("%v is not errBadPart", err)
			}
			return
		}
		if again, err := r.MarshalBinary(); err != nil || len(again) > len(data) {
			t.Errorf("%d bytes, %v; came from %d", len(again), err, len(data))
		}
	})
}
