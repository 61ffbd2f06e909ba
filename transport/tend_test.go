package transport

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	east = path{local: netip.MustParseAddr("10.1.1.1"), remote: "10.1.1.2:7480"}
	west = path{local: netip.MustParseAddr("10.2.2.1"), remote: "10.2.2.2:7480"}
	moot = path{remote: "10.9.9.2:7480"}
)

// ago is noon less so many milliseconds.
func ago(ms int) time.Time { return noon.Add(-time.Duration(ms) * time.Millisecond) }

// dialled is a carrier that this filer dialled so many milliseconds ago.
func dialled(p path, ms int) held {
	remote, _ := host(p.remote)
	local := p.local
	if !local.IsValid() {
		local = netip.MustParseAddr("10.9.9.1")
	}
	return held{path: p, local: local, remote: remote, ours: true, since: ago(ms)}
}

func accepted(p path, ms int) held {
	h := dialled(p, ms)
	h.path, h.ours = path{}, false
	return h
}

func (h held) downFor(ms int) held { h.down = ago(ms); return h }
func (h held) outdated() held      { h.stale = true; return h }

func TestTend(t *testing.T) {
	both := []path{east, west}
	tests := []struct {
		name string
		view view
		dial []path
		drop []int
		next int // milliseconds from now
	}{
		{"nothing yet: all at once", view{wanted: both}, both, nil, 0},
		{"all is well", view{wanted: both, have: []held{dialled(east, 9000), accepted(west, 9000)}}, nil, nil, 0},
		{"an attempt runs", view{first: true, wanted: both, have: []held{dialled(east, 9000)}, tried: map[path]trial{west: {running: true}}}, nil, nil, 0},
		{"one is missing and ours to dial", view{first: true, wanted: both, have: []held{dialled(east, 10)}}, []path{west}, nil, 0},
		{"one is missing and the peer's to dial", view{wanted: both, have: []held{dialled(east, 10)}}, nil, nil, 240},
		{"the peer does not dial it", view{wanted: both, have: []held{dialled(east, 250)}}, []path{west}, nil, 0},
		{"one was lost just now", view{wanted: both, have: []held{dialled(east, 9000)}, lost: ago(50)}, nil, nil, 200},
		{"the only one was lost just now", view{wanted: both, have: []held{dialled(west, 9000).downFor(600)}, lost: ago(0)}, []path{east}, nil, 400},
		{"after a failure", view{first: true, wanted: both, have: []held{dialled(east, 9000)}, tried: map[path]trial{west: {failures: 3, after: ago(-400)}}}, nil, nil, 400},
		{"after a failure and a rest", view{wanted: both, have: []held{dialled(east, 9000)}, tried: map[path]trial{west: {failures: 3, after: ago(0)}}}, []path{west}, nil, 0},
		{"one has been down for a moment", view{wanted: both, have: []held{dialled(east, 9000), dialled(west, 9000).downFor(100)}}, nil, nil, 200},
		{"one has been down for a while", view{wanted: both, have: []held{dialled(east, 9000), dialled(west, 9000).downFor(300)}}, []path{west}, nil, 4700},
		{"all have been down for a while", view{wanted: both, have: []held{dialled(east, 9000).downFor(400), dialled(west, 9000).downFor(1000)}}, []path{west}, nil, 600},
		{"down for ever", view{wanted: both, tried: map[path]trial{west: {running: true}}, have: []held{dialled(east, 9000), dialled(west, 9000).downFor(5000)}}, nil, []int{1}, 0},
		{"down and replaced", view{wanted: both, have: []held{dialled(east, 9000), dialled(west, 9000).downFor(500), dialled(west, 1)}}, nil, []int{1}, 0},
		{"down and replaced by the peer", view{wanted: both, have: []held{dialled(east, 9000), dialled(west, 9000).downFor(500), accepted(west, 1)}}, nil, []int{1}, 0},
		{"two of one path, not long", view{first: true, wanted: []path{east}, have: []held{dialled(east, 100), accepted(east, 90)}}, nil, nil, 910},
		{"two of one path", view{first: true, wanted: []path{east}, have: []held{dialled(east, 1100), accepted(east, 1000)}}, nil, []int{0}, 0},
		{"two of one path, of one age", view{first: true, wanted: []path{east}, have: []held{dialled(east, 1000), accepted(east, 1000)}}, nil, []int{0}, 0},
		{"two of one path, the other filer's to end", view{wanted: []path{east}, have: []held{dialled(east, 5000), accepted(east, 5000)}}, nil, nil, 0},
		{"two of one path, the newer down", view{first: true, wanted: []path{east}, have: []held{dialled(east, 2000), accepted(east, 1900).downFor(10)}}, nil, []int{1}, 0},
		{"an address is new", view{first: true, wanted: both, have: []held{dialled(moot, 9000)}}, both, nil, 0},
		{"an address is gone, another works", view{wanted: []path{east}, have: []held{dialled(east, 10), dialled(west, 9000)}}, nil, []int{1}, 0},
		{"an address is gone, nothing else works", view{wanted: []path{east}, tried: map[path]trial{east: {running: true}}, have: []held{dialled(west, 9000)}}, nil, nil, 0},
		{"all addresses are gone", view{have: []held{dialled(east, 9000), dialled(west, 9000)}}, nil, nil, 0},
		{"what the peer dialled is its own affair", view{wanted: []path{east}, have: []held{dialled(east, 9000), accepted(west, 9000)}}, nil, nil, 0},
		{"a new identity", view{first: true, wanted: both, have: []held{dialled(east, 9000).outdated(), accepted(west, 9000).outdated()}}, both, nil, 0},
		{"a new identity, half done", view{first: true, wanted: both, tried: map[path]trial{west: {running: true}},
			have: []held{dialled(east, 9000).outdated(), accepted(west, 9000).outdated(), dialled(east, 1)}}, nil, []int{0}, 0},
		{"a new identity, the peer's path", view{wanted: []path{east}, have: []held{accepted(west, 9000).outdated(), dialled(east, 1)}}, nil, []int{0}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.view.ping = 50 * time.Millisecond
			got := test.view.tend(noon)
			if d := cmp.Diff(test.dial, got.dial, cmp.AllowUnexported(path{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Errorf("dials: %s", d)
			}
			if d := cmp.Diff(test.drop, got.drop); d != "" {
				t.Errorf("drops: %s", d)
			}
			next := 0
			if !got.next.IsZero() {
				next = int(got.next.Sub(noon).Milliseconds())
			}
			if next != test.next {
				t.Errorf("looks again after %d ms, want %d", next, test.next)
			}
		})
	}
}

// Whatever state two filers find themselves in, they never leave each other
// without a carrier that worked, and they come to one carrier for each path.
func TestTendComesToRest(t *testing.T) {
	a := []held{dialled(east, 1500), accepted(east, 1500), dialled(west, 1400), dialled(west, 1300).outdated(), accepted(west, 1200), dialled(moot, 1100)}
	v := view{ping: 50 * time.Millisecond, first: true, wanted: []path{east, west}, have: a}
	now := noon
	for range 20 {
		t1 := v.tend(now)
		if len(t1.dial)+len(t1.drop) == 0 && t1.next.IsZero() {
			break
		}
		kept := []held{}
		for i, h := range v.have {
			drop := false
			for _, d := range t1.drop {
				drop = drop || d == i
			}
			if !drop {
				kept = append(kept, h)
			}
		}
		v.have = kept
		if !t1.next.IsZero() {
			now = t1.next
		}
	}
	if len(v.have) != 2 || !v.have[0].on(east) || !v.have[1].on(west) {
		t.Errorf("came to %+v", v.have)
	}
}
