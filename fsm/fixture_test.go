package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
)

// The documents that most tests use. They keep every rule of the root package.

func document(name string, spec netquorum.Spec) netquorum.Document {
	return netquorum.Document{Kind: spec.Kind(), Name: name, Spec: spec}
}

func cluster(history int) netquorum.Document {
	return document("acme", &netquorum.Cluster{MAC: netquorum.MAC{0, 7, 0x34, 4, 0x12, 0xe}, History: history})
}

func group() netquorum.Document { return document("main", &netquorum.FilerGroup{}) }

func filer(name string) netquorum.Document {
	return document(name, &netquorum.Filer{Group: "main"})
}

func server(name string) netquorum.Document {
	return document(name, &netquorum.VirtualServer{Group: "main"})
}

func placement(name, on string) netquorum.Document {
	return document(name, &netquorum.Placement{Filer: on, Epoch: 1})
}

func member(name, id string) netquorum.Document {
	return document(name, &netquorum.Member{ID: netquorum.FilerID(id)})
}

func record(name, data string) netquorum.Document {
	return document(name, &netquorum.Record{Type: "test", Data: json.RawMessage(data)})
}

// sized returns a record whose data has so many bytes.
func sized(name string, size int) netquorum.Document {
	return record(name, `"`+strings.Repeat("x", size-2)+`"`)
}

func puts(docs ...netquorum.Document) Transaction {
	t := Transaction{Actor: "root", Time: 1000}
	for _, d := range docs {
		t.Puts = append(t.Puts, Put{Document: d})
	}
	return t
}

func deletes(keys ...netquorum.Key) Transaction {
	t := Transaction{Actor: "root", Time: 1000}
	for _, k := range keys {
		t.Deletes = append(t.Deletes, Delete{Key: k})
	}
	return t
}

func (t Transaction) withID(id string) Transaction { t.ID = id; return t }
func (t Transaction) bySystem() Transaction        { t.System = true; return t }

func at(r netquorum.Revision) *netquorum.Revision { return &r }

func key(kind netquorum.Kind, name string) netquorum.Key {
	return netquorum.Key{Kind: kind, Name: name}
}

// apply applies one entry with the transactions.
func apply(t testing.TB, s *State, ts ...Transaction) (*State, []Result) {
	t.Helper()
	entry, err := EncodeEntry(ts)
	if err != nil {
		t.Fatalf("encode entry: %v", err)
	}
	next, results, err := Apply(s, s.Index()+1, entry)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return next, results
}

// accept applies the transactions in one entry; none may be refused.
func accept(t testing.TB, s *State, ts ...Transaction) *State {
	t.Helper()
	next, results := apply(t, s, ts...)
	for i, r := range results {
		if r.Refusal != nil {
			t.Fatalf("transaction %d was refused: %v", i, r.Refusal)
		}
	}
	return next
}

// small is a cluster with two filers, a server and a record, at revision 1.
func small(t testing.TB) *State {
	t.Helper()
	return accept(t, NewState(), puts(cluster(0), group(), filer("filer1"), filer("filer2"), server("web"), record("note", `{"a":1}`)))
}

func snapshot(t fataler, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := EncodeSnapshot(&b, s); err != nil {
		t.Fatalf("encode snapshot: %v", err)
	}
	return b.Bytes()
}

// reload sends the state through a snapshot.
func reload(t fataler, s *State) *State {
	t.Helper()
	next, err := DecodeSnapshot(bytes.NewReader(snapshot(t, s)))
	if err != nil {
		t.Fatalf("decode snapshot: %v", err)
	}
	return next
}

// same fails the test unless two states are the same in every respect.
func same(t testing.TB, what string, a, b *State) {
	t.Helper()
	if a.Hash() != b.Hash() {
		t.Errorf("%s: hashes differ: %x, %x", what, a.Hash(), b.Hash())
	}
	if a.DocumentsHash() != b.DocumentsHash() || a.Revision() != b.Revision() || a.Index() != b.Index() || a.Oldest() != b.Oldest() {
		t.Errorf("%s: %+v, %+v", what, a.Summary(), b.Summary())
	}
	if !bytes.Equal(snapshot(t, a), snapshot(t, b)) {
		t.Errorf("%s: snapshots differ", what)
	}
}

// story is a log that uses everything that a log can hold.
func story() [][]Transaction {
	log := [][]Transaction{
		{puts(cluster(6), group(), filer("filer1"), filer("filer2"))},
		{puts(server("web"), record("note", `{"a": 1}`)).withID("first"), puts(record("other", `[1,2]`)).withID("second")},
		{puts(placement("web", "filer1"), member("filer1", "7f2c")).bySystem()},
		{puts(record("note", `{"a":2}`)).withID("first")}, // a duplicate
		{puts(record("note", `{"a":1}`)).withID("third")}, // changes nothing
		{deletes(key(netquorum.KindRecord, "none")).withID("refused")},
		{puts(record("NOTE", `{"a":3}`)), deletes(key(netquorum.KindRecord, "other")), puts(record("other", `"again"`))},
		{{}},                               // a transaction without documents
		{puts(placement("web", "filer1"))}, // not the cluster itself
	}
	for i := range 8 {
		log = append(log, []Transaction{puts(record("note", fmt.Sprintf("%d", i))).withID(fmt.Sprint("loop", i))})
	}
	log = append(log, []Transaction{puts(cluster(3))})
	return log
}

// A fataler is a testing.TB or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}
