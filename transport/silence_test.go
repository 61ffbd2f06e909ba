package transport

import (
	"testing"
	"time"
)

func TestSilenceBeginsWithTheLastPathAndIsToldOnce(t *testing.T) {
	const limit = 5 * time.Second
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	works, fell, fellLater := dialled(east, 9000), dialled(east, 9000).downFor(3000), dialled(west, 9000).downFor(1000)
	type look struct {
		ms    int
		view  view
		since time.Time
		again time.Time
		told  bool
	}
	var m mute
	for i, l := range []look{
		{0, view{have: []held{works, fellLater}}, time.Time{}, time.Time{}, false},
		{0, view{have: []held{fell, fellLater}, lost: ago(100000)}, ago(1000), at(4000), false},
		{3999, view{have: []held{fell, fellLater}}, ago(1000), at(4000), false},
		{4000, view{lost: at(3999)}, ago(1000), at(4000), true}, // that connections are given up is no news of the peer
		{4500, view{lost: at(3999)}, ago(1000), time.Time{}, false},
		{5000, view{have: []held{works}}, time.Time{}, time.Time{}, false},
		{6000, view{lost: at(6000)}, at(6000), at(11000), false},
	} {
		again, told := m.look(l.view, at(l.ms), limit)
		if !again.Equal(l.again) || told != l.told || !m.since.Equal(l.since) {
			t.Errorf("look %d: silent since %v, again at %v, %t", i, m.since, again, told)
		}
	}
}
