package messages

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	sampleID  = ID{Filer: "f1", Client: "mirror", Incarnation: Incarnation{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 258}
	sampleEnv = envelope{
		id: sampleID, to: Target{Service: "volumes", Server: "vs_mgmt"}, stream: "one", priority: Bulk, discard: true,
		trace: 0xfeed, sent: time.Unix(0, 1_800_000_000_000_000_001), size: 5, attempt: 3, epoch: 7,
	}
	sampleVerdict = verdict{outcome: Failed, epoch: 7, reason: "no such volume", result: []byte("result")}
)

// samples are one of each frame and record.
func samples() map[string][]byte {
	spooled := sampleEnv
	spooled.spooled, spooled.size, spooled.sum = true, 1<<26, [32]byte{9, 9}
	inline := sampleEnv
	out := map[string][]byte{
		"frame-hello":     hello{version: 1, incarnation: sampleID.Incarnation, number: 1<<32 + 5, class: ClassBulk}.append(nil),
		"frame-welcome":   appendWelcome(nil),
		"frame-put":       appendPut(nil, &inline, []byte("hello")),
		"frame-announce":  appendPut(nil, &spooled, nil),
		"frame-accepted":  appendNote(nil, frameAccepted, sampleID, 3),
		"frame-busy":      appendNote(nil, frameBusy, sampleID, 3),
		"frame-settle":    appendNote(nil, frameSettle, sampleID, 3),
		"frame-ready":     appendReady(nil, "volumes"),
		"frame-refused":   refusal{sampleID, Bulk, 3, Place{"f2", 8}}.append(nil),
		"frame-completed": appendCompleted(nil, sampleID, Bulk, &sampleVerdict),
		"frame-want":      appendWant(nil, sampleID, 65536),
		"frame-chunk":     endFrame(append(beginChunk(nil, sampleID, 65536), "data"...), 0),
		"frame-recall":    appendRecall(nil, "vs_mgmt", 8),
		"frame-goodbye":   appendGoodbye(nil, "why"),
		"record-client":   clientRecord{sampleID.Incarnation, 1024, 77}.encode(),
		"record-out":      (&outRecord{env: inline, at: "f2", inline: []byte("hello")}).encode(),
		"record-out-file": (&outRecord{env: spooled, at: "f2", file: "abc"}).encode(),
		"record-done":     (&doneRecord{id: sampleID, by: "f2", at: time.Unix(0, 5), verdict: sampleVerdict}).encode(),
		"key-id":          idKey(sampleID),
		"key-done":        doneKey("mirror", 77),
	}
	for name, r := range inSamples(inline, spooled) {
		out["record-in-"+name] = r.encode()
	}
	return out
}

func inSamples(inline, spooled envelope) map[string]inRecord {
	at := time.Unix(0, 5)
	return map[string]inRecord{
		"partial":   {env: spooled, state: inPartial, file: "abc", at: at},
		"pending":   {env: inline, state: inPending, at: at, inline: []byte("hello")},
		"refused":   {env: inline, state: inRefused, at: at, place: Place{"f2", 8}},
		"completed": {env: inline, state: inCompleted, at: at, verdict: sampleVerdict},
		"collected": {env: inline, state: inCollected, at: at, verdict: verdict{outcome: Collected, result: []byte{}}},
	}
}

// TestFormat: what is on disk and on the wire does not change unnoticed.
func TestFormat(t *testing.T) {
	for name, got := range samples() {
		path := filepath.Join("testdata", name+".hex")
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(got) != string(want) {
			t.Errorf("%s has changed; want\n%s\ngot\n%s", name, want, hex.Dump(got))
		}
	}
}

// TestRecordsAreMadeInOnePiece: the room that they ask for is enough, and not much
// more.
func TestRecordsAreMadeInOnePiece(t *testing.T) {
	spooled := sampleEnv
	spooled.spooled = true
	spooled.id.Client, spooled.stream = strings.Repeat("c", MaxName), strings.Repeat("s", MaxName)
	for _, e := range []envelope{sampleEnv, spooled} {
		if size, room := len(appendEnvelope(nil, &e)), e.room(); size > room || size < room-64 {
			t.Errorf("an envelope of %d bytes was given %d", size, room)
		}
	}
}

func TestRecordsReadBack(t *testing.T) {
	spooled := sampleEnv
	spooled.spooled, spooled.size = true, 1<<26
	for name, r := range inSamples(sampleEnv, spooled) {
		got, err := parseIn(r.encode(), "f1")
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: got %+v, want %+v: %v", name, got, r, err)
		}
	}
	o := outRecord{env: sampleEnv, at: "f2", inline: []byte("hello")}
	if got, err := parseOut(o.encode(), "f1"); err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("got %+v, want %+v: %v", got, o, err)
	}
	d := doneRecord{id: sampleID, by: "f2", at: time.Unix(0, 5), verdict: sampleVerdict}
	if got, err := parseDone(d.encode(), "f1"); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("got %+v, want %+v: %v", got, d, err)
	}
	if id, err := ParseID(sampleID.String()); err != nil || id != sampleID {
		t.Errorf("got %v, want %v: %v", id, sampleID, err)
	}
	if id, err := parseIDKey(idKey(sampleID)); err != nil || id != sampleID {
		t.Errorf("got %v, want %v: %v", id, sampleID, err)
	}
}

// takeFrame decodes a frame of any kind.
func takeFrame(kind byte, p []byte) error {
	var err error
	switch kind {
	case frameHello:
		_, err = parseHello(p)
	case frameWelcome:
		_, err = parseWelcome(p)
	case framePut:
		_, _, err = parsePut(p, "f1")
	case frameAccepted, frameBusy, frameSettle:
		_, _, err = parseNote(p, "f1")
	case frameReady:
		_, err = parseReady(p)
	case frameRefused:
		_, err = parseRefusal(p, "f1")
	case frameCompleted:
		_, _, _, err = parseCompleted(p, "f1")
	case frameWant:
		_, _, err = parseWant(p, "f1")
	case frameChunk:
		_, _, _, err = parseChunk(p, "f1")
	case frameRecall:
		_, _, err = parseRecall(p)
	case frameGoodbye:
		_, err = parseGoodbye(p)
	}
	return err
}

// FuzzFrames: bytes of a peer make an error or a frame, and never more memory than
// a frame may have.
func FuzzFrames(f *testing.F) {
	for name, b := range samples() {
		if strings.HasPrefix(name, "frame-") {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		var buf []byte
		for {
			kind, p, grown, err := readFrame(r, buf)
			if err != nil {
				return
			}
			if buf = grown; cap(buf) > maxFrameSize {
				t.Fatalf("a frame took %d bytes", cap(buf))
			}
			if takeFrame(kind, p) != nil {
				return
			}
		}
	})
}

// FuzzRecords: what is in the file makes an error or a record that is written the
// same way again.
func FuzzRecords(f *testing.F) {
	for name, b := range samples() {
		if !strings.HasPrefix(name, "frame-") {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseIn(b, "f1"); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("in: %x became %x", b, r.encode())
		}
		if r, err := parseOut(b, "f1"); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("out: %x became %x", b, r.encode())
		}
		if r, err := parseDone(b, "f1"); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("done: %x became %x", b, r.encode())
		}
		if r, err := parseClient(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("client: %x became %x", b, r.encode())
		}
		if id, err := parseIDKey(b); err == nil && !bytes.Equal(idKey(id), b) {
			t.Errorf("key: %x became %x", b, idKey(id))
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add(sampleID.String())
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if again, err := ParseID(id.String()); err != nil || again != id {
			t.Errorf("%q is %v, which reads as %v: %v", s, id, again, err)
		}
	})
}

// TestEveryFrameIsCheckedAtEveryLength: no frame that is cut off or too long is
// taken for a whole one.
func TestEveryFrameIsCheckedAtEveryLength(t *testing.T) {
	for name, b := range samples() {
		if !strings.HasPrefix(name, "frame-") {
			continue
		}
		kind, p := b[4], b[frameHeader:]
		if err := takeFrame(kind, p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		open := kind == frameCompleted || kind == frameChunk // their end is data
		for n := range p {
			if takeFrame(kind, p[:n]) == nil && !(open && n > 32) {
				t.Errorf("%s is taken with %d of its %d bytes", name, n, len(p))
			}
		}
		if takeFrame(kind, append(bytes.Clone(p), 0)) == nil && !open {
			t.Errorf("%s is taken with a byte too many", name)
		}
	}
	if _, _, _, err := readFrame(bufio.NewReader(bytes.NewReader([]byte{255, 255, 255, 255, 1})), nil); err == nil {
		t.Error("a frame of 4 GiB is begun")
	}
}
