package fsm

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/netquorum/netquorum"
)

// filled is a state with n records of a size.
func filled(b *testing.B, n, size int) *State {
	b.Helper()
	docs := []netquorum.Document{cluster(0)}
	for i := range n {
		docs = append(docs, sized(fmt.Sprintf("record-%05d", i), size))
	}
	s, refusal := FromDocuments(NewState(), docs, Origin{Actor: "bench", Time: 1})
	if refusal != nil {
		b.Fatal(refusal)
	}
	return s
}

// BenchmarkApply applies a transaction of one 256-byte record, decoding
// included, to small and to large states.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("documents=%d", n), func(b *testing.B) {
			s := filled(b, n, 256)
			// Entries are made ahead; a number in hex, at the start of the id and
			// of the data, makes each round's differ from those before.
			const mark = "00000000"
			entries := make([][]byte, min(n, 1000))
			for i := range entries {
				d := sized(fmt.Sprintf("record-%05d", i*n/len(entries)), 256)
				copy(d.Spec.(*netquorum.Record).Data[1:], mark)
				entries[i], _ = EncodeEntry([]Transaction{puts(d).withID(mark + "-0000-4000-8000-cafecafecafe")})
			}
			at := [2]int{bytes.Index(entries[0], []byte(mark)), bytes.LastIndex(entries[0], []byte(mark))}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := entries[i%len(entries)]
				number(e[at[0]:], i)
				number(e[at[1]:], i)
				var results []Result
				var err error
				if s, results, err = Apply(s, s.Index()+1, e); err != nil || results[0].Changed != 1 || results[0].Duplicate {
					b.Fatal(results, err)
				}
			}
		})
	}
}

// number writes i in hex.
func number(b []byte, i int) {
	for j := 7; j >= 0; j-- {
		b[j] = "0123456789abcdef"[i%16]
		i /= 16
	}
}

// BenchmarkSnapshot encodes and decodes 32 MB of records.
func BenchmarkSnapshot(b *testing.B) {
	for _, size := range []int{256, 1024, 16 << 10} {
		s := filled(b, 32<<20/size, size)
		var buf bytes.Buffer
		if err := EncodeSnapshot(&buf, s); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("encode/record=%d", size), func(b *testing.B) {
			b.SetBytes(int64(buf.Len()))
			for b.Loop() {
				if err := EncodeSnapshot(io.Discard, s); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("decode/record=%d", size), func(b *testing.B) {
			b.SetBytes(int64(buf.Len()))
			for b.Loop() {
				if _, err := DecodeSnapshot(bytes.NewReader(buf.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRestore makes the state that 32 MB of records replace another with.
func BenchmarkRestore(b *testing.B) {
	s := filled(b, 32<<10, 1024)
	var docs []netquorum.Document
	for d := range s.Config().Documents() {
		docs = append(docs, d)
	}
	b.SetBytes(32 << 20)
	for b.Loop() {
		if _, refusal := FromDocuments(s, docs, Origin{Actor: "bench", Time: 1}); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
