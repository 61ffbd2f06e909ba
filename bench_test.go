package netquorum

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// crowd is a configuration of the acceptance example and n virtual servers and
// records beside it.
func crowd(t testing.TB, n int) Config {
	t.Helper()
	docs := make([]Document, 0, n)
	for i := range n / 2 {
		docs = append(docs, crowdServer(t, i), crowdRecord(i, 0))
	}
	return change(t, acceptance(t), docs)
}

func crowdServer(t testing.TB, i int) Document {
	p, err := parsePrefix(fmt.Sprintf("172.16.%d.%d/12", i/200, i%200+1))
	if err != nil {
		t.Fatal(err)
	}
	return Document{Kind: KindVirtualServer, Name: fmt.Sprintf("crowd-%d", i),
		Spec: &VirtualServer{Group: "main", Addresses: []Address{{Alias: "data0", Prefix: p}}}}
}

func crowdRecord(i, size int) Document {
	data := fmt.Appendf(nil, `{"id":%d,"list":["a","b",{"c":true}],"text":"%s"}`, i, strings.Repeat("x", size))
	return Document{Kind: KindRecord, Name: fmt.Sprintf("crowd/%d", i), Spec: &Record{Type: "crowd", Data: data}}
}

func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		c := crowd(b, n)
		b.Run(fmt.Sprintf("a record among %d documents", n), func(b *testing.B) {
			d := crowdRecord(0, 200)
			for b.Loop() {
				d.Revision++
				c = change(b, c, []Document{d})
			}
		})
		b.Run(fmt.Sprintf("a virtual server among %d documents", n), func(b *testing.B) {
			d := crowdServer(b, 0)
			for b.Loop() {
				d.Revision++
				c = change(b, c, []Document{d})
			}
		})
		b.Run(fmt.Sprintf("a filer among %d documents", n), func(b *testing.B) {
			d, _ := c.Get(KindFiler, "filer1")
			for b.Loop() {
				d.Revision++
				c = change(b, c, []Document{d})
			}
		})
	}
}

func BenchmarkChangeOfAll(b *testing.B) {
	docs := []Document{}
	for i := range 32_000 {
		docs = append(docs, crowdRecord(i, 950))
	}
	base := acceptance(b)
	for b.Loop() {
		change(b, base, docs)
	}
}

func BenchmarkParseJSON32MB(b *testing.B) {
	docs := []Document{}
	for i := range 32_000 {
		docs = append(docs, crowdRecord(i, 950))
	}
	text, err := FormatJSONLines(slices.Values(docs))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := ParseDocuments("dump", text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodingJSON(b *testing.B) {
	d := crowdRecord(1, 950)
	b.Run("AppendJSON", func(b *testing.B) {
		for b.Loop() {
			d.AppendJSON(nil)
		}
	})
	b.Run("json.Marshal", func(b *testing.B) {
		for b.Loop() {
			json.Marshal(d)
		}
	})
}
