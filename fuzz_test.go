package netquorum

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"
)

// Whatever is read can be written, and is then read as the same; nothing that
// is read makes a rule crash.
func FuzzParseDocuments(f *testing.F) {
	acceptance, err := os.ReadFile("testdata/acceptance.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(acceptance)
	docs, err := ParseDocuments("", acceptance)
	if err != nil {
		f.Fatal(err)
	}
	lines, err := FormatJSONLines(slices.Values(docs))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lines)
	for _, tc := range ruleCases {
		f.Add([]byte(tc.puts))
	}
	for _, tc := range ethernetCases {
		f.Add([]byte(tc.puts))
	}
	f.Add([]byte("kind: Record\nname: a\nspec:\n  data:\n    a: &a {x: 1}\n    b: {<<: *a}\n    c: |\n      x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := ParseDocuments("f", data)
		if err != nil {
			_ = err.Error()
			return
		}
		for name, format := range formats {
			text, err := format(docs)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			back, err := ParseDocuments(name, text)
			if err != nil {
				t.Fatalf("%s is not read: %v\n%s", name, err, text)
			}
			if !slices.EqualFunc(docs, back, Document.Equal) {
				t.Fatalf("%s is read as something else:\n%s", name, text)
			}
		}
		c, problems := Config{}.Change(docs, nil)
		if len(problems) > 0 {
			_ = problems.Error()
			return
		}
		for d := range c.Documents() {
			c.Interfaces(d.Name)
		}
		c.Findings()
	})
}

func FuzzDocumentJSON(f *testing.F) {
	f.Add([]byte(`{"kind":"Record","name":"a/b","revision":7,"spec":{"type":"x","data":{"a":[1,"\u00e9",null]}}}`))
	f.Add([]byte(`{"kind":"Token","name":"t","spec":{"key":"AAEC","expires":1}}`))
	f.Add([]byte(`{"kind":"Placement","name":"v","spec":{"filer":"f","epoch":18446744073709551615}}`))
	f.Add([]byte(`{"kind":"VirtualServer","name":"v","spec":{"group":"g","addresses":[{"alias":"DATA0","instance":1,"prefix":"::ffff:10.0.0.1/120","names":["a"]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Document
		if json.Unmarshal(data, &d) != nil {
			return
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back Document
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s is not read: %v", text, err)
		}
		again, err := json.Marshal(back)
		if err != nil || !bytes.Equal(text, again) || !d.Equal(back) {
			t.Fatalf("%s was read and written as %s, %v", text, again, err)
		}
	})
}

// FuzzRecordJSON compares the two ways to read a record.
func FuzzRecordJSON(f *testing.F) {
	f.Add([]byte(`{"kind":"Record","name":"a","spec":{"type":"t","data":{"a":[1,"x"]}}}`))
	f.Add([]byte(`{"kind":"Record","name":"a\u0041","spec":{"data":"\u003c"}}`))
	f.Add([]byte(`{"kind":"Record","name":"","spec":{"data":1}} `))
	f.Add([]byte(`{"kind":"Record","name":"a","spec":{"data":1},"revision":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) {
			return
		}
		quick, rest, ok := cutRecord(data)
		if !ok {
			return
		}
		r := &jsonReader{data: data, skipAt: 2}
		n, err := r.value(0)
		if err != nil {
			t.Fatalf("%s\nis read, and is no JSON: %v", data, err)
		}
		d := &decoder{}
		slow, ok := d.document(n)
		if !ok || !reflect.DeepEqual(quick, slow) || string(rest) != string(data[r.pos:]) {
			t.Fatalf("%s\nis %+v and %q\nand   %+v and %q: %v", data, quick, rest, slow, data[r.pos:], d.errors)
		}
	})
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[true,null,-1.5e+3]}`, `"\u001f\n\"\\"`, ` { "b" : 1 , "a" : "\ud83d\ude00" } `, `{"a":1,"a":2}`, `01`, `"`, `[[[]]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := CanonicalJSON(data)
		if err != nil {
			if canonical(data) {
				t.Fatalf("%s is canonical and refused: %v", data, err)
			}
			return
		}
		if !utf8.Valid(out) || !json.Valid(data) || !json.Valid(out) {
			t.Fatalf("%q became %q", data, out)
		}
		var r jsonReader
		r.data = data
		n, err := r.only()
		if err != nil || !bytes.Equal(n.appendCanonical(nil), out) {
			t.Fatalf("%s became %s by one way only, %v", data, out, err)
		}
	})
}

func FuzzInterfaceName(f *testing.F) {
	for _, s := range []string{"eth0", "BOND0.10", "data0.5.6", "mgmt01", "eth0.4095", "fail9999.4094"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseInterfaceName(s)
		if err != nil {
			return
		}
		again, err := ParseInterfaceName(string(n))
		if err != nil || again != n || len(n) > maxLinkName {
			t.Fatalf("%q became %q, then %q, %v", s, n, again, err)
		}
		if parent, tag, ok := n.VLAN(); ok && (tag < 1 || tag > 4094 || parent.Layer() == LayerNone) {
			t.Fatalf("%q is a VLAN %d of %q", n, tag, parent)
		}
	})
}
