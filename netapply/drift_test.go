package netapply_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// fight lets somebody change a thing every so often for a while, with a pass
// after each change, and returns the last report and how often it was put right.
func fight(t *testing.T, a *netapply.Applier, d netapply.Desired, every, span time.Duration, change func()) (last netapply.Report, fixed int) {
	t.Helper()
	for end := time.Now().Add(span); time.Now().Before(end); {
		change()
		r, err := a.Apply(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if last = r; len(r.Steps) > 0 {
			fixed++
		}
		time.Sleep(every) // in a bubble
	}
	return last, fixed
}

func drifted(list []netapply.Drift) []string {
	var names []string
	for _, d := range list {
		names = append(names, d.Object)
	}
	return names
}

func TestOneForeignChangeIsPutRightAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fakekernel.New("eth0")
		a := &netapply.Applier{Kernel: k}
		d := want(t, single(t, onCard, onData0), "filer1", "a")
		for _, hosts := range [][]string{{"a"}, nil, {"a"}} { // our own changes are none
			r, err := a.Apply(t.Context(), want(t, single(t, onCard, onData0), "filer1", hosts...))
			if err != nil || len(r.Drifts) > 0 {
				t.Fatal(err, r.Drifts)
			}
		}
		good := k.String()
		must(k.Delete("data0-a"))
		r, err := a.Apply(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"link data0-a"}, drifted(r.Drifts)); diff != "" {
			t.Errorf("who removes a link has changed one thing (-want +got):\n%s", diff)
		}
		if r.Drifts[0].Times != 1 || r.Drifts[0].Fight() || r.Err() != nil || k.String() != good {
			t.Errorf("%+v, %v\n%s", r.Drifts, r.Err(), cmp.Diff(good, k.String()))
		}
		time.Sleep(3 * time.Minute)
		if r, _ = a.Apply(t.Context(), d); len(r.Drifts) > 0 {
			t.Errorf("still remembered after three quiet minutes: %v", r.Drifts)
		}
	})
}

// Whoever changes a thing again and again is not fought for ever, everything
// else goes on, and when he stops the thing is put right within a minute.
func TestAFightIsReportedAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := fakekernel.New("eth0")
		a := &netapply.Applier{Kernel: k}
		d := want(t, single(t, onCard, onData0), "filer1", "a")
		if _, err := a.Apply(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		good, start := k.String(), time.Now()
		r, fixed := fight(t, a, d, 100*time.Millisecond, 5*time.Minute, func() {
			must(k.Set(netapply.SetLink{Name: "mgmt0", MTU: new(1300)}))
		})
		// Five at once, then after 1, 2, 4 ... 32, and every 60 seconds.
		if fixed < 10 || fixed > 16 {
			t.Errorf("put right %d times in five minutes of 3000 changes", fixed)
		}
		if len(r.Drifts) != 1 || r.Drifts[0].Object != "link mgmt0" || !r.Drifts[0].Fight() || !r.Drifts[0].Since.Equal(start) || r.Drifts[0].Times != fixed {
			t.Errorf("reported as %+v after %d times", r.Drifts, fixed)
		}
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "link mgmt0: somebody else keeps changing it, put right") {
			t.Errorf("failures are %v", err)
		}
		// Another object meanwhile.
		k.DeleteAddress("data0-a", prefix("10.2.2.1/24"))
		if _, err := a.Apply(t.Context(), d); err != nil || !strings.Contains(k.String(), "address 10.2.2.1/24 dev data0-a") {
			t.Errorf("what nobody fights for was not put right: %v", err)
		}
		// A change of the configuration is no repair: it is carried out.
		other := want(t, single(t, strings.Replace(onCard, "mgmt0,", "mgmt0, mtu: 1400,", 1), onData0), "filer1", "a")
		if r, _ := a.Apply(t.Context(), other); r.Err() != nil || !strings.Contains(k.String(), "mtu=1400") {
			t.Errorf("a new MTU was not set: %v", r.Err())
		}
		if r, _ := a.Apply(t.Context(), d); r.Err() != nil || k.String() != good {
			t.Errorf("nor the old one again: %v\n%s", r.Err(), cmp.Diff(good, k.String()))
		}
		// The other one has the last word, and stops.
		must(k.Set(netapply.SetLink{Name: "mgmt0", MTU: new(1300)}))
		_, fixed = fight(t, a, d, time.Second, time.Minute+time.Second, func() {})
		if fixed != 1 || k.String() != good {
			t.Errorf("put right %d times within a minute after it stopped\n%s", fixed, cmp.Diff(good, k.String()))
		}
		time.Sleep(3 * time.Minute)
		r, err := a.Apply(t.Context(), d)
		if err != nil || len(r.Drifts) > 0 {
			t.Errorf("still remembered after three quiet minutes: %v, %v", r.Drifts, err)
		}
		must(k.Set(netapply.SetLink{Name: "mgmt0", MTU: new(1300)}))
		if r, _ := a.Apply(t.Context(), d); r.Err() != nil || k.String() != good {
			t.Errorf("not put right at once after the fight was forgotten: %v", r.Err())
		}
	})
}

// What the kernel refuses is no fight.
func TestFailuresAreNoFight(t *testing.T) {
	k := fakekernel.New("eth0")
	refuses(k, "10.1.1.2/24")
	a := &netapply.Applier{Kernel: k}
	d := want(t, single(t, onCard), "filer1")
	for range 10 {
		r, err := a.Apply(t.Context(), d)
		if err != nil || len(r.Drifts) > 0 {
			t.Fatal(err, r.Drifts)
		}
	}
}
