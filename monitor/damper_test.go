package monitor

import (
	"testing"
	"time"
)

var start = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// A history is what is seen at which second.
type history []struct {
	at  float64
	bad bool
}

func TestDamper(t *testing.T) {
	const repair = 3 * time.Second
	for _, test := range []struct {
		name  string
		seen  history
		at    float64
		want  State
		until float64 // 0: never
	}{
		{"good from the start runs at once", history{{0, false}}, 0, Running, 0},
		{"bad from the start has failed", history{{0, true}}, 0, Failed, 0},
		{"the first time that it is good is no repair", history{{0, true}, {5, false}}, 5, Running, 0},
		{"a fault counts at once", history{{0, false}, {1, true}}, 1, Failed, 0},
		{"good again is up first", history{{0, false}, {1, true}, {2, false}}, 2, Up, 5},
		{"and runs after the time to repair", history{{0, false}, {1, true}, {2, false}}, 5, Running, 0},
		{"a second fault doubles the time", history{{0, false}, {1, true}, {2, false}, {3, true}, {4, false}}, 4, Up, 10},
		{"a third one keeps it failed", history{{0, false}, {1, true}, {2, false}, {3, true}, {4, false}, {5, true}, {6, false}}, 6, Failed, 18},
		{"until it has been good for long", history{{0, false}, {1, true}, {2, false}, {3, true}, {4, false}, {5, true}, {6, false}}, 18, Running, 0},
		{"faults of long ago are forgotten", history{{0, false}, {1, true}, {2, false}, {100, true}, {101, false}}, 101, Up, 104},
		{"a fault longer than the window still has to be repaired", history{{0, false}, {1, true}, {500, false}}, 500, Up, 503},
		{"the same news twice is news once", history{{0, false}, {1, true}, {1.1, true}, {1.2, true}, {2, false}, {2.1, false}}, 2.1, Up, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d damper
			for _, s := range test.seen {
				d.note(after(s.at), s.bad, pace{repair})
			}
			v := d.verdict(after(test.at), pace{repair})
			if v.state != test.want {
				t.Errorf("is %s (%s), want %s", v.state, v.reason, test.want)
			}
			want := time.Time{}
			if test.until != 0 {
				want = after(test.until)
			}
			if !v.until.Equal(want) {
				t.Errorf("changes by itself at %v, want %v", v.until, want)
			}
		})
	}
}

// However fast and long something flaps, it is not published as running while
// it does, what is remembered is bounded, and the wait is too.
func TestDamperOutlastsFlapping(t *testing.T) {
	var d damper
	d.note(start, false, pace{time.Second})
	ran := 0
	at := start
	for range 10_000 {
		at = at.Add(700 * time.Millisecond)
		d.note(at, true, pace{time.Second})
		at = at.Add(700 * time.Millisecond)
		if d.note(at, false, pace{time.Second}).state == Running {
			ran++
		}
	}
	if ran > 0 {
		t.Errorf("was published as running %d times between faults", ran)
	}
	if len(d.faults) > keptFaults {
		t.Errorf("remembers %d faults", len(d.faults))
	}
	if v := d.verdict(at, pace{time.Second}); v.until.Sub(at) > maxRepair {
		t.Errorf("waits %v after the last fault, want %v or less", v.until.Sub(at), maxRepair)
	}
	if v := d.verdict(at.Add(maxRepair), pace{time.Second}); v.state != Running {
		t.Errorf("is %s after %v without a fault", v.state, maxRepair)
	}
}
