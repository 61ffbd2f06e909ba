package netquorum

import (
	"slices"
	"testing"
)

// A loaded configuration is the one that it was: the same documents, the same
// hash, and the same refusals of what comes next.
func TestALoadedConfigurationIsTheSame(t *testing.T) {
	was := acceptance(t)
	is, err := Load(slices.Collect(was.Documents()))
	if err != nil {
		t.Fatal(err)
	}
	if is.Hash() != was.Hash() || is.Len() != was.Len() {
		t.Errorf("%d documents, hash %x; want %d, %x", is.Len(), is.Hash(), was.Len(), was.Hash())
	}
	for d := range was.Documents() {
		_, want := was.Change(nil, []Key{d.Key()})
		if _, got := is.Change(nil, []Key{d.Key()}); briefly(got) != briefly(want) {
			t.Errorf("deleting %s: %v, want %v", d.Key(), got, want)
		}
		d.Name += "x"
		_, want = was.Change([]Document{d}, nil)
		if _, got := is.Change([]Document{d}, nil); briefly(got) != briefly(want) {
			t.Errorf("putting %s: %v, want %v", d.Key(), got, want)
		}
	}
}

func TestLoadRefusesWhatNeverWasAConfiguration(t *testing.T) {
	d := Document{Kind: KindRecord, Name: "a", Spec: &Record{}}
	for _, docs := range [][]Document{{d, d}, {{Kind: "Nonsense", Name: "a"}}, {{Kind: KindRecord, Name: "a"}}} {
		if _, err := Load(docs); err == nil {
			t.Errorf("%v: loaded", docs)
		}
	}
}
