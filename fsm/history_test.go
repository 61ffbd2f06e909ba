package fsm

import (
	"fmt"
	"testing"

	"github.com/netquorum/netquorum"
)

func TestHistorySaysWhatChanged(t *testing.T) {
	s := small(t)
	s = accept(t, s, Transaction{
		ID: "x", Actor: "ada", Trace: 7, Time: 42,
		Puts:    []Put{{Document: record("note", "2")}, {Document: record("new", "1")}, {Document: group()}},
		Deletes: []Delete{{Key: key(netquorum.KindVirtualServer, "WEB")}},
	})
	for _, s := range []*State{s, reload(t, s)} {
		var got []Change
		for c := range s.History(2, 0) {
			got = append(got, c)
		}
		if len(got) != 1 || got[0].Revision != 2 || got[0].Actor != "ada" || got[0].Trace != 7 || got[0].Time != 42 || got[0].ID != "x" {
			t.Fatalf("%+v", got)
		}
		said := ""
		for _, d := range got[0].Documents {
			said += fmt.Sprintf("%s %s %s\n", d.Key, shown(d.Before), shown(d.After))
		}
		const want = "Record/note 1:{\"a\":1} 2:2\nRecord/new - 2:1\nVirtualServer/web 1:VirtualServer -\n"
		if said != want {
			t.Errorf("documents:\n%swant\n%s", said, want)
		}
	}
}

// shown is a document version in a few characters.
func shown(d *netquorum.Document) string {
	switch {
	case d == nil:
		return "-"
	case d.Spec == nil:
		return fmt.Sprintf("%d:left out", d.Revision)
	}
	if r, ok := d.Spec.(*netquorum.Record); ok {
		return fmt.Sprintf("%d:%s", d.Revision, r.Data)
	}
	return fmt.Sprintf("%d:%s", d.Revision, d.Kind)
}

func revisions(s *State, from, to netquorum.Revision) string {
	out := ""
	for c := range s.History(from, to) {
		out += fmt.Sprint(c.Revision, " ")
	}
	return out
}

func TestHistoryIsTrimmed(t *testing.T) {
	s := NewState()
	if s.Oldest() != 1 || revisions(s, 0, 0) != "" {
		t.Errorf("a new state has history from %d: %s", s.Oldest(), revisions(s, 0, 0))
	}
	s = accept(t, s, puts(cluster(5)))
	for i := range 200 {
		s = accept(t, s, puts(record("a", fmt.Sprint(i))))
	}
	for _, c := range []struct {
		from, to netquorum.Revision
		want     string
	}{
		{0, 0, "197 198 199 200 201 "},
		{199, 0, "199 200 201 "},
		{199, 200, "199 200 "},
		{0, 198, "197 198 "},
		{201, 0, "201 "},
		{202, 0, ""},
		{1 << 60, 0, ""},
		{5, 10, ""},
	} {
		if got := revisions(s, c.from, c.to); got != c.want {
			t.Errorf("history %d-%d: %s, want %s", c.from, c.to, got, c.want)
		}
	}
	if s.Oldest() != 197 {
		t.Errorf("oldest is %d", s.Oldest())
	}
	s = accept(t, s, puts(cluster(2)))
	if got := revisions(s, 0, 0); got != "201 202 " {
		t.Errorf("after asking for less: %s", got)
	}
	s = accept(t, s, puts(cluster(0)), puts(record("a", "1")))
	if got := revisions(s, 0, 0); got != "201 202 203 204 " {
		t.Errorf("after asking for the default: %s", got)
	}
	same(t, "after a snapshot", s, reload(t, s))
}

func TestHistoryIsBoundedInBytesToo(t *testing.T) {
	s := accept(t, NewState(), puts(cluster(0)))
	const size = 200 << 10
	n := maxHistoryBytes/(2*size) + 20
	for i := range n {
		d := sized("a", size+i)
		s = accept(t, s, puts(d))
	}
	if s.history.bytes > maxHistoryBytes {
		t.Errorf("the history holds %d bytes", s.history.bytes)
	}
	if kept := int(s.Revision() - s.Oldest() + 1); kept >= n || kept < maxHistoryBytes/(2*size)-2 {
		t.Errorf("%d changes are kept", kept)
	}
	same(t, "after a snapshot", s, reload(t, s))
}

// A queue that two others were made of must serve both.
func TestQueueVersionsDoNotDisturbEachOther(t *testing.T) {
	var base queue[int]
	for i := range 100 {
		base = base.append(i)
	}
	base = base.trim(30)
	a, b := base, base
	for i := range 200 {
		a, b = a.append(1000+i), b.append(2000+i)
	}
	for i, c := range []struct {
		q    queue[int]
		from int
	}{{a, 1000}, {b, 2000}} {
		if c.q.len() != 270 {
			t.Fatalf("queue %d has %d values", i, c.q.len())
		}
		n := 0
		for v := range c.q.all(0) {
			want := 30 + n
			if n >= 70 {
				want = c.from + n - 70
			}
			if v != want {
				t.Fatalf("queue %d: value %d is %d, want %d", i, n, v, want)
			}
			n++
		}
	}
	if q := base.trim(base.len()); q.len() != 0 || q.append(5).at(0) != 5 {
		t.Error("a queue trimmed to nothing does not start again")
	}
}
