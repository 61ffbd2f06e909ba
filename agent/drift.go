package agent

import (
	"slices"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
)

// calmDown is how long events of the kernel wait while somebody fights for an
// object: each change of his makes one.
const calmDown = 250 * time.Millisecond

// patience is how long to wait after an event of the kernel. Only Run calls it.
func (f *follower) patience() time.Duration {
	if slices.ContainsFunc(f.last.Drifts, netapply.Drift.Fight) {
		return calmDown
	}
	return 0
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// drifts are the last pass's, in the API's words.
func (o outcome) drifts() []api.Drift {
	var out []api.Drift
	for _, d := range o.report.Drifts {
		a := api.Drift{Object: d.Object, Times: d.Times, Since: d.Since.UTC(), Last: d.Last.UTC()}
		if d.Fight() {
			next := d.Next.UTC()
			a.Next = &next
		}
		out = append(out, a)
	}
	return out
}
