package fsm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
)

var update = flag.Bool("update", false, "write the golden files of the current formats")

// golden compares with testdata/name, or writes it. A golden file of a format
// that has been released is never written again: a new format gets a new name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the encoding has changed:\n%swant\n%s", name, hex.Dump(got), hex.Dump(want))
	}
}

// everything holds a document of every kind and every field of a transaction.
func everything() []Transaction {
	all := puts(
		cluster(50), group(), filer("filer1"), server("web"), record("note", `{"a":[1,2]}`), record("empty", ""),
		document("out", &netquorum.Routes{VRF: true}), document("log", &netquorum.Service{Group: "main"}),
		member("filer1", "7f2c"), placement("web", "filer1"), document("t1", &netquorum.Token{Key: []byte{1, 2, 3}, Expires: 99}),
		document("rollout-1", &netquorum.Rollout{Phase: netquorum.RolloutDone, Revision: 7, Timeout: 15000, Cached: []string{"filer1"}, Failure: "f: no",
			Before: []json.RawMessage{json.RawMessage(`{"kind":"Service","name":"log","spec":{}}`)},
			Steps:  []netquorum.RolloutStep{{Filer: "filer1", State: netquorum.StepFailed, Attempt: 2, Interrupts: true, Servers: []string{"web"}, Reason: "no"}}}),
		document("backup", &netquorum.Application{Class: netquorum.ClassData, Ports: []netquorum.Ports{{Protocol: "tcp", Low: 10000, High: 10009}}}),
		document("strict", &netquorum.Access{Default: netquorum.Deny, Rules: []netquorum.AccessRule{{Action: netquorum.Allow, Applications: []string{"backup"}}}}),
		document("authority", &netquorum.Authority{Phase: netquorum.AuthorityUse, Current: "ab12", Made: 5, Next: "cd34", Begun: 6, Actor: "ada",
			Without: []string{"filer1"}, Revoked: []netquorum.Revocation{{ID: "9e1d", Name: "filer9", At: 4}}}),
		document("berlin", &netquorum.Partner{Endpoints: []string{"192.0.2.7"}, ClusterID: "0e9ed6ae-9c6f-4b5c-9a3b-0d9a4f3f6f10"}),
		document("s1", &netquorum.Secret{Partner: "berlin", State: netquorum.SecretUse, Key: []byte{4, 5, 6}, Made: 7}),
	).bySystem()
	all.ID, all.Actor, all.Trace, all.Time, all.Level = "4f1c-1", "ada@filer1", 1<<40, 1_700_000_000_123, 1
	all.Puts[0].MustNotExist = true
	all.Puts[1].IfRevision = at(0)
	return []Transaction{all, {
		Actor: "ada", Time: -1,
		Deletes: []Delete{{Key: key(netquorum.KindRecord, "note"), IfRevision: at(1)}, {Key: key(netquorum.KindRecord, "none")}},
	}, {}}
}

func TestEntryFormat(t *testing.T) {
	entry, err := EncodeEntry(everything())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "entry-1.golden", entry)
	covered := map[netquorum.Kind]bool{}
	for _, p := range everything()[0].Puts {
		covered[p.Document.Kind] = true
	}
	for _, k := range netquorum.Kinds {
		if kindNumbers[k] == 0 {
			t.Errorf("kind %s has no number", k)
		}
		if !covered[k] {
			t.Errorf("kind %s is not in the golden entry", k)
		}
	}
}

func TestSnapshotFormat(t *testing.T) {
	s := accept(t, NewState(), everything()[0])
	s = accept(t, s, puts(record("note", "2"), record("other", "1")), deletes(key(netquorum.KindRecord, "other")))
	s, _ = apply(t, s, deletes(key(netquorum.KindRecord, "none")).withID("refused"))
	s, refusal := FromDocuments(s, []netquorum.Document{cluster(50), group(), filer("filer1"), server("web"), record("note", "3")}, Origin{Actor: "ada", Time: 5})
	if refusal != nil {
		t.Fatal(refusal)
	}
	golden(t, "snapshot-1.golden", snapshot(t, s))
	hash := s.Hash()
	golden(t, "snapshot-1.hash.golden", []byte(hex.EncodeToString(hash[:])+"\n"))
}

// Every format that was ever released must go on being understood.
func TestOlderFormatsAreUnderstood(t *testing.T) {
	entries, _ := filepath.Glob("testdata/entry-*.golden")
	snapshots, _ := filepath.Glob("testdata/snapshot-?.golden")
	if len(entries) == 0 || len(snapshots) == 0 {
		t.Fatal("no golden files")
	}
	for _, path := range entries {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeEntry(data)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		want := everything()
		for i := range want {
			if !reflect.DeepEqual(got[i].withoutEmpty(), want[i].withoutEmpty()) {
				t.Errorf("%s: transaction %d\n%+v\nwant\n%+v", path, i, got[i], want[i])
			}
		}
	}
	for _, path := range snapshots {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := DecodeSnapshot(bytes.NewReader(data))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		want, err := os.ReadFile(strings.TrimSuffix(path, ".golden") + ".hash.golden")
		if err != nil {
			t.Fatal(err)
		}
		hash := s.Hash()
		if got := hex.EncodeToString(hash[:]); got != strings.TrimSpace(string(want)) {
			t.Errorf("%s: hash %s, want %s", path, got, want)
		}
	}
}

// withoutEmpty drops the empty data that does not survive encoding.
func (t Transaction) withoutEmpty() Transaction {
	for i, p := range t.Puts {
		if r, ok := p.Document.Spec.(*netquorum.Record); ok && len(r.Data) == 0 {
			t.Puts[i].Document.Spec = &netquorum.Record{Type: r.Type}
		}
	}
	return t
}
