package monitor

import (
	"fmt"
	"time"
)

// Pace is how patient a damper is. Faults are never delayed here: who decides
// that something is a fault has waited as long as that kind of fault deserves.
type pace struct {
	repair time.Duration // good for so long after one fault
}

const (
	// faultWindow is how long a fault makes the next one worse.
	faultWindow = time.Minute
	// maxRepair bounds the doubling.
	maxRepair = time.Minute
	// flapping is how many faults within the window make a link one that flaps.
	flapping = 3
	// keptFaults bounds what a damper remembers: the doubling has reached
	// maxRepair long before.
	keptFaults = 16
)

// A verdict is what a damper makes of a history.
type verdict struct {
	state  State // Running, Up or Failed
	reason string
	until  time.Time // when the verdict changes by itself; zero for never
	flaps  int       // faults within the window
}

// A damper follows one thing that is good or bad. It knows no clock: the same
// events at the same times give the same verdicts.
type damper struct {
	known  bool
	bad    bool
	since  time.Time
	faults []time.Time
}

// note takes what is seen now and returns what to publish. What is good when it
// is first seen is good: there is no fault to recover from.
func (d *damper) note(at time.Time, bad bool, p pace) verdict {
	switch {
	case !d.known:
		d.known, d.bad, d.since = true, bad, at
	case d.bad != bad:
		d.bad, d.since = bad, at
		if bad {
			d.faults = append(d.faults, at)
			if len(d.faults) > keptFaults {
				d.faults = d.faults[1:]
			}
		}
	}
	return d.verdict(at, p)
}

func (d *damper) verdict(at time.Time, p pace) verdict {
	n := d.recent(at)
	if d.bad {
		return verdict{state: Failed, flaps: n}
	}
	if len(d.faults) == 0 {
		return verdict{state: Running}
	}
	hold := p.repair
	for range max(d.recent(d.since), 1) - 1 {
		hold = min(2*hold, max(maxRepair, p.repair))
	}
	end := d.since.Add(hold)
	switch {
	case !at.Before(end):
		return verdict{state: Running, flaps: n}
	case d.recent(d.since) >= flapping:
		return verdict{Failed, fmt.Sprintf("flapping: %d faults within %v; to be good for %v", d.recent(d.since), faultWindow, hold), end, n}
	}
	return verdict{Up, fmt.Sprintf("good again; running after %v without a fault", hold), end, n}
}

// recent counts the faults in the window that ends at a time.
func (d *damper) recent(at time.Time) (n int) {
	for _, f := range d.faults {
		if at.Sub(f) <= faultWindow {
			n++
		}
	}
	return n
}
