package wal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// smallSegment makes logs of a few entries span several files.
const smallSegment = 4096

func openTest(t testing.TB, dir string) *Log {
	t.Helper()
	l, err := open(dir, smallSegment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// entry is one whose data tells which it is.
func entry(index, term uint64, size int) *raft.Log {
	data := bytes.Repeat([]byte(fmt.Sprintf("entry %d of term %d.", index, term)), size/10+1)
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: data[:max(size, 1)], AppendedAt: time.Unix(1700000000, int64(index))}
}

func entries(from, to, term uint64, size int) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, entry(i, term, size))
	}
	return out
}

// content is everything in a log.
func content(t testing.TB, l *Log) []*raft.Log {
	t.Helper()
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	var out []*raft.Log
	for i := first; i <= last && first > 0; i++ {
		var e raft.Log
		if err := l.GetLog(i, &e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		out = append(out, &e)
	}
	return out
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnEntryComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	want := []*raft.Log{
		{Index: 7, Term: 1, Type: raft.LogConfiguration, Data: []byte("x"), Extensions: []byte("more"), AppendedAt: time.Unix(5, 6)},
		{Index: 8, Term: 2, Type: raft.LogNoop},
		{Index: 9, Term: 1 << 60, Type: raft.LogCommand, Data: bytes.Repeat([]byte("big"), 30_000)},
	}
	check(t, l.StoreLogs(want))
	if diff := cmp.Diff(want, content(t, l)); diff != "" {
		t.Error(diff)
	}
	check(t, l.Close())
	if diff := cmp.Diff(want, content(t, openTest(t, dir))); diff != "" {
		t.Errorf("after opening again: %s", diff)
	}
	info, err := os.Stat(segmentPath(dir, 1))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestWhatIsOutsideOfTheLogIsNotFound(t *testing.T) {
	l := openTest(t, t.TempDir())
	if first, last := indexes(l); first != 0 || last != 0 {
		t.Errorf("an empty log goes from %d to %d, want 0 and 0", first, last)
	}
	check(t, l.StoreLogs(entries(5, 9, 1, 10)))
	check(t, l.DeleteRange(5, 6))
	for _, i := range []uint64{0, 4, 6, 10} {
		if err := l.GetLog(i, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry %d: %v, want ErrLogNotFound", i, err)
		}
	}
}

func indexes(l *Log) (first, last uint64) {
	first, _ = l.FirstIndex()
	last, _ = l.LastIndex()
	return first, last
}

func TestAGapIsRefused(t *testing.T) {
	l := openTest(t, t.TempDir())
	check(t, l.StoreLogs(entries(1, 3, 1, 10)))
	for name, bad := range map[string][]*raft.Log{
		"after the log":    entries(5, 5, 1, 10),
		"among the append": {entry(4, 1, 10), entry(6, 1, 10)},
	} {
		if err := l.StoreLogs(bad); !errors.Is(err, ErrGap) {
			t.Errorf("%s: %v, want ErrGap", name, err)
		}
	}
	if err := l.DeleteRange(2, 2); !errors.Is(err, ErrMiddle) {
		t.Errorf("deleting in the middle: %v, want ErrMiddle", err)
	}
	if first, last := indexes(l); first != 1 || last != 3 {
		t.Errorf("it goes from %d to %d now, want 1 to 3", first, last)
	}
}

func TestSegmentsGoWhenTheyHoldNothing(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	for i := uint64(1); i <= 100; i++ {
		check(t, l.StoreLog(entry(i, 1, 400)))
	}
	before := files(t, dir)
	check(t, l.DeleteRange(1, 90))
	if after := files(t, dir); after > before/5 {
		t.Errorf("%d files of %d are left for a tenth of the entries", after, before)
	}
	check(t, l.DeleteRange(91, 100))
	if n := files(t, dir); n != 1 {
		t.Errorf("%d files are left of an empty log, want 1", n)
	}
	check(t, l.Close())
	if first, last := indexes(openTest(t, dir)); first != 0 || last != 0 {
		t.Errorf("a log that was emptied goes from %d to %d after opening again", first, last)
	}
}

func files(t *testing.T, dir string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	check(t, err)
	return len(found)
}

// TestALogIsWhatAListWouldBe does what raft does, in any order, and opens the
// log again in between.
func TestALogIsWhatAListWouldBe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		check(t, err)
		l, err := open(dir, smallSegment)
		check(t, err)
		defer func() { l.Close() }()
		var want []*raft.Log
		next, term := uint64(rapid.IntRange(1, 50).Draw(rt, "first")), uint64(1)
		// Opening again may bring back what was deleted, but for a wiped log.
		cut, tail := uint64(0), false
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1, 2:
				n := uint64(rapid.IntRange(1, 6).Draw(rt, "entries"))
				batch := entries(next, next+n-1, term, rapid.IntRange(1, 900).Draw(rt, "size"))
				check(t, l.StoreLogs(batch))
				want, next, tail = append(want, batch...), next+n, false
			case 3: // shorten at the end, as when a new leader's log differs
				if len(want) > 1 {
					keep := rapid.IntRange(1, len(want)-1).Draw(rt, "keep")
					check(t, l.DeleteRange(want[keep].Index, want[len(want)-1].Index))
					want, term, tail = want[:keep:keep], term+1, true
					next = want[keep-1].Index + 1
				}
			case 4: // shorten at the beginning, as after a snapshot
				if len(want) > 1 {
					drop := rapid.IntRange(1, len(want)-1).Draw(rt, "drop")
					check(t, l.DeleteRange(want[0].Index, want[drop-1].Index))
					want, cut = want[drop:], want[drop-1].Index
				}
			case 5: // wipe, as when a snapshot is installed
				if len(want) > 0 {
					check(t, l.DeleteRange(want[0].Index, want[len(want)-1].Index))
					next += uint64(rapid.IntRange(0, 100).Draw(rt, "jump"))
					want, cut, tail = nil, 0, false
				}
			case 6:
				check(t, l.Close())
				l, err = open(dir, smallSegment)
				check(t, err)
				if cut > 0 {
					if first, _ := l.FirstIndex(); first <= cut {
						check(t, l.DeleteRange(first, cut))
					}
				}
				if _, last := indexes(l); tail && last >= next {
					check(t, l.DeleteRange(next, last))
				}
			}
			if diff := cmp.Diff(want, content(t, l)); diff != "" {
				rt.Fatal(diff)
			}
		}
	})
}

func TestReadersAndTheWriterDoNotDisturbEachOther(t *testing.T) {
	l := openTest(t, t.TempDir())
	check(t, l.StoreLog(entry(1, 1, 50)))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				first, last := indexes(l)
				var e raft.Log
				for _, i := range []uint64{first, (first + last) / 2, last} {
					if err := l.GetLog(i, &e); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
						t.Errorf("entry %d: %v", i, err)
					}
				}
			}
		})
	}
	for i := uint64(2); i < 300; i++ {
		check(t, l.StoreLog(entry(i, 1, 300)))
		if i%50 == 0 {
			check(t, l.DeleteRange(1, i-20))
		}
	}
	close(stop)
	readers.Wait()
}

func TestTheFormatIsWhatItWas(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	check(t, l.StoreLogs([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogCommand, Data: []byte("first"), AppendedAt: time.Unix(1700000000, 1)},
		{Index: 2, Term: 1, Type: raft.LogNoop},
	}))
	check(t, l.StoreLog(&raft.Log{Index: 2, Term: 2, Type: raft.LogCommand, Data: []byte("instead"), Extensions: []byte("ext")}))
	check(t, l.DeleteRange(1, 2))
	check(t, l.StoreLog(&raft.Log{Index: 9, Term: 3, Type: raft.LogCommand, Data: []byte("after the wipe")}))
	b, err := os.ReadFile(segmentPath(dir, 1))
	check(t, err)
	got := hex.Dump(b[:used(b)])
	golden := filepath.Join("testdata", "segment.golden")
	if *update {
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("filers with older logs could not be started: %s", diff)
	}
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.TempDir())
	check(b, err)
	defer l.Close()
	for i := uint64(1); b.Loop(); i++ {
		check(b, l.StoreLog(entry(i, 1, 400)))
	}
}

// TestALogIsClosedBetweenAppends: a file that is closed under an append may have
// become another one by its number.
func TestALogIsClosedBetweenAppends(t *testing.T) {
	l := openTest(t, t.TempDir())
	if err := l.StoreLog(entry(1, 1, 100)); err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan error)
	go func() {
		for i := uint64(2); ; i++ {
			if err := l.StoreLog(entry(i, 1, 100)); err != nil {
				ended <- err
				return
			}
			if i == 2 {
				close(begun)
			}
		}
	}()
	<-begun
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("an append after the end: %v, want os.ErrClosed", err)
	}
	if err := l.DeleteRange(1, 1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a deletion after the end: %v, want os.ErrClosed", err)
	}
}
