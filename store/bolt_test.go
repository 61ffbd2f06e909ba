package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/store/wal"
)

// mustBeDamaged checks an error that names a file and what to do.
func mustBeDamaged(t *testing.T, err error, path string) {
	t.Helper()
	var damaged *DamagedError
	if !errors.Is(err, ErrDamaged) || !errors.As(err, &damaged) {
		t.Fatalf("%v, want a *DamagedError", err)
	}
	if damaged.Path != path {
		t.Errorf("it names %s, want %s", damaged.Path, path)
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "join") {
		t.Errorf("%q does not say where and what to do", err)
	}
}

// soundBolt returns a log file with many entries, in a state that bolt left.
func soundBolt(t testing.TB, entries int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raft.db")
	b, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := fsm.EncodeEntry([]fsm.Transaction{put(record("r", strings.Repeat("x", 300)))})
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := b.StoreLog(&raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogCommand, Data: seal(entryApply, entry)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := readBoltMeta(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return data[:meta.pages*uint64(meta.pageSize)] // bolt makes its file larger than it needs
}

func TestDamageNamesTheDirectoryToMoveAway(t *testing.T) {
	for path, want := range map[string]string{
		"/d/store/log/0000000000000001.log": "directory /d/store away",
		"/d/store/log":                      "directory /d/store away",
		"/d/store/raft.db":                  "directory /d/store away",
		"/d/store/snapshots":                "directory /d/store away",
	} {
		if text := (&DamagedError{path, "x"}).Error(); !strings.Contains(text, want) {
			t.Errorf("%s: %q lacks %q", path, text, want)
		}
	}
}

// soundLog makes a log where a store looks for it.
func soundLog(t *testing.T, dir string) {
	t.Helper()
	l, err := wal.Open(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestVotesWithoutTheirLogAreDamage(t *testing.T) {
	l := newCluster(t, 1)
	f := l.leader()
	l.kill(f)
	path := filepath.Join(f.dir, logName)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if there, err := Present(f.dir); there || err != nil {
		t.Errorf("it counts as present: %v, %v", there, err)
	}
	mustBeDamaged(t, l.start(f), path)
}

func TestDamagedVotesAreNamedAndKept(t *testing.T) {
	sound := soundBolt(t, 200)
	page := os.Getpagesize()
	meta, err := readBoltMeta(bytes.NewReader(sound), int64(len(sound)))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		sound  bool
	}{
		{"as it was written", func(b []byte) []byte { return b }, true},
		{"an empty file", func(b []byte) []byte { return nil }, false},
		{"truncated to half", func(b []byte) []byte { return b[:int(meta.pages)*page/2] }, false},
		{"truncated to one page", func(b []byte) []byte { return b[:page] }, false},
		{"truncated to a part of a page", func(b []byte) []byte { return b[:page/2] }, false},
		{"text", func(b []byte) []byte { return []byte(strings.Repeat("not a database\n", 1000)) }, false},
		{"the root page zeroed", func(b []byte) []byte { clear(b[int(meta.root)*page:][:page]); return b }, false},
		{"every page but the meta pages zeroed", func(b []byte) []byte { clear(b[2*page:]); return b }, false},
		{"one meta page flipped, as by a power cut", func(b []byte) []byte { b[int(meta.txid%2)*page+40] ^= 1; return b }, true},
		{"both meta pages flipped", func(b []byte) []byte { b[40] ^= 1; b[page+40] ^= 1; return b }, false},
		{"a newer bolt format", func(b []byte) []byte { b[20], b[page+20] = 9, 9; return b }, false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			soundLog(t, dir)
			path := filepath.Join(dir, "raft.db")
			data := c.damage(bytes.Clone(sound))
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			n := newWires().attach("f")
			defer n.detach()
			s, err := Open(Options{Dir: dir, ID: "f", Network: n, Fatal: func(error) {}})
			if c.sound {
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				return
			}
			mustBeDamaged(t, err, path)
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
				t.Errorf("the damaged file was touched: %v", err)
			}
		})
	}
}

func TestAFlippedBitInAnEntryStopsTheFilerBeforeItIsApplied(t *testing.T) {
	l := newCluster(t, 3)
	l.propose(l.leader(), put(record("r", "the-value-that-flips")))
	l.propose(l.leader(), put(record("other", "x")))
	f := l.follower()
	l.wait("the follower to have it", func() bool { return value(f.State(), "other") == "x" })
	l.kill(f)
	path := filepath.Join(f.dir, "log", "0000000000000001.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 0; ; found++ {
		i := bytes.Index(data[at:], []byte("the-value-that-flips"))
		if i < 0 {
			break
		}
		at += i + 1
		data[at] ^= 1
	}
	if found == 0 {
		t.Fatal("the entry is not in the file")
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	mustBeDamaged(t, l.start(f), path)
}

func TestTwoDaemonsDoNotShareADirectory(t *testing.T) {
	l := newLab(t, 1)
	n := newWires().attach("g")
	defer n.detach()
	_, err := Open(Options{Dir: l.filers[0].dir, ID: "g", Network: n})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v, want an error that says the directory is in use", err)
	}
}

func TestAPowerCutWhileTheLogIsCreatedLeavesNothingInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "raft.db.new"), []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := openBolt(filepath.Join(dir, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := os.Stat(filepath.Join(dir, "raft.db.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "raft.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// TestNoDamageCrashesTheDaemon damages a file at random places. What the walk
// lets pass must not make bolt panic where nobody can recover.
func TestNoDamageCrashesTheDaemon(t *testing.T) {
	sound := soundBolt(t, 60)
	rng := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "raft.db")
	refused := 0
	for i := range 300 {
		data := bytes.Clone(sound)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(data) - 8)
			switch rng.IntN(3) {
			case 0:
				data[at] ^= 1 << rng.IntN(8)
			case 1:
				binary.LittleEndian.PutUint64(data[at&^7:], rng.Uint64())
			case 2:
				data = data[:max(at, 16)]
			}
			if len(data) < 32 {
				break
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := openBolt(path)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("round %d: %v, want a *DamagedError", i, err)
			}
			refused++
			continue
		}
		log := &diskLog{disk: b, votes: path, stall: patience, onFail: func(error) {}, onWipe: func() {}, fatal: func(error) {}}
		for i := range uint64(70) {
			log.GetLog(i, &raft.Log{})
		}
		log.StoreLog(&raft.Log{Index: 1000})
		b.Close()
	}
	t.Logf("%d of 300 damaged files were refused; damage elsewhere is in free pages or found by the entries' checksums", refused)
}

func FuzzWalkBolt(f *testing.F) {
	sound := soundBolt(f, 5)
	f.Add(sound)
	f.Add(sound[:8192])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := walkBolt(bytes.NewReader(data), int64(len(data))); err != nil && !errors.Is(err, errBolt) {
			t.Errorf("%v is no finding", err)
		}
	})
}

func FuzzEntry(f *testing.F) {
	parts := packAll(f, put(record("r", "x")))
	f.Add(sealPart("id", 0, 2, parts[0]))
	f.Add(seal(entryApply, []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, payload, err := unseal(data)
		if err == nil && !bytes.Equal(seal(kind, payload), data) {
			t.Error("sealing again gives other bytes")
		}
		// The fuzzer does not guess checksums.
		var a assembly
		a.add(data, new(opener))
	})
}

func FuzzSnapshot(f *testing.F) {
	var b bytes.Buffer
	if err := (&snapshot{fsm.NewState(), 3, assembly{id: "x", next: 1, total: 2, whole: put(record("r", "x"))}}).encode(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSnapshot(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := s.encode(&again); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Errorf("encoding again gives other bytes (%v)", err)
		}
	})
}
