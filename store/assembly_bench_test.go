package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/fsm"
)

// BenchmarkAssembly puts 32 MB of records together from the parts of a restore,
// as every filer does.
func BenchmarkAssembly(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	t := fsm.Transaction{ID: "bench", Actor: "bench"}
	for i := range 32 << 10 {
		var text strings.Builder
		for text.Len() < 1024 {
			fmt.Fprintf(&text, "route 10.2.2.1/24 %x ", rng.Uint64())
		}
		t.Puts = append(t.Puts, fsm.Put{Document: record(fmt.Sprintf("r%d", i), text.String())})
	}
	parts := packAll(b, t)
	for i, p := range parts {
		_, payload, err := unseal(sealPart("bench", i, len(parts), p))
		if err != nil {
			b.Fatal(err)
		}
		parts[i] = payload
	}
	b.SetBytes(32 << 20)
	b.ReportAllocs()
	for b.Loop() {
		var a assembly
		var o opener
		for _, p := range parts {
			next, _, err := a.add(p, &o)
			if err != nil {
				b.Fatal(err)
			}
			a = next
		}
	}
}
