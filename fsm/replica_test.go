package fsm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
	"pgregory.net/rapid"
)

// Two filers apply one random log. The first does so in one go; the second is
// sent through a snapshot now and then, groups the same, and must come out the
// same. A naive model says what each transaction should have done.
func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		a, b := NewState(), NewState()
		var ids []string
		for n := range rapid.IntRange(1, 40).Draw(t, "entries") {
			ts := rapid.SliceOfN(transactions(ids), 1, 4).Draw(t, "entry")
			if n == 0 {
				ts[0] = puts(cluster(7)).withID("first")
			}
			for _, tx := range ts {
				ids = append(ids, tx.ID)
			}
			if rapid.IntRange(0, 4).Draw(t, "snapshot") == 0 {
				b = reload(t, b)
			}
			index := a.Index() + uint64(rapid.IntRange(1, 3).Draw(t, "gap"))
			entry, err := EncodeEntry(ts)
			if err != nil {
				t.Fatal(err)
			}
			var ra, rb []Result
			if a, ra, err = Apply(a, index, entry); err != nil {
				t.Fatal(err)
			}
			if b, rb, err = Apply(b, index, entry); err != nil {
				t.Fatal(err)
			}
			for i, tx := range ts {
				if x, y := shownResult(ra[i]), shownResult(rb[i]); x != y {
					t.Fatalf("one filer says %s, the other %s", x, y)
				}
				if want := m.apply(tx); shownResult(want) != shownResult(ra[i]) {
					t.Fatalf("%+v\ngot  %s\nwant %s", tx, shownResult(ra[i]), shownResult(want))
				}
			}
			if a.Hash() != b.Hash() {
				t.Fatalf("hashes differ after entry %d", index)
			}
		}
		if x, y := snapshotText(t, a), snapshotText(t, b); x != y {
			t.Fatal("snapshots differ at the end")
		}
		m.compare(t, a)
	})
}

func snapshotText(t *rapid.T, s *State) string {
	var b strings.Builder
	if err := EncodeSnapshot(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// shownResult leaves out what the model does not foretell: the messages.
func shownResult(r Result) string {
	code := RefusalCode("accepted")
	if r.Refusal != nil {
		code = r.Refusal.Code
	}
	return fmt.Sprintf("revision %d, changed %d, %s, duplicate %v", r.Revision, r.Changed, code, r.Duplicate)
}

// transactions draws puts and deletes of few names, so that they meet often.
func transactions(ids []string) *rapid.Generator[Transaction] {
	return rapid.Custom(func(t *rapid.T) Transaction {
		tx := Transaction{Actor: "rapid", Time: rapid.Int64().Draw(t, "time")}
		tx.ID = rapid.StringMatching(`([0-9a-f]{8})?`).Draw(t, "id")
		if len(ids) > 0 && rapid.IntRange(0, 5).Draw(t, "again") == 0 {
			tx.ID = rapid.SampledFrom(ids).Draw(t, "used id")
		}
		name := rapid.SampledFrom([]string{"a", "A", "b", "c", "d"})
		precondition := rapid.SampledFrom([]*netquorum.Revision{nil, nil, nil, at(0), at(1), at(2), at(3)})
		for range rapid.IntRange(0, 3).Draw(t, "puts") {
			tx.Puts = append(tx.Puts, Put{
				Document:     record(name.Draw(t, "name"), rapid.SampledFrom([]string{"", "1", `{"x": 2}`, `{"x":2}`}).Draw(t, "data")),
				IfRevision:   precondition.Draw(t, "if"),
				MustNotExist: rapid.IntRange(0, 5).Draw(t, "new") == 0,
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "deletes") {
			tx.Deletes = append(tx.Deletes, Delete{key(netquorum.KindRecord, name.Draw(t, "name")), precondition.Draw(t, "if")})
		}
		if rapid.IntRange(0, 9).Draw(t, "cluster") == 0 {
			tx.Puts = append(tx.Puts, Put{Document: cluster(rapid.IntRange(1, 9).Draw(t, "history"))})
		}
		return tx
	})
}

// A model does what a State does with a map and a slice.
type model struct {
	docs     map[netquorum.Key]modelDoc // by folded key
	requests map[string]Result
	revision netquorum.Revision
	history  []netquorum.Revision
	limit    int
}

type modelDoc struct {
	name, says string
	revision   netquorum.Revision
}

func newModel() *model {
	return &model{docs: map[netquorum.Key]modelDoc{}, requests: map[string]Result{}}
}

func (m *model) apply(tx Transaction) Result {
	if r, ok := m.requests[tx.ID]; ok {
		r.Duplicate = true
		return r
	}
	r := m.execute(tx)
	if tx.ID != "" {
		m.requests[tx.ID] = r
	}
	return r
}

func (m *model) execute(tx Transaction) Result {
	refused := Result{Revision: m.revision}
	refuse := func(code RefusalCode) {
		if refused.Refusal == nil {
			refused.Refusal = &Refusal{Code: code}
		}
	}
	seen := map[netquorum.Key]bool{}
	once := func(k netquorum.Key) {
		if seen[k] {
			refuse(RefusedInvalid)
		}
		seen[k] = true
	}
	for _, p := range tx.Puts {
		k := p.Document.Key().Fold()
		once(k)
		old, exists := m.docs[k]
		if p.MustNotExist && exists {
			refuse(RefusedExists)
		}
		if p.IfRevision != nil && *p.IfRevision != old.revision {
			refuse(RefusedStaleRevision)
		}
	}
	for _, d := range tx.Deletes {
		k := d.Key.Fold()
		once(k)
		old, exists := m.docs[k]
		if !exists && (d.IfRevision == nil || *d.IfRevision == 0) {
			refuse(RefusedNotFound)
		} else if d.IfRevision != nil && *d.IfRevision != old.revision {
			refuse(RefusedStaleRevision)
		}
	}
	if refused.Refusal != nil {
		return refused
	}
	changed := 0
	for _, p := range tx.Puts {
		says := modelSays(p.Document)
		if old, ok := m.docs[p.Document.Key().Fold()]; ok && old.name == p.Document.Name && old.says == says {
			continue
		}
		changed++
		m.docs[p.Document.Key().Fold()] = modelDoc{p.Document.Name, says, m.revision + 1}
		if c, ok := p.Document.Spec.(*netquorum.Cluster); ok {
			m.limit = c.History
		}
	}
	for _, d := range tx.Deletes {
		changed++
		delete(m.docs, d.Key.Fold())
	}
	if changed > 0 {
		m.revision++
		m.history = append(m.history, m.revision)
		m.history = m.history[max(0, len(m.history)-m.limit):]
	}
	return Result{Revision: m.revision, Changed: changed}
}

func modelSays(d netquorum.Document) string {
	if r, ok := d.Spec.(*netquorum.Record); ok {
		return strings.ReplaceAll(string(r.Data), " ", "")
	}
	text, _ := json.Marshal(d.Spec)
	return string(text)
}

func (m *model) compare(t *rapid.T, s *State) {
	for d := range s.Config().Documents() {
		want, ok := m.docs[d.Key().Fold()]
		if got := (modelDoc{d.Name, modelSays(d), d.Revision}); !ok || got != want {
			t.Errorf("%s is %+v, want %+v", d.Key(), got, want)
		}
	}
	if n := s.Config().Len(); n != len(m.docs) {
		t.Errorf("%d documents, want %d", n, len(m.docs))
	}
	var got []netquorum.Revision
	for c := range s.History(0, 0) {
		got = append(got, c.Revision)
	}
	if fmt.Sprint(got) != fmt.Sprint(m.history) {
		t.Errorf("history of %v, want %v", got, m.history)
	}
}
