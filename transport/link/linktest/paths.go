package linktest

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

// state waits until all carriers at both ends are in one of the states.
func state(t testing.TB, p *Pair, path int, want ...link.State) {
	t.Helper()
	Eventually(t, "a carrier to be "+string(want[0]), func() bool {
		for _, l := range []*link.Link{p.A, p.B} {
			st := l.Status()
			i := slices.IndexFunc(st.Carriers, func(c link.CarrierStatus) bool { return c.Path.Rank == path })
			if i < 0 || !slices.Contains(want, st.Carriers[i].State) {
				return false
			}
		}
		return true
	})
}

var directions = []memlink.Direction{memlink.Both, memlink.AToB, memlink.BToA}

// quick makes a link return to a path that is back without waiting long.
func quick(c *link.Config) { c.Settle = 50 * time.Millisecond }

func cutPath(t *testing.T, k Kind) {
	p := NewPair(t, k, 2, quick)
	p.Keep(t)
	there, back := startFlow(t, p, link.Control, false), startFlow(t, p, link.Control, true)
	bulk := startFlow(t, p, link.Bulk, false)
	there.more(50)
	var gaps []time.Duration
	for range k.rounds(2) {
		for _, d := range directions {
			there.gap()
			back.gap()
			p.Paths[0].Cut(d)
			there.more(60)
			back.more(60)
			gaps = append(gaps, there.gap(), back.gap())
			p.Paths[0].Heal()
			state(t, p, 0, link.Up)
			there.more(40) // and it settles
		}
	}
	there.end()
	back.end()
	bulk.end()
	slices.Sort(gaps)
	median, most := gaps[len(gaps)/2], gaps[len(gaps)-1]
	t.Logf("gaps: median %v, longest %v", median, most)
	if median > k.bound(100*time.Millisecond, 100*time.Millisecond) || most > k.bound(150*time.Millisecond, time.Second) {
		t.Errorf("gaps %v", gaps)
	}
	if st := p.A.Status(); st.Switches == 0 {
		t.Errorf("%+v", st)
	}
}

func cutPathUrgent(t *testing.T, k Kind) {
	p := NewPair(t, k, 2, quick)
	f := startFlow(t, p, link.Urgent, false)
	f.more(20)
	f.gap()
	for _, d := range directions {
		for path := range p.Paths {
			p.Paths[path].Cut(d)
			f.more(40)
			p.Paths[path].Heal()
			state(t, p, path, link.Up)
		}
	}
	if gap := f.gap(); gap > k.bound(2*flowPeriod, 200*time.Millisecond) {
		t.Errorf("a gap of %v", gap)
	}
	f.end()
}

func pathBack(t *testing.T, k Kind) {
	p := NewPair(t, k, 2, quick)
	f := startFlow(t, p, link.Control, false)
	used := func(path int) func() bool {
		return func() bool {
			for _, c := range p.A.Status().Carriers {
				if c.Path.Rank == path {
					return slices.Contains(c.Classes, link.Control.String())
				}
			}
			return false
		}
	}
	for range 3 {
		Eventually(t, "the first path to be used", used(0))
		p.Paths[0].Cut(memlink.Both)
		Eventually(t, "the second path to be used", used(1))
		state(t, p, 0, link.Suspect, link.Down)
		p.Paths[0].Heal()
	}
	Eventually(t, "the first path to be used again", used(0))
	f.end()
}

// A writer that waits for room hears of it by another path when the one that
// the reader used is cut.
func cutAcks(t *testing.T, k Kind) {
	const window = 64 << 10
	p := NewPair(t, k, 2, func(c *link.Config) { c.Window = window })
	a, b := p.Streams(t, link.Control)
	if _, err := a.Write(make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the window to be full and acknowledged", func() bool {
		return errors.Is(a.TryWrite([]byte("x")), link.ErrFull) && p.A.Status().Carriers[0].Received > 100
	})
	p.Paths[0].Cut(memlink.BToA)
	start := time.Now()
	if _, err := io.ReadFull(b, make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write(make([]byte, window)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > k.bound(150*time.Millisecond, time.Second) {
		t.Errorf("it took %v to hear of it", took)
	}
}

// lostAckOfCopy loses the word that there is room for what ReadFrom wrote beyond the
// window, when nobody is left who waits for room.
func lostAckOfCopy(t *testing.T, k Kind) {
	const window, piece = 90_000, 40_000
	p := NewPair(t, k, 1, func(c *link.Config) { c.BulkWindow = window })
	a, b := p.Streams(t, link.Bulk)
	if n, err := a.ReadFrom(&zeroPieces{piece, 3}); n != 3*piece || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "what there was room for to arrive", func() bool {
		arrived := uint64(0) // bulk data may have a carrier of its own
		for _, c := range p.B.Status().Carriers {
			arrived += c.Received
		}
		return arrived > 2*piece
	})
	<-time.After(50 * time.Millisecond) // and to be acknowledged
	w, ok := p.Paths[0].(interface{ Set(memlink.Faults) })
	if !ok || !k.Virtual {
		return // it loses nothing, or so slowly that the carrier fails meanwhile
	}
	w.Set(memlink.Faults{Lose: 1})
	if n, err := io.ReadFull(b, make([]byte, 2*piece)); err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	<-time.After(5 * time.Millisecond) // in which the word is lost, and nothing else looks amiss
	w.Set(memlink.Faults{})
	b.SetReadDeadline(time.Now().Add(k.bound(time.Second, 5*time.Second)))
	if n, err := io.Copy(io.Discard, b); n != piece || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// zeroPieces are pieces of a size, the last of which comes with the end.
type zeroPieces struct{ size, left int }

func (z *zeroPieces) Read(p []byte) (int, error) {
	if z.left--; z.left > 0 {
		return min(len(p), z.size), nil
	}
	return min(len(p), z.size), io.EOF
}
