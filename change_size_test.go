package netquorum

import (
	"fmt"
	"strings"
	"testing"
)

// TestChangesOfFewAndOfMany: documents that a change names more than once are found
// in two ways, by how many it has.
func TestChangesOfFewAndOfMany(t *testing.T) {
	c := crowd(t, 10)
	for _, n := range []int{1, 7, 8, 9, 40} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var puts []Document
			for i := range n {
				puts = append(puts, crowdRecord(i, 10))
			}
			replaced, problems := c.Change(puts, []Key{puts[0].Key(), puts[n-1].Key().Fold(), {KindRecord, "none"}})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if put := change(t, c, puts); replaced.Hash() != put.Hash() || replaced.Len() != put.Len() {
				t.Error("what is deleted and put again is not what is put")
			}
			again := puts[0]
			again.Name = strings.ToUpper(again.Name)
			if _, problems := c.Change(append(puts, again), nil); len(problems) != 1 || problems[0].Rule != RuleDocumentOnce {
				t.Errorf("a document is put twice: %v", problems)
			}
		})
	}
}

// TestARecordLeavesTheIndexesAlone: what claims and uses nothing costs them nothing.
func TestARecordLeavesTheIndexesAlone(t *testing.T) {
	c := crowd(t, 10)
	next := change(t, c, []Document{crowdRecord(0, 10)})
	if next.claims != c.claims || next.uses != c.uses {
		t.Error("they were written")
	}
	if next.docs == c.docs {
		t.Error("the record was not")
	}
}

// TestDocumentsOfLongNamesAreFound: a long path has no room on the stack.
func TestDocumentsOfLongNamesAreFound(t *testing.T) {
	c := crowd(t, 10)
	for _, n := range []int{1, 61, 62, 63, maxRecordName} {
		d := crowdRecord(0, 10)
		d.Name = strings.Repeat("Aa", n)[:n]
		c = change(t, c, []Document{d})
		if got, ok := c.Get(KindRecord, strings.ToLower(d.Name)); !ok || got.Name != d.Name {
			t.Errorf("%d bytes: %v, %t", n, got.Key(), ok)
		}
	}
}

// TestTheClusterIsFoundAmongDocuments, of which it need not be one.
func TestTheClusterIsFoundAmongDocuments(t *testing.T) {
	if _, _, ok := (Config{}).Cluster(); ok {
		t.Error("nothing has a cluster")
	}
	c := crowd(t, 10)
	d, ok := Document{}, false
	for d = range c.All(KindCluster) {
		ok = true
	}
	name, spec, found := c.Cluster()
	if !ok || !found || d.Name != name || d.Spec != Spec(spec) {
		t.Errorf("%q, %t, and among all %q, %t", name, found, d.Name, ok)
	}
	records, err := Load([]Document{crowdRecord(0, 10)})
	if err != nil {
		t.Fatal(err)
	}
	if name, _, ok := records.Cluster(); ok {
		t.Errorf("records alone have the cluster %q", name)
	}
}
