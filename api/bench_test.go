package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

// instant is a backend whose writes take no time: what is left is the API's.
type instant struct{ apitest.Backend }

func (*instant) Apply(_ context.Context, r api.ApplyRequest) (api.ApplyResult, error) {
	return api.ApplyResult{Revision: 1, Changed: len(r.Puts)}, nil
}

// BenchmarkApplyOverSocket is the whole way of one 256-byte record, client
// included, beside the time that committing it takes.
func BenchmarkApplyOverSocket(b *testing.B) {
	c, _ := start(b, new(instant))
	req := put(record("a", `"`+strings.Repeat("x", 256)+`"`))
	req.RequestID = "bench"
	for b.Loop() {
		if _, err := c.Apply(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyOverSocketParallel(b *testing.B) {
	c, _ := start(b, new(instant))
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		req := put(record("a", `"`+strings.Repeat("x", 256)+`"`))
		req.RequestID = "bench"
		for pb.Next() {
			if _, err := c.Apply(b.Context(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRestore is a 32 MB dump through the client, the socket, the decoder
// and the rules, into memory.
func BenchmarkRestore(b *testing.B) {
	backend := new(apitest.Backend)
	c, _ := start(b, backend)
	docs := []netquorum.Document{{Kind: netquorum.KindCluster, Name: "acme", Spec: &netquorum.Cluster{MAC: testMAC}}}
	for i := range 32 << 10 {
		docs = append(docs, record(fmt.Sprint("r", i), string(must(json.Marshal(strings.Repeat("x", 950))))))
	}
	if _, err := c.Init(b.Context(), api.InitRequest{Filer: "filer1", Cluster: "acme", MAC: &testMAC}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(32 << 20)
	for b.Loop() {
		if _, err := c.Restore(b.Context(), docs); err != nil {
			b.Fatal(err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
