package netapply

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"
)

// A Drift is an object of ours that somebody else changed, and that was put
// right. It is forgotten when it has stayed right for a while.
type Drift struct {
	Object string
	Times  int       // put right
	Since  time.Time // first seen changed
	Last   time.Time // last seen changed
	// Next is set when it was changed so often that it is a fight: until then it
	// is left as the other one wants it.
	Next time.Time
}

// Fight reports whether the object is no longer put right at once.
func (d Drift) Fight() bool { return !d.Next.IsZero() }

func (d Drift) String() string {
	s := fmt.Sprintf("somebody else changed it, put right %d times since %s", d.Times, d.Since.UTC().Format(time.TimeOnly))
	if d.Fight() {
		s = fmt.Sprintf("somebody else keeps changing it, put right %d times since %s, not again before %s; stop the other one",
			d.Times, d.Since.UTC().Format(time.TimeOnly), d.Next.UTC().Format(time.TimeOnly))
	}
	return s
}

const (
	// fightTimes is how often an object is put right before it counts as a
	// fight.
	fightTimes = 5
	// The first time that an object is left alone; doubled each time that it
	// was put right in vain.
	minLeave, maxLeave = time.Second, time.Minute
	// calm is how long an object must stay right to be forgotten; longer than
	// maxLeave, or a fight would be forgotten while we look the other way.
	calm = 2 * maxLeave
)

// drifts finds out which steps are needed because of somebody else: those of a
// pass that wants exactly what the pass before it wanted, and reached.
type drifts struct {
	last    Desired
	settled bool            // last is set
	failed  map[string]bool // objects that the pass before did not reach
	objects map[string]*Drift
	left    map[string]bool // objects that are left alone in this pass
}

// begin takes the steps of a pass's first look.
func (d *drifts) begin(want Desired, steps []Step, now time.Time, log *slog.Logger) {
	for name, o := range d.objects {
		if now.Sub(o.Last) > calm {
			delete(d.objects, name)
			if o.Fight() && log != nil {
				log.Info("nobody changes an object any more", "object", name, "times", o.Times, "since", o.Since)
			}
		}
	}
	d.left = map[string]bool{}
	if len(steps) == 0 || !d.settled || !reflect.DeepEqual(want, d.last) {
		return // what is new is carried out at once
	}
	for name, o := range d.objects {
		d.left[name] = now.Before(o.Next)
	}
	r := newRoots(want, steps)
	seen := map[string]bool{}
	for _, s := range steps {
		name := r.of(s)
		if seen[name] || d.failed[name] {
			continue
		}
		seen[name] = true
		d.changed(name, now, log)
	}
}

// changed counts one change by somebody else.
func (d *drifts) changed(name string, now time.Time, log *slog.Logger) {
	o := d.objects[name]
	if o == nil {
		o = &Drift{Object: name, Since: now}
		if d.objects == nil {
			d.objects = map[string]*Drift{}
		}
		d.objects[name] = o
	}
	o.Last = now
	if d.left[name] {
		return
	}
	o.Times++
	if o.Times >= fightTimes {
		o.Next = now.Add(min(minLeave<<min(o.Times-fightTimes, 10), maxLeave))
	}
	if log != nil && (o.Times == 1 || o.Times == fightTimes) {
		log.Warn("an object of ours was changed by somebody else", "object", name, "times", o.Times, "since", o.Since, "fight", o.Fight())
	}
}

// hold takes out of a plan what is left alone until a fight is over, and says so.
func (d *drifts) hold(want Desired, steps []Step) ([]Step, []ObjectError) {
	if len(d.left) == 0 || len(steps) == 0 {
		return steps, nil
	}
	r := newRoots(want, steps)
	var failures []ObjectError
	said := map[string]bool{}
	left := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
		name := r.of(s)
		if d.left[name] && !said[name] {
			said[name] = true
			failures = append(failures, ObjectError{name, &fightError{*d.objects[name]}})
		}
		return d.left[name]
	})
	return left, failures
}

// end remembers what a pass came to.
func (d *drifts) end(want Desired, r Report) {
	d.last, d.settled = want, true
	d.failed = make(map[string]bool, len(r.Failures))
	for _, f := range r.Failures {
		if _, fight := f.Err.(*fightError); !fight {
			d.failed[f.Object] = true
		}
	}
}

// list returns all drifts, the worst first.
func (d *drifts) list() []Drift {
	var list []Drift
	for o := range maps.Values(d.objects) {
		list = append(list, *o)
	}
	slices.SortFunc(list, func(a, b Drift) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Object, b.Object))
	})
	return list
}

// A fightError is why an object is not as desired and nothing is done about it.
type fightError struct{ drift Drift }

func (e *fightError) Error() string { return e.drift.String() }
