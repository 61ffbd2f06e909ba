package netquorum

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

var formats = map[string]func([]Document) ([]byte, error){
	"YAML": func(d []Document) ([]byte, error) { return FormatYAML(slices.Values(d)) },
	"JSON": func(d []Document) ([]byte, error) { return FormatJSONLines(slices.Values(d)) },
}

// How a dump looks is what people have in their files and version control.
func TestYAMLLooksTheSame(t *testing.T) {
	docs := slices.Collect(acceptance(t).Documents())
	docs = append(docs, parse(t, `
kind: Record
name: nfs/exports
spec: {type: nfs, data: {text: "a\nb", number: 1.50, none: null, list: [], nested: [[1, [2]], {a: b, c: []}], words: [yes, "1", plain, "two words"]}}
`)...)
	got, err := FormatYAML(slices.Values(docs))
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/acceptance.formatted.yaml"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
}

// What is written as YAML or JSON is read as the same, and written the same
// again: a dump of a restored dump is the dump.
func TestDocumentsSurviveBeingWrittenAndRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := rapid.SliceOfN(rapid.Custom(drawAnyDocument), 1, 5).Draw(t, "documents")
		for name, format := range formats {
			text, err := format(docs)
			if err != nil {
				t.Fatal(err)
			}
			back, err := ParseDocuments(name, text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(back) != len(docs) {
				t.Fatalf("%d documents of %d came back from\n%s", len(back), len(docs), text)
			}
			for i := range docs {
				if !back[i].Equal(docs[i]) {
					t.Fatalf("%s came back different:\n%s%s", name, text, cmp.Diff(jsonOf(t, docs[i]), jsonOf(t, back[i])))
				}
			}
			again, err := format(back)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, text) {
				t.Fatalf("%s was written differently (-first +second):\n%s", name, cmp.Diff(string(text), string(again)))
			}
		}
	})
}

func jsonOf(t *rapid.T, d Document) string {
	d.Revision = 0
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drawAnyDocument draws a document that need not make sense, with strings that
// are hard to write.
func drawAnyDocument(t *rapid.T) Document {
	if rapid.Bool().Draw(t, "record") {
		data, err := CanonicalJSON(drawJSON(t, 3))
		if err != nil {
			t.Fatal(err)
		}
		r := &Record{Type: drawString(t), Data: data}
		if rapid.IntRange(0, 9).Draw(t, "empty") == 0 {
			r = &Record{}
		}
		return Document{KindRecord, rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9._/-]{0,20}[A-Za-z0-9])?`).Draw(t, "name"), 7, r}
	}
	d := drawDocument(t)
	if s, ok := d.Spec.(*VirtualServer); ok {
		for i := range s.Addresses {
			s.Addresses[i].Names = rapid.SliceOfN(rapid.Custom(drawString), 0, 3).Draw(t, "names")
		}
	}
	return d
}

// awkward are strings that some reader of YAML takes for something else.
var awkward = []string{
	"", " ", "a b", " a", "a ", "a: b", "a:b", "a #b", "#a", "- a", "-", "--- a", "---", "...", "? a", ": a", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "'a'", "\"a\"", "[a]", "{a}", "a,b",
	"1", "-1", "+1", "01", "0x1F", "0o17", "0b1", "1e3", "1.", ".5", "1_000", "1.5", "1:30", "12:34:56", "00:07:34:04:12:0e", "fd00::1/64", "10.1.1.2/24", "2026-11-21", "2026-11-21T10:00:00Z",
	"true", "True", "yes", "No", "on", "off", "y", "n", "null", "Null", "~", ".inf", "-.INF", ".nan", "<<", "=", "\n", "a\nb", "a\n", "\ta", "a\tb", "\r\n", "\u0085", "\u2028", "\u2029", "\ufeff", "\u00a0", "\u200b", "\x00", "\x07", "\x1b", "\x7f", "é", "日本", "😀", "\U000e0001", "\\", "\\n", "a\\", "//", "..", "_", "/",
}

func drawString(t *rapid.T) string {
	if rapid.Bool().Draw(t, "awkward") {
		s := rapid.SampledFrom(awkward).Draw(t, "string")
		if rapid.IntRange(0, 3).Draw(t, "more") == 0 {
			s += rapid.SampledFrom(awkward).Draw(t, "string")
		}
		return s
	}
	return rapid.String().Draw(t, "string")
}

func drawJSON(t *rapid.T, depth int) []byte {
	kind := rapid.IntRange(0, 5).Draw(t, "JSON")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return []byte(rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word"))
	case 1:
		return []byte(rapid.SampledFrom([]string{"0", "-0", "1", "-1", "1.0", "1.50", "1e3", "1E400", "-1.5e-300", "123456789012345678901234567890", "0.1", "18446744073709551615", "9223372036854775808"}).Draw(t, "number"))
	case 2, 3:
		return appendString(nil, drawString(t))
	case 4:
		b := []byte{'['}
		for i := range rapid.IntRange(0, 4).Draw(t, "length") {
			if i > 0 {
				b = append(b, ' ', ',')
			}
			b = append(b, drawJSON(t, depth-1)...)
		}
		return append(b, ']')
	default:
		b := []byte{'{'}
		for i := range rapid.IntRange(0, 4).Draw(t, "size") {
			if i > 0 {
				b = append(b, ',')
			}
			// A number after the name keeps keys apart.
			b = append(appendString(b, drawString(t)+strconv.Itoa(i)), ':', ' ')
			b = append(b, drawJSON(t, depth-1)...)
		}
		return append(b, '}')
	}
}

// Canonical JSON means the same as what it was made of, and both judges of
// being canonical agree.
func TestCanonicalJSONMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawJSON(t, 4)
		out, err := CanonicalJSON(in)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := decodeNumbers(in, &a); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if err := decodeNumbers(out, &b); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("%s became %s:\n%s", in, out, diff)
		}
		again, err := CanonicalJSON(out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%s became %s the second time, %v", out, again, err)
		}
	})
}

func decodeNumbers(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

// Another reader of YAML, which follows other rules for plain words, takes what
// is written for the same strings.
func TestOtherReadersSeeTheSameStrings(t *testing.T) {
	for _, s := range awkward {
		var data []byte
		data = append(appendString(append(data, `{"list":[`...), s), `,"x"],"text":`...)
		data = append(appendString(data, s), '}')
		text, err := FormatYAML(slices.Values([]Document{{Kind: KindRecord, Name: "a", Spec: &Record{Data: data}}}))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Spec struct {
				Data struct {
					List []any
					Text any
				}
			}
		}
		if err := yaml.Unmarshal(text, &got); err != nil {
			t.Errorf("%q: %v\n%s", s, err, text)
			continue
		}
		if diff := cmp.Diff([]any{s, "x", s}, append(got.Spec.Data.List, got.Spec.Data.Text)); diff != "" {
			t.Errorf("%q is read as something else (-want +got):\n%s\n%s", s, diff, text)
		}
	}
}
