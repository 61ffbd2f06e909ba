package fsm

import (
	"testing"

	"pgregory.net/rapid"
)

// TestAnEntryIsItsTransactionsOneByOne: how transactions are put together into
// entries says nothing about what they do.
func TestAnEntryIsItsTransactionsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		together, apart := NewState(), NewState()
		var ids []string
		for n := range rapid.IntRange(1, 6).Draw(t, "entries") {
			ts := rapid.SliceOfN(transactions(ids), 1, 20).Draw(t, "entry")
			if n == 0 {
				ts[0] = puts(cluster(7)).withID("first")
			}
			entry, err := EncodeEntry(ts)
			if err != nil {
				t.Fatal(err)
			}
			before, text := together, snapshotText(t, together)
			var results []Result
			if together, results, err = Apply(together, apart.Index()+uint64(len(ts)), entry); err != nil {
				t.Fatal(err)
			}
			for i, tx := range ts {
				ids = append(ids, tx.ID)
				one, err := EncodeEntry(ts[i : i+1])
				if err != nil {
					t.Fatal(err)
				}
				var r []Result
				if apart, r, err = Apply(apart, apart.Index()+1, one); err != nil {
					t.Fatal(err)
				}
				if got, want := shownResult(results[i]), shownResult(r[0]); got != want {
					t.Fatalf("%+v\nis answered %s among others and %s alone", tx, got, want)
				}
			}
			if together.Hash() != apart.Hash() || snapshotText(t, together) != snapshotText(t, apart) {
				t.Fatal("the states differ")
			}
			if snapshotText(t, before) != text {
				t.Fatal("the state before the entry has changed")
			}
		}
	})
}
