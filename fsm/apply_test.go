package fsm

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/netquorum/netquorum"
)

func TestTransactionsAreRefused(t *testing.T) {
	noteKey := key(netquorum.KindRecord, "note")
	put := func(d netquorum.Document, rev *netquorum.Revision, mustNotExist bool) Transaction {
		return Transaction{Puts: []Put{{Document: d, IfRevision: rev, MustNotExist: mustNotExist}}}
	}
	del := func(k netquorum.Key, rev netquorum.Revision) Transaction {
		return Transaction{Deletes: []Delete{{Key: k, IfRevision: &rev}}}
	}
	for _, c := range []struct {
		name     string
		t        Transaction
		code     RefusalCode
		problems int
		says     string
	}{
		{"a put of a document that has changed since", put(record("note", "1"), at(7), false), RefusedStaleRevision, 1, "Record/note: is at revision 1, not 7"},
		{"a put of a document that is gone", put(record("gone", "1"), at(7), false), RefusedStaleRevision, 1, "does not exist"},
		{"a put at revision 0 of a document that exists", put(record("note", "1"), at(0), false), RefusedStaleRevision, 1, "exists at revision 1"},
		{"a put that must create a document that exists", put(record("note", "1"), nil, true), RefusedExists, 1, "exists already, at revision 1"},
		{"the same whatever the case of the name", put(record("Note", "1"), nil, true), RefusedExists, 1, "exists already"},
		{"a delete of a document that does not exist", deletes(key(netquorum.KindRecord, "gone")), RefusedNotFound, 1, "Record/gone: does not exist"},
		{"a delete at revision 0", del(key(netquorum.KindRecord, "gone"), 0), RefusedNotFound, 1, "does not exist"},
		{"a delete of a document that has changed since", del(noteKey, 3), RefusedStaleRevision, 1, "is at revision 1, not 3"},
		{"a delete at a revision of a document that is gone", del(key(netquorum.KindRecord, "gone"), 3), RefusedStaleRevision, 1, "does not exist"},
		{"a user's put of a machine kind", puts(placement("web", "filer1")), RefusedMachineKind, 1, "Placement/web"},
		{"a user's delete of a machine kind", deletes(key(netquorum.KindMember, "filer1")), RefusedMachineKind, 2, "written by the cluster itself"},
		{"a document put twice", puts(record("a", "1"), record("A", "2")), RefusedInvalid, 1, "more than once"},
		{"a document put and deleted", Transaction{Puts: []Put{{Document: record("note", "5")}}, Deletes: []Delete{{Key: noteKey}}}, RefusedInvalid, 1, "more than once"},
		{"two broken preconditions, both named", Transaction{
			Puts:    []Put{{Document: record("note", "1"), IfRevision: at(9)}},
			Deletes: []Delete{{Key: key(netquorum.KindRecord, "gone")}},
		}, RefusedStaleRevision, 2, "Record/gone"},
		{"a transaction that breaks a rule of the configuration", puts(document("x", &netquorum.VirtualServer{Group: "no-such-group"})), RefusedInvalid, 1, "no-such-group"},
		{"a delete of what others refer to", deletes(key(netquorum.KindFilerGroup, "main")), RefusedInvalid, 0, "main"},
		{"a delete of the cluster", deletes(key(netquorum.KindCluster, "acme")), RefusedInvalid, 0, ""},
		{"a transaction that does not fit an entry", puts(sized("a", 200<<10), sized("b", 200<<10), sized("c", 200<<10)), RefusedTooLarge, 0, "at most 524288"},
		{"a request id without bounds", puts(record("a", "1")).withID(strings.Repeat("x", MaxID+1)), RefusedInvalid, 0, "request id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := small(t)
			after, results := apply(t, before, c.t)
			r := results[0]
			if r.Refusal == nil {
				t.Fatalf("accepted: %+v", r)
			}
			if r.Refusal.Code != c.code {
				t.Errorf("refused as %s, want %s: %v", r.Refusal.Code, c.code, r.Refusal)
			}
			if c.problems > 0 && len(r.Refusal.Problems) != c.problems {
				t.Errorf("%d problems, want %d: %v", len(r.Refusal.Problems), c.problems, r.Refusal)
			}
			if !strings.Contains(r.Refusal.Error(), c.says) {
				t.Errorf("%q does not say %q", r.Refusal.Error(), c.says)
			}
			if r.Revision != 1 || r.Changed != 0 || after.DocumentsHash() != before.DocumentsHash() {
				t.Errorf("a refused transaction changed something: %+v", r)
			}
			if _, dry := DryRun(before, c.t); dry.Refusal == nil || dry.Refusal.Error() != r.Refusal.Error() {
				t.Errorf("a dry run says %v, applying says %v", dry.Refusal, r.Refusal)
			}
		})
	}
}

func TestTheFirstTransactionBringsTheCluster(t *testing.T) {
	s, results := apply(t, NewState(), puts(record("a", "1")))
	if results[0].Refusal == nil || results[0].Refusal.Code != RefusedInvalid {
		t.Fatalf("a record without a cluster: %+v", results[0])
	}
	if s = accept(t, s, puts(cluster(0), record("a", "1"))); s.Revision() != 1 {
		t.Errorf("revision %d after the first accepted transaction", s.Revision())
	}
}

func TestRevisionsCountChanges(t *testing.T) {
	s := small(t)
	s, results := apply(t, s,
		puts(record("a", "1"), record("b", "1")),
		puts(record("a", "1")),                     // says what is there
		puts(record("a", " 1 ")),                   // white space is no change
		puts(record("a", "2"), record("b", "1")),   // one of two
		deletes(key(netquorum.KindRecord, "none")), // refused
		puts(record("A", "2")),                     // another spelling is a change
		deletes(key(netquorum.KindRecord, "b")),
	)
	want := []Result{{Revision: 2, Changed: 2}, {Revision: 2}, {Revision: 2}, {Revision: 3, Changed: 1}, {Revision: 3}, {Revision: 4, Changed: 1}, {Revision: 5, Changed: 1}}
	for i, r := range results {
		r.Refusal = nil
		if r != want[i] {
			t.Errorf("transaction %d: %+v, want %+v", i, r, want[i])
		}
	}
	if s.Revision() != 5 || s.Index() != 2 {
		t.Errorf("revision %d, index %d", s.Revision(), s.Index())
	}
	a, _ := s.Config().Get(netquorum.KindRecord, "a")
	if a.Revision != 4 || a.Name != "A" {
		t.Errorf("the record is %+v", a)
	}
	if group, _ := s.Config().Get(netquorum.KindFilerGroup, "main"); group.Revision != 1 {
		t.Errorf("an untouched document is at revision %d", group.Revision)
	}
}

func TestDuplicatesGetTheResultOnRecord(t *testing.T) {
	s := small(t)
	s, first := apply(t, s, puts(record("a", "1")).withID("one"), deletes(key(netquorum.KindRecord, "none")).withID("two"))
	s = accept(t, s, puts(record("a", "2"), record("none", "1")))
	for _, s := range []*State{s, reload(t, s)} {
		next, again := apply(t, s, puts(record("a", "3")).withID("one"), deletes(key(netquorum.KindRecord, "none")).withID("two"))
		for i, r := range again {
			if !r.Duplicate || r.Revision != first[i].Revision || r.Changed != first[i].Changed {
				t.Errorf("request %d: %+v, want %+v", i, r, first[i])
			}
			if (r.Refusal == nil) != (first[i].Refusal == nil) || r.Refusal != nil && r.Refusal.Error() != first[i].Refusal.Error() {
				t.Errorf("request %d: refusal %v, want %v", i, r.Refusal, first[i].Refusal)
			}
		}
		if next.Hash() != s.Hash() {
			t.Error("a duplicate changed the state")
		}
		if r, ok := s.Result("one"); !ok || r.Revision != 2 {
			t.Errorf("result on record: %+v, %v", r, ok)
		}
	}
	if _, ok := s.Result("three"); ok {
		t.Error("a result on record of a request that never was")
	}
}

func TestAnEndlessRefusalIsStoredShort(t *testing.T) {
	many := Transaction{ID: "many"}
	for i := range 100 {
		many.Deletes = append(many.Deletes, Delete{Key: key(netquorum.KindRecord, fmt.Sprint("none", i))})
	}
	s, results := apply(t, small(t), many)
	if n := len(results[0].Refusal.Problems); n != 100 {
		t.Errorf("the answer has %d problems", n)
	}
	_, results = apply(t, s, many)
	if n := len(results[0].Refusal.Problems); n != maxStoredProblems {
		t.Errorf("the answer on record has %d problems", n)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	s := small(t)
	before := snapshot(t, s)
	config, r := DryRun(s, puts(record("a", "1")).withID("x"))
	if r.Refusal != nil || r.Revision != 2 || r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	if _, ok := config.Get(netquorum.KindRecord, "a"); !ok {
		t.Error("the configuration of a dry run lacks the new record")
	}
	if string(before) != string(snapshot(t, s)) {
		t.Error("a dry run changed the state")
	}
	if _, r = DryRun(s, Transaction{Level: Level + 1}); r.Refusal == nil || r.Refusal.Code != RefusedFeatureLevel {
		t.Errorf("a level that this version does not have: %+v", r)
	}
	if _, r = DryRun(s, puts(record("a", "{"))); r.Refusal == nil || r.Refusal.Code != RefusedInvalid {
		t.Errorf("a record that is not JSON: %+v", r)
	}
	if _, r = DryRun(s, puts(netquorum.Document{Kind: "Nonsense", Name: "x"})); r.Refusal == nil || r.Refusal.Code != RefusedInvalid {
		t.Errorf("an unknown kind: %+v", r)
	}
}

func TestWhatCannotBeDecodedStopsTheFiler(t *testing.T) {
	s := small(t)
	good, err := EncodeEntry([]Transaction{puts(record("a", "1"))})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := EncodeEntry([]Transaction{puts(record("a", "1")), {Level: Level + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		index uint64
		entry []byte
		want  error
	}{
		{"an empty entry", 9, nil, ErrCorrupt},
		{"an entry of a newer format", 9, append([]byte{2}, good[1:]...), ErrUnsupported},
		{"an entry of an unknown kind", 9, append([]byte{1, 9}, good[2:]...), ErrUnsupported},
		{"an entry cut short", 9, good[:len(good)-1], ErrCorrupt},
		{"an entry with something behind it", 9, append(append([]byte{}, good...), 0), ErrCorrupt},
		{"a feature level that this version lacks", 9, newer, ErrUnsupported},
		{"an index that was applied already", s.Index(), good, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, results, err := Apply(s, c.index, c.entry)
			if err == nil || next != nil || results != nil {
				t.Fatalf("applied: %v", results)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v is no %v", err, c.want)
			}
		})
	}
}

// A log applied twice, and a log with a snapshot at any index, leave the same.
func TestASnapshotAnywhereInTheLogChangesNothing(t *testing.T) {
	log := story()
	run := func(cut int) (*State, string) {
		s := NewState()
		var said strings.Builder
		for i, ts := range log {
			if i == cut {
				s = reload(t, s)
			}
			var results []Result
			s, results = apply(t, s, ts...)
			for _, r := range results {
				fmt.Fprintf(&said, "%d %d %v %v\n", r.Revision, r.Changed, r.Duplicate, r.Refusal)
			}
		}
		return s, said.String()
	}
	want, wantSaid := run(-1)
	for cut := -1; cut < len(log); cut++ {
		got, said := run(cut)
		same(t, fmt.Sprintf("snapshot before entry %d", cut), want, got)
		if said != wantSaid {
			t.Errorf("snapshot before entry %d: results\n%s\nwant\n%s", cut, said, wantSaid)
		}
	}
	same(t, "snapshot at the end", want, reload(t, want))
}

func TestReadersAreNotDisturbed(t *testing.T) {
	var current atomic.Pointer[State]
	s := small(t)
	current.Store(s)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				s := current.Load()
				n := netquorum.Revision(0)
				for c := range s.History(0, 0) {
					n = c.Revision
				}
				if n != s.Revision() {
					t.Errorf("the history ends at revision %d, the state is at %d", n, s.Revision())
				}
				if err := EncodeSnapshot(io.Discard, s); err != nil {
					t.Error(err)
				}
				if again := current.Load(); again == s && again.Hash() != s.Hash() {
					t.Error("a state changed under a reader")
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 400 {
		s = accept(t, s, puts(record(fmt.Sprint("r", i%50), fmt.Sprint(i))).withID(fmt.Sprint(i)))
		current.Store(s)
	}
	close(done)
	readers.Wait()
}

// What one document's transaction costs must not grow with the state. Time is
// for the benchmark; allocations can be counted on any machine.
func TestALargeStateIsNoDearerToChange(t *testing.T) {
	cost := func(documents int) float64 {
		docs := []netquorum.Document{cluster(0)}
		for i := range documents {
			docs = append(docs, record(fmt.Sprint("r", i), "0"))
		}
		s, refusal := FromDocuments(NewState(), docs, Origin{Actor: "test", Time: 1})
		if refusal != nil {
			t.Fatal(refusal)
		}
		i := 0
		return testing.AllocsPerRun(200, func() {
			i++
			s = accept(t, s, puts(record(fmt.Sprint("r", i*7%documents), fmt.Sprint(i))).withID(fmt.Sprint("id", i)))
		})
	}
	small, large := cost(10), cost(10_000)
	if large > 1.5*small {
		t.Errorf("%.0f allocations among 10,000 documents, %.0f among 10", large, small)
	}
}

// The results on record of a busy cluster must not crowd out everything else.
func TestResultsOnRecordAreSmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var rs requests
	for i := range 2 * requestGeneration {
		rs = rs.add(fmt.Sprintf("%08x-0000-4000-8000-%012x", i*2654435761%(1<<32), i), Result{})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / (2 * requestGeneration)
	t.Logf("%.0f bytes for each result on record", each)
	if each > 250 {
		t.Errorf("%.0f bytes for each result on record", each)
	}
	runtime.KeepAlive(&rs)
}
