package netquorum

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestADraftIsChangesOneAfterAnother: a draft that is put to, whatever of it is for
// Change, comes to the same as Change alone, and neither what it began as nor what
// it was in between is touched by what follows.
func TestADraftIsChangesOneAfterAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Config{}
		if rapid.Bool().Draw(t, "cluster") {
			var problems Problems
			if want, problems = want.Change([]Document{{Kind: KindCluster, Name: "acme", Spec: &Cluster{MAC: MAC{0, 7}}}}, nil); len(problems) > 0 {
				t.Fatal(problems)
			}
		}
		type version struct {
			c    Config
			text string
		}
		versions := []version{{want, dump(t, want)}}
		draft := want.Draft()
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			puts, deletes := drawEdit(t, want)
			if rapid.IntRange(0, 2).Draw(t, "one record") > 0 {
				puts, deletes = []Document{drawRecord(t)}, nil
			}
			next, problems := want.Change(puts, deletes)
			done := len(puts) == 1 && len(deletes) == 0 && draft.Put(puts[0])
			if done && len(problems) > 0 {
				t.Fatalf("what is put breaks rules: %v", problems)
			}
			if !done {
				if len(puts) == 1 && len(deletes) == 0 && len(problems) == 0 && puts[0].Kind == KindRecord {
					t.Fatal("a record is not put")
				}
				got, its := draft.Config().Change(puts, deletes)
				if its.Error() != problems.Error() {
					t.Fatalf("the draft is refused a change for %v, want %v", its, problems)
				}
				if len(its) == 0 {
					draft.Set(got)
				}
			}
			want = next
			for _, d := range puts {
				is, ok := draft.Get(d.Kind, strings.ToUpper(d.Name))
				was, had := want.Get(d.Kind, d.Name)
				if ok != had || is != was {
					t.Fatalf("the draft has %v, want %v", is, was)
				}
			}
			name, spec, ok := draft.Cluster()
			if wantName, wantSpec, has := want.Cluster(); name != wantName || spec != wantSpec || ok != has {
				t.Fatalf("the draft's cluster is %q, want %q", name, wantName)
			}
			if rapid.IntRange(0, 4).Draw(t, "look") == 0 {
				versions = append(versions, version{draft.Config(), dump(t, want)})
			}
		}
		versions = append(versions, version{draft.Config(), dump(t, want)})
		if got := draft.Config(); got.Hash() != want.Hash() || got.Len() != want.Len() || !slices.Equal(indexes(got), indexes(want)) {
			t.Fatal("the draft has come to something else")
		}
		for i, v := range versions {
			if got := dump(t, v.c); got != v.text {
				t.Fatalf("version %d is\n%s\nand was\n%s", i, got, v.text)
			}
		}
	})
}

func drawRecord(t *rapid.T) Document {
	d := Document{Kind: KindRecord, Name: rapid.StringMatching(`[ab]{1,3}(/[AB]{1,2})?`).Draw(t, "record"), Spec: &Record{Type: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "type")}}
	if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
		d.Spec = &Record{Data: []byte("{")}
	}
	return d
}

func dump(t *rapid.T, c Config) string {
	var out bytes.Buffer
	for d := range c.Documents() {
		text, err := d.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	return out.String()
}

// TestADraftWritesInPlace: what one change has copied of the tree, the next one does
// not copy again.
func TestADraftWritesInPlace(t *testing.T) {
	c := crowd(t, 1000)
	var records []Document
	for i := range 20 {
		records = append(records, crowdRecord(7*i, 10))
	}
	together := testing.AllocsPerRun(10, func() {
		d := c.Draft()
		for _, r := range records {
			d.Put(r)
		}
		d.Config()
	})
	apart := testing.AllocsPerRun(10, func() {
		for _, r := range records {
			d := c.Draft()
			d.Put(r)
			d.Config()
		}
	})
	if together > 0.7*apart {
		t.Errorf("twenty records put together take %.0f allocations, and %.0f apart", together, apart)
	}
}

// BenchmarkDraft puts records one after another, of which so many make a
// configuration.
func BenchmarkDraft(b *testing.B) {
	c := crowd(b, 10_000)
	for _, n := range []int{1, 20} {
		b.Run(map[int]string{1: "each by itself", 20: "twenty at once"}[n], func(b *testing.B) {
			b.ReportAllocs()
			i, draft := 0, c.Draft()
			for b.Loop() {
				if i++; i%n == 0 {
					draft = draft.Config().Draft()
				}
				if !draft.Put(crowdRecord(i*7%5000, 200)) {
					b.Fatal("not put")
				}
			}
		})
	}
}
