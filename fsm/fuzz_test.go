package fsm

import (
	"bytes"
	"testing"
)

func FuzzDecodeEntry(f *testing.F) {
	for _, ts := range append(story(), everything(), nil) {
		entry, err := EncodeEntry(ts)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(entry)
	}
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	base := small(f)
	f.Fuzz(func(t *testing.T, entry []byte) {
		ts, err := DecodeEntry(entry)
		next, results, applyErr := Apply(base, base.Index()+1, entry)
		if (err == nil) != (applyErr == nil) {
			t.Fatalf("decoding says %v, applying says %v", err, applyErr)
		}
		if err != nil {
			return
		}
		if len(results) != len(ts) {
			t.Fatalf("%d results for %d transactions", len(results), len(ts))
		}
		// A record that is not JSON decodes, is refused, and does not encode.
		again, err := EncodeEntry(ts)
		if err == nil {
			if _, err := DecodeEntry(again); err != nil {
				t.Fatalf("what was decoded and encoded does not decode: %v", err)
			}
		}
		same(t, "after a snapshot", next, reload(t, next))
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(snapshot(f, NewState()))
	f.Add(snapshot(f, small(f)))
	f.Add(snapshot(f, told(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSnapshot(bytes.NewReader(data))
		if err == nil {
			same(t, "once more", s, reload(t, s))
		}
	})
}

// FuzzBuildState goes where a checksum keeps FuzzDecodeSnapshot from going: it
// takes the stream apart without trailer, and builds what it finds.
func FuzzBuildState(f *testing.F) {
	for _, s := range []*State{NewState(), small(f), told(f)} {
		data := snapshot(f, s)
		f.Add(data[len(snapshotMagic)+1 : len(data)-32])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var items []snapshotItem
		for r := (reader{data: data}); len(r.data) > 0; {
			it := snapshotItem{r.byte(), r.bytes()}
			if r.err != nil {
				return
			}
			if it.kind != itemEnd {
				items = append(items, it)
			}
		}
		if s, err := buildState(items); err == nil {
			same(t, "once more", reload(t, s), reload(t, reload(t, s)))
		}
	})
}
