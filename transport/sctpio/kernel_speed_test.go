package sctpio

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/linktest"
)

// How fast a link over SCTP is beside what it is made of, all in one run: in an
// emulated machine only the ratios mean something.
func TestKernelLinkSpeed(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	const size = 24 << 20
	server, client, err := linktest.Config()
	if err != nil {
		t.Fatal(err)
	}
	bareA, bareB := pair(t, Bulk(), near, far)
	x, y := pair(t, Bulk(), near, far)
	tlsA, tlsB, err := linktest.Secure(x, y, server, client)
	if err != nil {
		t.Fatal(err)
	}
	p := linktest.NewPair(t, linktest.Kind{}, 0)
	carriers(t, p)
	linkA, linkB := p.Streams(t, link.Bulk)

	rate := func(w io.Writer, r io.Reader) float64 {
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
		if err := within(t, "all data", done); err != nil {
			t.Fatal(err)
		}
		return size / 1e6 / time.Since(start).Seconds()
	}
	ways := []struct {
		name string
		w    io.Writer
		r    io.Reader
	}{{"bare", bareA, bareB}, {"TLS", tlsA, tlsB}, {"link", linkA, linkB}}
	best := map[string][]float64{}
	for range 3 {
		for _, way := range ways {
			best[way.name] = append(best[way.name], rate(way.w, way.r))
		}
	}
	for _, v := range best {
		slices.Sort(v)
	}
	bare, secured, linked := best["bare"][1], best["TLS"][1], best["link"][1]
	t.Logf("MB/s: bare SCTP %.1f, TLS over it %.1f, link %.1f; link/bare %.2f, link/TLS %.2f", bare, secured, linked, linked/bare, linked/secured)

	l := listenFar(t, Control(), far...)
	var setup []time.Duration
	for range 50 {
		start := time.Now()
		c, err := Dial(t.Context(), Addr(0, near...), l.Addr().(*sctp.SCTPAddr), Control())
		if err != nil {
			t.Fatal(err)
		}
		setup = append(setup, time.Since(start))
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		a.Close()
	}
	slices.Sort(setup)
	t.Logf("an association: median %v, p99 %v", setup[len(setup)/2], setup[len(setup)-1])
}
