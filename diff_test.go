package netquorum

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFormatDiff(t *testing.T) {
	c := acceptance(t)
	before, _ := c.Get(KindVirtualServer, "VsvrA")
	before.Revision = 7
	after := parse(t, `
kind: VirtualServer
name: VsvrA
spec:
  group: main
  routes: a-out
  addresses:
  - {alias: data0, instance: 0, prefix: 10.2.2.1/24, names: [a.example.com]}
  - {alias: data0, instance: 1, prefix: 10.3.3.2/24}
  - {alias: data1, instance: 0, prefix: 10.2.2.3/24}
`)[0]
	short := parse(t, "kind: Record\nname: a\nspec: {type: x}")[0]
	for _, tc := range []struct {
		name          string
		before, after *Document
		want          string
	}{
		{"one line changed", &before, &after, `--- VirtualServer/VsvrA@7
+++ VirtualServer/VsvrA
@@ -9,7 +9,7 @@
     names: [a.example.com]
   - alias: data0
     instance: 1
-    prefix: 10.3.3.1/24
+    prefix: 10.3.3.2/24
   - alias: data1
     instance: 0
     prefix: 10.2.2.3/24
`},
		{"a new document", nil, &short, "--- /dev/null\n+++ Record/a\n@@ -0,0 +1,4 @@\n+kind: Record\n+name: a\n+spec:\n+  type: x\n"},
		{"a deleted document", &short, nil, "--- Record/a\n+++ /dev/null\n@@ -1,4 +0,0 @@\n-kind: Record\n-name: a\n-spec:\n-  type: x\n"},
		{"nothing changed", &short, &short, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, FormatDiff(tc.before, tc.after)); diff != "" {
				t.Errorf("diff (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFormatDiffKeepsTheSecretOfATokenToItself(t *testing.T) {
	d := Document{Kind: KindToken, Name: "a", Spec: &Token{Key: []byte("secret"), Expires: 7}}
	if got := FormatDiff(nil, &d); strings.Contains(got, "c2VjcmV0") || !strings.Contains(got, "expires: 7") {
		t.Errorf("the diff is\n%s", got)
	}
}

// Taking out what a diff removes, and putting in what it adds, makes the one
// text of the other; and nothing shorter is said than needed.
func TestDiffLeadsFromOneToTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		a := rapid.SliceOfN(line, 0, 30).Draw(t, "a")
		b := rapid.SliceOfN(line, 0, 30).Draw(t, "b")
		var from, to []string
		edits := 0
		for _, op := range diffLines(a, b) {
			if op.sign != '+' {
				from = append(from, op.line)
			}
			if op.sign != '-' {
				to = append(to, op.line)
			}
			if op.sign != ' ' {
				edits++
			}
		}
		if strings.Join(from, "") != strings.Join(a, "") || strings.Join(to, "") != strings.Join(b, "") {
			t.Fatalf("the diff leads from %v to %v", from, to)
		}
		if want := len(a) + len(b) - 2*common(a, b); edits != want {
			t.Fatalf("%d edits where %d are enough", edits, want)
		}
	})
}

// common is the length of the longest common subsequence, by the slow way.
func common(a, b []string) int {
	row := make([]int, len(b)+1)
	for i := range a {
		diagonal := 0
		for j := range b {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(row[j+1], row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

func TestDiffOfWhatHasLittleInCommon(t *testing.T) {
	var a, b []string
	for range 2 * maxDiff {
		a, b = append(a, "x"), append(b, "y")
	}
	if got := diffLines(a, b); len(got) != 4*maxDiff || got[0].sign != '-' || got[len(got)-1].sign != '+' {
		t.Errorf("%d lines, from %v to %v", len(got), got[0], got[len(got)-1])
	}
}
