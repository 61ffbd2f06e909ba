package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
)

func TestRestoreReplacesWhatUsersWrite(t *testing.T) {
	s := small(t)
	s = accept(t, s, puts(placement("web", "filer1"), member("filer1", "7f2c"), member("filer2", "91aa")).bySystem().withID("old"))
	s = accept(t, s, puts(server("mail")), puts(placement("mail", "filer2")).bySystem())
	prev := s.Hash()

	docs := []netquorum.Document{cluster(0), group(), filer("filer1"), filer("filer2"), server("mail"), record("fresh", "1")}
	next, refusal := FromDocuments(s, docs, Origin{"ada", 7, 99})
	if refusal != nil {
		t.Fatal(refusal)
	}
	if s.Hash() != prev {
		t.Error("the state before the restore has changed")
	}
	if next.Revision() != s.Revision()+1 || next.Index() != s.Index() {
		t.Errorf("revision %d, index %d", next.Revision(), next.Index())
	}
	want := map[string]netquorum.Revision{
		"Cluster/acme": 5, "FilerGroup/main": 5, "Filer/filer1": 5, "Filer/filer2": 5, "VirtualServer/mail": 5, "Record/fresh": 5,
		"Member/filer1": 2, "Member/filer2": 2, "Placement/mail": 4,
	}
	for d := range next.Config().Documents() {
		if want[d.Key().String()] != d.Revision {
			t.Errorf("%s is at revision %d, want %d", d.Key(), d.Revision, want[d.Key().String()])
		}
		delete(want, d.Key().String())
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if r, ok := next.Result("old"); !ok || r.Revision != 2 {
		t.Error("a result on record is gone")
	}
	var last Change
	for c := range next.History(0, 0) {
		last = c
	}
	if !last.Restore || last.Abridged || last.Actor != "ada" || last.Trace != 7 || last.Time != 99 || next.Oldest() != 1 {
		t.Errorf("the history ends with %+v", last)
	}
	said := ""
	for _, d := range last.Documents {
		said += fmt.Sprintf("%s %s %s\n", d.Key, shown(d.Before), shown(d.After))
	}
	for _, line := range []string{
		"Record/fresh - 5:1\n", "Record/note 1:{\"a\":1} -\n", "VirtualServer/web 1:VirtualServer -\n",
		"Placement/web 2:Placement -\n", "VirtualServer/mail 3:VirtualServer 5:VirtualServer\n",
	} {
		if !strings.Contains(said, line) {
			t.Errorf("the change lacks %q:\n%s", line, said)
		}
	}
	same(t, "after a snapshot", next, reload(t, next))

	// Filers go on from there alike.
	a, b := accept(t, next, puts(record("after", "1"))), accept(t, reload(t, next), puts(record("after", "1")))
	same(t, "after the restore", a, b)
}

func TestALargeRestoreIsAbridgedInTheHistory(t *testing.T) {
	docs := []netquorum.Document{cluster(0)}
	for i := range 30_000 { // so that also the list of keys is a large item of a snapshot
		docs = append(docs, sized(fmt.Sprintf("r%d", i), 64))
	}
	s, refusal := FromDocuments(small(t), docs, Origin{Actor: "ada", Time: 1})
	if refusal != nil {
		t.Fatal(refusal)
	}
	var last Change
	for c := range s.History(0, 0) {
		last = c
	}
	if !last.Abridged || len(last.Documents) != len(docs)+5 {
		t.Errorf("abridged %v, %d documents", last.Abridged, len(last.Documents))
	}
	for _, d := range last.Documents {
		if d.Before == nil && d.After == nil || d.Before != nil && d.Before.Spec != nil || d.After != nil && d.After.Spec != nil {
			t.Fatalf("%s: %v, %v", d.Key, d.Before, d.After)
		}
	}
	if s.history.bytes > maxRestoreBodies {
		t.Errorf("the history counts %d bytes", s.history.bytes)
	}
	same(t, "after a snapshot", s, reload(t, s))
	whole := snapshot(t, s)
	if _, err := DecodeSnapshot(bytes.NewReader(whole[:len(whole)-1000])); !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut within the change: %v", err)
	}
}

func TestRestoresAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		docs []netquorum.Document
		code RefusalCode
		says string
	}{
		{"without a cluster", []netquorum.Document{record("a", "1")}, RefusedInvalid, ""},
		{"with a document twice", []netquorum.Document{cluster(0), record("a", "1"), record("A", "2")}, RefusedInvalid, "Record/A"},
		{"with documents of the cluster's own", []netquorum.Document{cluster(0), member("filer1", "x")}, RefusedMachineKind, "Member/filer1"},
		{"with a record that is not JSON", []netquorum.Document{cluster(0), record("a", "{")}, RefusedInvalid, "Record/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, refusal := FromDocuments(small(t), c.docs, Origin{Actor: "ada", Time: 1})
			if refusal == nil || next != nil {
				t.Fatal("accepted")
			}
			if refusal.Code != c.code || !strings.Contains(refusal.Error(), c.says) {
				t.Errorf("%s: %v", refusal.Code, refusal)
			}
		})
	}
}
