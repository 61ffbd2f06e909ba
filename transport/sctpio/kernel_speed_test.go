package sctpio

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
)

// How fast a link over SCTP is beside what it is made of, in turns. In an emulated
// machine only ratios mean something, and ciphers are the slowest of all: there,
// sealing and opening a record costs several times what SCTP does with it. So the
// link is beside a bare association without TLS, and beside TLS with it. The long
// version is that of TestKernelPathCut.
func TestKernelLinkSpeed(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	size, turns, least := 2<<20, 3, 0.4 // this machine may be busy
	if os.Getenv(cyclesEnv) != "" {
		size, turns, least = 8<<20, 9, 0.8
	}
	type way struct {
		name  string
		w     io.Writer
		r     io.Reader
		rates []float64
	}
	a, b := pair(t, Bulk(), near, far)
	ways := []*way{{name: "bare", w: a, r: b}}
	a, b = pair(t, Bulk(), near, far)
	server, client, err := linktest.Config()
	if err != nil {
		t.Fatal(err)
	}
	x, y, err := linktest.Secure(a, b, server, client)
	if err != nil {
		t.Fatal(err)
	}
	ways = append(ways, &way{name: "TLS", w: x, r: y})
	plain := linktest.NewPair(t, linktest.Kind{}, 0)
	for bulk, o := range map[bool]Options{false: Control(), true: Bulk()} {
		a, b := pair(t, o, near, far)
		if _, err := attach(t.Context(), plain, a, b, link.Path{Kind: "sctp", Bulk: bulk}); err != nil {
			t.Fatal(err)
		}
	}
	from, to := plain.Streams(t, link.Bulk)
	ways = append(ways, &way{name: "link", w: from, r: to})
	secured := linktest.NewPair(t, linktest.Kind{}, 0)
	keep(t, secured)
	from, to = secured.Streams(t, link.Bulk)
	ways = append(ways, &way{name: "link over TLS", w: from, r: to})

	for range turns {
		for _, w := range ways {
			w.rates = append(w.rates, rate(t, w.w, w.r, size))
		}
	}
	best := map[string]float64{} // the best is what the machine's other business disturbed least
	for _, w := range ways {
		slices.Sort(w.rates)
		best[w.name] = w.rates[turns-1]
		t.Logf("%-14s median %5.1f, best %5.1f MB/s", w.name, w.rates[turns/2], w.rates[turns-1])
	}
	for _, r := range [][2]string{{"link", "bare"}, {"link over TLS", "TLS"}} {
		ratio := best[r[0]] / best[r[1]]
		t.Logf("%s / %s: %.2f", r[0], r[1], ratio)
		if ratio < least {
			t.Errorf("%s has %.2f of the throughput of %s", r[0], ratio, r[1])
		}
	}

	l := listenFar(t, Control(), far...)
	var dialled, whole []time.Duration
	for range 30 {
		start := time.Now()
		a, b, err := associate(t.Context(), l, Control())
		if err != nil {
			t.Fatal(err)
		}
		dialled = append(dialled, time.Since(start))
		if _, _, err := linktest.Secure(a, b, server, client); err != nil {
			t.Fatal(err)
		}
		whole = append(whole, time.Since(start))
		a.Close()
		b.Close()
	}
	slices.Sort(dialled)
	slices.Sort(whole)
	t.Logf("an association: median %v; with TLS %v", dialled[len(dialled)/2], whole[len(whole)/2])
}

// rate is the throughput of size bytes.
func rate(t *testing.T, w io.Writer, r io.Reader, size int) float64 {
	t.Helper()
	start := time.Now()
	done := async(func() error {
		buf := make([]byte, 256<<10)
		for got := 0; got < size; {
			n, err := r.Read(buf)
			if err != nil {
				return err
			}
			got += n
		}
		return nil
	})
	body := make([]byte, 64<<10)
	for range size / len(body) {
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return float64(size) / 1e6 / time.Since(start).Seconds()
}
