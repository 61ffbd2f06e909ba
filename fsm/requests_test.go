package fsm

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"github.com/netquorum/netquorum"
	"pgregory.net/rapid"
)

func TestTrieIsAPersistentMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab]{0,6}`), 0, 60, rapid.ID[string]).Draw(t, "ids")
		var tr trie
		versions := []trie{tr}
		for _, id := range ids {
			tr = tr.put(&request{id: id})
			versions = append(versions, tr)
		}
		for n, v := range versions {
			for i, id := range ids {
				if r := v.get(id, trieHash(id)); (r != nil) != (i < n) || r != nil && r.id != id {
					t.Fatalf("version %d: id %q is %v", n, id, r)
				}
			}
			seen := map[string]bool{}
			for r := range v.all() {
				seen[r.id] = true
			}
			if len(seen) != n {
				t.Fatalf("version %d yields %d ids", n, len(seen))
			}
		}
	})
}

// Results with one hash share a chain. Its order must not depend on the order
// in which they came, because snapshots list them in it.
func TestResultsWithOneHashAreSorted(t *testing.T) {
	var l *trieLeaf
	for _, id := range []string{"c", "a", "b"} {
		l = l.insert(&request{id: id})
	}
	got := ""
	for ; l != nil; l = l.next {
		got += l.request.id
	}
	if got != "abc" {
		t.Errorf("the chain is %q", got)
	}
}

func TestResultsAreForgottenByGenerations(t *testing.T) {
	var rs requests
	add := func(from, to int) {
		for i := from; i < to; i++ {
			rs = rs.add(&request{id: fmt.Sprint(i)})
		}
	}
	add(0, requestGeneration)
	full := rs
	add(requestGeneration, 2*requestGeneration)
	for _, id := range []string{"0", fmt.Sprint(requestGeneration)} {
		if _, ok := rs.get(id); !ok {
			t.Errorf("result %s is gone while it is among the last two generations", id)
		}
	}
	add(2*requestGeneration, 2*requestGeneration+1)
	if _, ok := rs.get("0"); ok {
		t.Error("the oldest generation is still there")
	}
	if _, ok := rs.get(fmt.Sprint(requestGeneration)); !ok {
		t.Error("a result was forgotten before its generation was")
	}
	if rs.old.sum == (sum{}) || rs.sum() == full.sum() {
		t.Error("the sum does not follow")
	}
	want := map[int]bool{1: true, requestGeneration: true}
	if got := map[int]bool{rs.young.n: true, rs.old.n: true}; !maps.Equal(got, want) {
		t.Errorf("generations of %v", got)
	}
}

// Results were once stored as JSON, which repairs broken text: a filer that had
// been through a snapshot had another hash than one that had not.
func TestARefusalSurvivesASnapshotWordByWord(t *testing.T) {
	s, results := apply(t, small(t),
		deletes(key(netquorum.KindRecord, "no\x95such\x00name")).withID("broken text"),
		deletes(key(netquorum.KindFilerGroup, "main")).withID("owned"),
	)
	after := reload(t, s)
	same(t, "after a snapshot", s, after)
	for i, id := range []string{"broken text", "owned"} {
		r, ok := after.Result(id)
		if !ok || !reflect.DeepEqual(r.Refusal, results[i].Refusal) {
			t.Errorf("%s: %+v, want %+v", id, r.Refusal, results[i].Refusal)
		}
	}
	if p := results[1].Refusal.Problems[0]; p.Owner == nil {
		t.Errorf("the test needs a problem with an owner: %+v", p)
	}
}
