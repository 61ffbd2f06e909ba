package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

// sound makes a log of several segments and returns its directory, the newest
// segment's path and where its last append begins and ends.
func sound(t testing.TB) (dir, newest string, from, to int64) {
	dir = t.TempDir()
	l := openTest(t, dir)
	for i := uint64(1); i <= 30; i += 3 {
		check(t, l.StoreLogs(entries(i, i+2, 1, 300)))
	}
	s := l.segments[len(l.segments)-1]
	if len(l.segments) < 3 || s.room() < 2000 {
		t.Fatalf("%d segments, %d bytes of room: not the log that the tests want", len(l.segments), s.room())
	}
	from = s.end
	check(t, l.StoreLogs(entries(31, 33, 1, 400)))
	newest, to = s.path, s.end
	check(t, l.Close())
	return dir, newest, from, to
}

// TestAPowerCutDuringAnAppendLosesNothingElse leaves out every possible set of
// sectors of the last append, which is what a disk may do to one that was not
// synced.
func TestAPowerCutDuringAnAppendLosesNothingElse(t *testing.T) {
	dir, newest, from, to := sound(t)
	image, err := os.ReadFile(newest)
	check(t, err)
	first, last := from/sector, (to-1)/sector
	n := int(last - first + 1)
	for lost := 1; lost < 1<<n; lost++ {
		b := bytes.Clone(image)
		for i := range n {
			if lost&(1<<i) == 0 {
				continue
			}
			at := (first + int64(i)) * sector
			clear(b[max(at, from):min(at+sector, int64(len(b)))])
		}
		check(t, os.WriteFile(newest, b, 0o600))
		l, err := open(dir, smallSegment)
		if err != nil {
			t.Fatalf("sectors %b lost: %v", lost, err)
		}
		if _, got := indexes(l); got < 30 || got > 33 {
			t.Fatalf("sectors %b lost: the last entry is %d, want 30 to 33", lost, got)
		}
		if diff := cmp.Diff(entries(1, 30, 1, 300), content(t, l)[:30]); diff != "" {
			t.Fatalf("sectors %b lost: %s", lost, diff)
		}
		// What comes next must not meet remains.
		_, at := indexes(l)
		check(t, l.StoreLogs(entries(at+1, at+4, 2, 200)))
		want := content(t, l)
		check(t, l.Close())
		l, err = open(dir, smallSegment)
		check(t, err)
		if diff := cmp.Diff(want, content(t, l)); diff != "" {
			t.Fatalf("sectors %b lost, after the next append: %s", lost, diff)
		}
		check(t, l.Close())
	}
}

func TestAPowerCutWhileASegmentIsMadeLeavesNothingInTheWay(t *testing.T) {
	dir, newest, _, _ := sound(t)
	half := newest + ".new"
	check(t, os.WriteFile(half, []byte("half a file"), 0o600))
	l := openTest(t, dir)
	if _, last := indexes(l); last != 33 {
		t.Errorf("the last entry is %d, want 33", last)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished file is still there: %v", err)
	}
}

// TestAFlippedBitIsFound flips every bit of every byte that is in use, one at a
// time, and expects an error that names the file, which stays as it is.
func TestAFlippedBitIsFound(t *testing.T) {
	dir, newest, _, _ := sound(t)
	paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	check(t, err)
	for _, path := range paths {
		image, err := os.ReadFile(path)
		check(t, err)
		end := used(image)
		for at := int64(0); at < end; at++ {
			if at >= 28 && at < headerSize {
				continue // the header's space for later
			}
			b := bytes.Clone(image)
			b[at] ^= 1 << (at % 8)
			check(t, os.WriteFile(path, b, 0o600))
			l, err := open(dir, smallSegment)
			var damaged *DamagedError
			switch {
			case err == nil && harmless(image, at):
				check(t, l.Close())
			case !errors.As(err, &damaged):
				t.Fatalf("%s, byte %d: %v, want a *DamagedError", filepath.Base(path), at, err)
			case damaged.Path != path:
				t.Fatalf("%s, byte %d: the error names %s", filepath.Base(path), at, damaged.Path)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, b) {
				t.Fatalf("%s, byte %d: the damaged file was touched (%v)", filepath.Base(path), at, err)
			}
		}
		check(t, os.WriteFile(path, image, 0o600))
	}
	if !strings.HasSuffix(paths[len(paths)-1], filepath.Base(newest)) {
		t.Error("the newest segment was not among them")
	}
}

// harmless reports whether the byte is padding, which nothing reads.
func harmless(image []byte, at int64) bool {
	for end := int64(headerSize); end < at+1; {
		n := int64(image[end]) | int64(image[end+1])<<8
		if body := end + recordHeader + n; at >= body && at < end+int64(padded(int(n))) {
			return true
		}
		end += int64(padded(int(n)))
	}
	return false
}

func TestAMissingOrShortenedSegmentIsFound(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir, newest string){
		"one in the middle is gone": func(t *testing.T, dir, _ string) { check(t, os.Remove(segmentPath(dir, 2))) },
		"one in the middle is cut":  func(t *testing.T, dir, _ string) { check(t, os.Truncate(segmentPath(dir, 2), 700)) },
		"the newest is cut":         func(t *testing.T, _, newest string) { check(t, os.Truncate(newest, 600)) },
		"the newest is cut between appends": func(t *testing.T, dir, newest string) {
			l := openTest(t, dir)
			end := l.entries[len(l.entries)-3].offset
			check(t, l.Close())
			check(t, os.Truncate(newest, end))
		},
		"the newest is empty": func(t *testing.T, _, newest string) { check(t, os.Truncate(newest, 0)) },
		"one is another's copy": func(t *testing.T, dir, _ string) {
			b, err := os.ReadFile(segmentPath(dir, 1))
			check(t, err)
			check(t, os.WriteFile(segmentPath(dir, 2), b, 0o600))
		},
		"one is of a newer version": func(t *testing.T, dir, _ string) {
			b, err := os.ReadFile(segmentPath(dir, 2))
			check(t, err)
			b[7]++
			binary.LittleEndian.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
			check(t, os.WriteFile(segmentPath(dir, 2), b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, newest, _, _ := sound(t)
			spoil(t, dir, newest)
			l, err := open(dir, smallSegment)
			var damaged *DamagedError
			if !errors.As(err, &damaged) {
				t.Errorf("%v, want a *DamagedError", err)
			}
			if err == nil {
				l.Close()
			}
		})
	}
}

func TestAnEntryThatIsDamagedWhileTheLogIsOpenIsNotHandedOut(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	check(t, l.StoreLogs(entries(1, 3, 1, 100)))
	b, err := os.ReadFile(segmentPath(dir, 1))
	check(t, err)
	b[headerSize+recordHeader+60] ^= 4
	check(t, os.WriteFile(segmentPath(dir, 1), b, 0o600))
	var damaged *DamagedError
	if err := l.GetLog(1, &raft.Log{}); !errors.As(err, &damaged) {
		t.Errorf("%v, want a *DamagedError", err)
	}
	if err := l.GetLog(2, &raft.Log{}); err != nil {
		t.Errorf("the entry beside it: %v", err)
	}
}

// TestNoDamagePanics spoils a log in many ways at once.
func TestNoDamagePanics(t *testing.T) {
	dir, newest, _, _ := sound(t)
	image, err := os.ReadFile(newest)
	check(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := bytes.Clone(image)
		for range 1 + rng.IntN(4) {
			at := rng.IntN(len(b))
			switch rng.IntN(3) {
			case 0:
				b[at] ^= 1 << rng.IntN(8)
			case 1:
				copy(b[at:], b[rng.IntN(len(b)):])
			case 2:
				clear(b[at:min(at+rng.IntN(600), len(b))])
			}
		}
		check(t, os.WriteFile(newest, b, 0o600))
		if l, err := open(dir, smallSegment); err == nil {
			content(t, l)
			check(t, l.Close())
		}
	}
}

func FuzzSegment(f *testing.F) {
	_, newest, _, _ := sound(f)
	image, err := os.ReadFile(newest)
	check(f, err)
	f.Add(image[headerSize:used(image)])
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, os.WriteFile(segmentPath(dir, 1), append(header(1, headerSize+int64(len(b))), b...), 0o600))
		l, err := open(dir, smallSegment)
		if err != nil {
			return
		}
		defer l.Close()
		want := content(t, l)
		again := openTest(t, dir)
		if diff := cmp.Diff(want, content(t, again)); diff != "" {
			t.Errorf("opened again it differs: %s", diff)
		}
	})
}
