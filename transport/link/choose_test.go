package link

import (
	"testing"
	"time"
)

func TestWhichCarrierIsUsed(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const settle = time.Second
	good := view{proven: ago(10 * time.Millisecond), rtt: time.Millisecond}
	with := func(v view, change func(*view)) view { change(&v); return v }
	second := with(good, func(v *view) { v.rank = 1 })
	silent := with(good, func(v *view) { v.suspect, v.proven = ago(20*time.Millisecond), ago(80*time.Millisecond) })
	gone := with(good, func(v *view) { v.gone = true })
	forBulk := with(good, func(v *view) { v.bulk = true })
	for _, test := range []struct {
		name    string
		all     []view
		current int
		bulk    bool
		want    int
	}{
		{"none there is", nil, -1, false, -1},
		{"the only one", []view{good}, -1, false, 0},
		{"the lesser rank first", []view{second, good}, -1, false, 1},
		{"of equal rank the faster", []view{good, with(good, func(v *view) { v.rtt = time.Microsecond })}, -1, false, 1},
		{"the one in use stays, though another is faster", []view{good, with(good, func(v *view) { v.rtt = time.Microsecond })}, 0, false, 0},
		{"the one in use is gone", []view{gone, second}, 0, false, 1},
		{"all are gone", []view{gone, gone}, 0, false, -1},
		{"it is silent and another answers", []view{silent, second}, 0, false, 1},
		{"it is silent, and the other has not answered since", []view{silent, with(second, func(v *view) { v.proven = ago(30 * time.Millisecond) })}, 0, false, 0},
		{"all are silent", []view{silent, silent}, 0, false, 0},
		{"all are silent and none is in use: the last to answer", []view{silent, with(silent, func(v *view) { v.proven = ago(70 * time.Millisecond) })}, -1, false, 1},
		{"the preferred one is back for a moment", []view{with(good, func(v *view) { v.healed = ago(settle / 2) }), second}, 1, false, 1},
		{"the preferred one is back for good", []view{with(good, func(v *view) { v.healed = ago(2 * settle) }), second}, 1, false, 0},
		{"a preferred one is new", []view{second, good}, 0, false, 1},
		{"bulk data prefers what is there for it", []view{good, forBulk}, 0, true, 1},
		{"other data avoids it", []view{forBulk, second}, 0, false, 1},
		{"but takes it rather than none", []view{forBulk, gone}, -1, false, 0},
		{"bulk data takes any rather than none", []view{second, gone}, -1, true, 0},
	} {
		if got := choose(test.all, test.current, test.bulk, now, settle); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestRoundTripsOfAHealedPathDoNotCount(t *testing.T) {
	var r roundTrip
	for range 20 {
		r.pong(time.Millisecond)
		r.settle(30 * time.Millisecond)
	}
	for i := range 6 { // held up, all at once
		r.pong(time.Duration(300-50*i) * time.Millisecond)
	}
	r.settle(30 * time.Millisecond)
	if r.mean > 2*time.Millisecond {
		t.Errorf("a cut path has a round trip time of %v", r.mean)
	}
	for range 100 {
		r.pong(200 * time.Millisecond)
		r.settle(30 * time.Millisecond)
	}
	if r.mean < 150*time.Millisecond {
		t.Errorf("a path that has become slow still has %v", r.mean)
	}
}
