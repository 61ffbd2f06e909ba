package fsm

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/netquorum/netquorum"
)

func told(t testing.TB) *State {
	s := NewState()
	for _, ts := range story() {
		s, _ = apply(t, s, ts...)
	}
	return s
}

func TestADamagedSnapshotIsRefused(t *testing.T) {
	good := snapshot(t, told(t))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		s, err := DecodeSnapshot(bytes.NewReader(bad))
		if err == nil || s != nil {
			t.Fatalf("byte %d flipped: accepted", i)
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for n := range good {
		if s, err := DecodeSnapshot(bytes.NewReader(good[:n])); s != nil || !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := DecodeSnapshot(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a byte behind it: %v", err)
	}
	newer := bytes.Clone(good)
	newer[len(snapshotMagic)] = snapshotFormat + 1
	if _, err := DecodeSnapshot(bytes.NewReader(newer)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("of a newer format: %v", err)
	}
	broken := errors.New("the disk is gone")
	if _, err := DecodeSnapshot(io.MultiReader(bytes.NewReader(good[:40]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
		t.Errorf("from a disk that fails: %v", err)
	}
}

func TestASnapshotArrivesInAnyPieces(t *testing.T) {
	want := told(t)
	got, err := DecodeSnapshot(iotest.OneByteReader(bytes.NewReader(snapshot(t, want))))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "byte by byte", want, got)
	large := accept(t, want, puts(sized("large", 250<<10)))
	large = accept(t, large, puts(sized("large", 255<<10), sized("more", 200<<10)))
	same(t, "with large documents", large, reload(t, large))
}

// fullDisk fails after some bytes.
type fullDisk struct{ room int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if len(b) > d.room {
		return 0, errors.New("no space left")
	}
	d.room -= len(b)
	return len(b), nil
}

func TestWritingASnapshotReportsAFullDisk(t *testing.T) {
	s := told(t)
	size := len(snapshot(t, s))
	for _, room := range []int{0, size - 1} {
		if err := EncodeSnapshot(&fullDisk{room}, s); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("room for %d of %d bytes: %v", room, size, err)
		}
	}
}

func TestTheEmptyStateHasASnapshot(t *testing.T) {
	s := reload(t, NewState())
	same(t, "empty", s, NewState())
	if s = accept(t, s, puts(cluster(0))); s.Revision() != 1 {
		t.Errorf("revision %d", s.Revision())
	}
}

// A version that many changes and the configuration share is in memory once
// after a snapshot, as it was before.
func TestVersionsAreSharedAfterASnapshot(t *testing.T) {
	s := small(t)
	s = accept(t, s, puts(record("note", "2")))
	s = reload(t, accept(t, s, puts(record("note", "3"))))
	var changes []Change
	for c := range s.History(2, 0) {
		changes = append(changes, c)
	}
	if changes[0].Documents[0].After != changes[1].Documents[0].Before {
		t.Error("a version stands in memory twice")
	}
	now, _ := s.Config().Get(netquorum.KindRecord, "note")
	if changes[1].Documents[0].After.Spec != now.Spec {
		t.Error("the current version has a copy in the history")
	}
}

func TestSummaryCounts(t *testing.T) {
	s := small(t)
	sm := s.Summary()
	if sm.Revision != 1 || sm.Index != 1 || len(sm.Hash) != 64 || sm.Documents[netquorum.KindFiler] != 2 || sm.Documents[netquorum.KindRecord] != 1 {
		t.Errorf("%+v", sm)
	}
}
