package netquorum

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The hash depends on the documents and on nothing else: not on the order or
// the number of changes that made them.
func TestHashDependsOnDocumentsOnly(t *testing.T) {
	want := acceptance(t)
	docs := slices.Collect(want.Documents())
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		rng.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		if got := change(t, Config{}, docs); got.Hash() != want.Hash() {
			t.Fatal("the order of the documents changes the hash")
		}
	}
	c := want
	for _, d := range docs {
		d.Revision = 9
		before := c
		c = change(t, c, []Document{d})
		if c.Hash() == before.Hash() {
			t.Errorf("the revision of %s is not in the hash", d.Key())
		}
	}
	for _, d := range docs {
		c = change(t, c, []Document{d})
	}
	if c.Hash() != want.Hash() {
		t.Error("going back to the same documents gives another hash")
	}
	if (Config{}).Hash() != [32]byte{} {
		t.Error("the empty configuration has a hash")
	}
}

// What one change costs does not grow with the number of documents. Allocations
// are counted rather than time, which depends on the machine's mood.
func TestAChangeCostsTheSameAmongMany(t *testing.T) {
	few, many := crowd(t, 10), crowd(t, 10_000)
	filer, _ := few.Get(KindFiler, "filer1")
	for _, d := range []Document{crowdRecord(0, 200), crowdServer(t, 0), filer} {
		cost := func(c Config) float64 { return testing.AllocsPerRun(20, func() { change(t, c, []Document{d}) }) }
		if a, b := cost(few), cost(many); b > 1.5*a {
			t.Errorf("changing %s takes %v allocations among 10 documents and %v among 10000", d.Key(), a, b)
		}
	}
}

func TestEqualDocuments(t *testing.T) {
	d := func(s Spec) Document { return Document{Kind: s.Kind(), Name: "a", Spec: s} }
	yes := true
	for _, tc := range []struct {
		name string
		a, b Document
		want bool
	}{
		{"the same", d(&Filer{Group: "g"}), d(&Filer{Group: "g"}), true},
		{"another revision", d(&Filer{}), Document{KindFiler, "a", 7, &Filer{}}, true},
		{"another group", d(&Filer{Group: "g"}), d(&Filer{Group: "h"}), false},
		{"another kind", d(&Filer{}), d(&FilerGroup{}), false},
		{"a name in another case", d(&Filer{}), Document{KindFiler, "A", 0, &Filer{}}, false},
		{"no list and an empty list", d(&Filer{}), d(&Filer{Interfaces: []Interface{}}), true},
		{"an option behind a pointer", d(&Filer{Interfaces: []Interface{{Name: "bond0", Bond: &Bond{LACPActive: &yes}}}}), d(&Filer{Interfaces: []Interface{{Name: "bond0", Bond: &Bond{}}}}), false},
		{"other data", d(&Record{Data: []byte("1")}), d(&Record{Data: []byte("2")}), false},
		{"no spec on one side", d(&Record{}), Document{Kind: KindRecord, Name: "a"}, false},
	} {
		if tc.a.Equal(tc.b) != tc.want || tc.b.Equal(tc.a) != tc.want {
			t.Errorf("%s: equal is %v", tc.name, !tc.want)
		}
	}
}
