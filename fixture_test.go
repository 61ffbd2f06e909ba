package netquorum

import (
	"os"
	"strings"
	"testing"
)

// parse reads documents that a test wrote.
func parse(t testing.TB, text string) []Document {
	t.Helper()
	docs, err := ParseDocuments("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// change makes a change that must break no rule.
func change(t testing.TB, c Config, puts []Document, deletes ...Key) Config {
	t.Helper()
	next, problems := c.Change(puts, deletes)
	if len(problems) > 0 {
		t.Fatalf("the change is refused:\n%v", problems)
	}
	return next
}

// acceptance is the configuration of the source documents.
func acceptance(t testing.TB) Config {
	t.Helper()
	text, err := os.ReadFile("testdata/acceptance.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return change(t, Config{}, parse(t, string(text)))
}

// key reads a key like Filer/Filer1.
func key(s string) Key {
	kind, name, _ := strings.Cut(s, "/")
	return Key{Kind(kind), name}
}

// briefly writes problems one to a line: where, which rule, and whose.
func briefly(problems Problems) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Document.String() + " " + p.Field + " " + string(p.Rule))
		if p.Owner != nil {
			b.WriteString(" of " + p.Owner.String())
		}
		b.WriteString("\n")
	}
	return b.String()
}
