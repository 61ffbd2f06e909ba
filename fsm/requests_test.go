package fsm

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/netquorum/netquorum"
	"pgregory.net/rapid"
)

// States go on from one another, mostly from the newest, and each keeps its own
// results whatever others add to the memory that they share.
func TestResultsArePersistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			results
			want map[string]Result
		}
		versions := []version{{want: map[string]Result{}}}
		for i := range rapid.IntRange(0, 200).Draw(t, "steps") {
			from := versions[len(versions)-1]
			if rapid.IntRange(0, 9).Draw(t, "older") == 0 {
				from = rapid.SampledFrom(versions).Draw(t, "from")
			}
			id := rapid.StringMatching(`[ab]{0,6}`).Draw(t, "id")
			if _, known := from.want[id]; known {
				continue
			}
			r := Result{Revision: netquorum.Revision(i), Changed: i % 3}
			if i%5 == 0 {
				r.Refusal = refuse(RefusedInvalid, "%d", i)
			}
			next := version{from.add(id, r), maps.Clone(from.want)}
			next.want[id] = r
			versions = append(versions, next)
		}
		for n, v := range versions {
			for _, other := range versions {
				for id := range other.want {
					want, has := v.want[id]
					if got, ok := v.get(id); ok != has || got != want {
						t.Fatalf("version %d: id %q is %v, %t, want %v, %t", n, id, got, ok, want, has)
					}
				}
			}
			var listed []string
			for id, r := range v.all() {
				if r != v.want[string(id)] {
					t.Fatalf("version %d yields %q with %v, want %v", n, id, r, v.want[string(id)])
				}
				listed = append(listed, string(id))
			}
			if len(listed) != len(v.want) || v.n != len(listed) {
				t.Fatalf("version %d of %d results yields %q", n, len(v.want), listed)
			}
			// The order must not be the one in which they came: snapshots have it.
			var again results
			for _, id := range slices.Backward(listed) {
				again = again.add(id, v.want[id])
			}
			i := 0
			for id := range again.all() {
				if string(id) != listed[i] {
					t.Fatalf("%q is listed in another order when it comes in another", listed)
				}
				i++
			}
		}
	})
}

// Whoever writes a snapshot, or asks for a result, does so beside what is applied.
func TestResultsAreReadWhileMoreAreAdded(t *testing.T) {
	var rs results
	for i := range 100 {
		rs = rs.add(fmt.Sprint(i), Result{Revision: netquorum.Revision(i)})
	}
	var reading sync.WaitGroup
	for range 2 {
		old := rs
		reading.Go(func() {
			n := 0
			for range old.all() {
				n++
			}
			if _, ok := old.get("99"); !ok || n != 100 {
				t.Errorf("%d results, and the last is known: %t", n, ok)
			}
			if _, ok := old.get("100"); ok {
				t.Error("a result that was added later is there")
			}
		})
	}
	for i := range 1000 {
		rs = rs.add(fmt.Sprint(100+i), Result{Refusal: refuse(RefusedInvalid, "")})
	}
	reading.Wait()
}

// A dry run must not take the place in the ledger that the next entry needs: all
// the results would be copied for it.
func TestADryRunLeavesTheLedgerAlone(t *testing.T) {
	s, _ := apply(t, small(t), puts(record("a", "1")).withID("1"))
	if _, r := DryRun(s, puts(record("a", "2")).withID("dry")); r.Changed != 1 {
		t.Fatal(r)
	}
	next, _ := apply(t, s, puts(record("a", "2")).withID("2"))
	if next.requests.young.ledger != s.requests.young.ledger {
		t.Error("the next state has a ledger of its own")
	}
	if _, ok := next.Result("dry"); ok {
		t.Error("a dry run is on record")
	}
}

func TestResultsAreForgottenByGenerations(t *testing.T) {
	var rs requests
	add := func(from, to int) {
		for i := from; i < to; i++ {
			rs = rs.add(fmt.Sprint(i), Result{})
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
