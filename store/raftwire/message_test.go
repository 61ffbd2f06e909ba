package raftwire

//lint:file-ignore SA1019 Deprecated fields are sent as well: raft still fills them in.

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var update = flag.Bool("update", false, "write the golden files anew")

var header = raft.RPCHeader{ProtocolVersion: 3, ID: []byte("filer-1"), Addr: []byte("filer-1-address")}

// messages are one of each kind, with a different value in every field.
func messages() map[string]any {
	return map[string]any{
		"append-entries-request": &raft.AppendEntriesRequest{RPCHeader: header, Term: 300, Leader: []byte("leader"), PrevLogEntry: 70000, PrevLogTerm: 299, LeaderCommitIndex: 69999,
			Entries: []*raft.Log{
				{Index: 70001, Term: 300, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("extensions"), AppendedAt: time.Date(2026, 11, 21, 14, 0, 0, 123456789, time.UTC)},
				{Index: 70002, Term: 300, Type: raft.LogConfiguration},
			}},
		"append-entries-response": &raft.AppendEntriesResponse{RPCHeader: header, Term: 301, LastLog: math.MaxUint64, Success: true, NoRetryBackoff: true},
		"heartbeat":               &raft.AppendEntriesRequest{RPCHeader: header, Term: 300, Leader: []byte("leader")},
		"vote-request":            &raft.RequestVoteRequest{RPCHeader: header, Term: 302, Candidate: []byte("candidate"), LastLogIndex: 5, LastLogTerm: 6, LeadershipTransfer: true},
		"vote-response":           &raft.RequestVoteResponse{RPCHeader: header, Term: 303, Peers: []byte("peers"), Granted: true},
		"pre-vote-request":        &raft.RequestPreVoteRequest{RPCHeader: header, Term: 304, LastLogIndex: 7, LastLogTerm: 8},
		"pre-vote-response":       &raft.RequestPreVoteResponse{RPCHeader: header, Term: 305, Granted: true},
		"install-snapshot-request": &raft.InstallSnapshotRequest{RPCHeader: header, SnapshotVersion: 1, Term: 306, Leader: []byte("leader"), LastLogIndex: 9, LastLogTerm: 10,
			Peers: []byte("peers"), Configuration: []byte("configuration"), ConfigurationIndex: 11, Size: math.MaxInt64},
		"install-snapshot-response": &raft.InstallSnapshotResponse{RPCHeader: header, Term: 307, Success: true},
		"timeout-now-request":       &raft.TimeoutNowRequest{RPCHeader: header},
		"timeout-now-response":      &raft.TimeoutNowResponse{RPCHeader: header},
	}
}

// empty returns a message of the same type without content.
func empty(message any) any { return reflect.New(reflect.TypeOf(message).Elem()).Interface() }

func TestMessagesAreEncodedAsInTheGoldenFiles(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", fmt.Sprintf("%s.v%d.hex", name, Version))
			b, err := Encode(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, golden) {
				t.Errorf("encoded %x, want %x; a change of the encoding needs a new Version", b, golden)
			}
			got := empty(m)
			if err := Decode(golden, got); err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("decoded %+v, %v; want %+v", got, err, m)
			}
		})
	}
}

// TestEveryFieldIsEncoded fails when a release of raft adds a field: it fills every
// one by reflection.
func TestEveryFieldIsEncoded(t *testing.T) {
	for name, m := range messages() {
		full := empty(m)
		fill(t, reflect.ValueOf(full).Elem())
		b, err := Encode(nil, full)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := empty(m)
		if err := Decode(b, got); err != nil || !reflect.DeepEqual(got, full) {
			t.Errorf("%s: decoded %+v, %v; want %+v", name, got, err, full)
		}
	}
}

func fill(t *testing.T, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)))
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte("bytes"))
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case v.CanUint():
		v.SetUint(77)
	case v.CanInt():
		v.SetInt(78)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("a field of type %v", v.Type())
	}
}

func TestMessagesWithoutContentSurvive(t *testing.T) {
	for name, m := range messages() {
		b, err := Encode(nil, empty(m))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := empty(m)
		fill(t, reflect.ValueOf(got).Elem()) // what was there before must go
		if err := Decode(b, got); err != nil || !reflect.DeepEqual(got, empty(m)) {
			t.Errorf("%s: decoded %+v, %v", name, got, err)
		}
	}
}

func TestATruncatedMessageIsRefused(t *testing.T) {
	for name, m := range messages() {
		b, err := Encode(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		for n := range b {
			if err := Decode(slices.Clone(b[:n]), empty(m)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %d of %d bytes: %v", name, n, len(b), err)
			}
		}
		if err := Decode(append(slices.Clone(b), 0), empty(m)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: a byte more: %v", name, err)
		}
	}
}

func TestWhatCannotBeEncodedIsRefused(t *testing.T) {
	if _, err := Encode(nil, &raft.InstallSnapshotRequest{Size: -1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a negative size: %v", err)
	}
	if _, err := Encode(nil, "text"); !errors.Is(err, ErrMalformed) {
		t.Errorf("a string: %v", err)
	}
}

// TestAPromiseOfManyEntriesMakesNoRoom: 13 bytes must not cost gigabytes.
func TestAPromiseOfManyEntriesMakesNoRoom(t *testing.T) {
	b := []byte{0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := Decode(b, &raft.AppendEntriesRequest{}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("%d bytes were allocated", got)
	}
}

func FuzzDecode(f *testing.F) {
	names := []string{}
	all := messages()
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		b, _ := Encode(nil, all[name])
		f.Add(byte(i), b)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		m := empty(all[names[int(which)%len(names)]])
		if err := Decode(slices.Clone(b), m); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v does not wrap ErrMalformed", err)
			}
			return
		}
		// Whatever is understood means the same when it is sent on.
		again, err := Encode(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		second := empty(m)
		if err := Decode(again, second); err != nil || !reflect.DeepEqual(second, m) {
			t.Fatalf("%+v became %+v, %v", m, second, err)
		}
	})
}
