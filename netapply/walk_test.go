package netapply_test

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// walkSeed makes a walk that failed repeatable: NQ_WALK_SEED=... go test.
func walkSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("NQ_WALK_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("NQ_WALK_SEED=%d repeats this walk", seed)
	return seed
}

var walkSteps = flag.Int("walk", walkDefault, "steps of a random walk on the fake kernel")

// addForeign puts into a kernel what is not ours and must survive everything.
func addForeign(t *testing.T, k *fakekernel.Kernel) {
	t.Helper()
	k.AddPhysical("ext0", 1500, true)
	k.ForeignAddress("ext0", netip.MustParsePrefix("192.0.2.1/24"))
	k.ForeignAddress("lo", netip.MustParsePrefix("192.0.2.7/32"))
	for _, l := range []netapply.Link{
		{Name: "ext0.7", Kind: netapply.VLAN, Parent: "ext0", Options: netapply.Options{"id": "7"}},
		{Name: "bond9", Kind: netapply.Bond, Options: netapply.Options{"mode": "active-backup"}},
		{Name: "data9", Kind: netapply.Macvlan, Parent: "ext0", Options: netapply.Options{"mode": "bridge"}},
	} {
		if err := k.Foreign(l, true); err != nil {
			t.Fatal(err)
		}
	}
	k.ForeignRoute(netapply.Route{Table: netapply.MainTable, To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.254"), Link: "ext0", Metric: 4000})
}

// foreignLines are the lines of a kernel's state that are not ours.
func foreignLines(state string) string {
	var lines []string
	for l := range strings.SplitSeq(state, "\n") {
		if strings.Contains(l, "ext0") || strings.Contains(l, "bond9") || strings.Contains(l, "192.0.2.") || strings.Contains(l, "foreign=true") {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "\n")
}

// freshKernel is a kernel on which nothing was ever applied, with the physical
// interfaces as they are in another.
func freshKernel(t *testing.T, like *fakekernel.Kernel) *fakekernel.Kernel {
	t.Helper()
	k := fakekernel.New()
	o, err := like.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range o.Links {
		if strings.HasPrefix(l.Name, "eth") && l.Kind == netapply.Physical {
			k.AddPhysical(l.Name, l.MTU, l.Up)
			if err := k.Do(t.Context(), netapply.SetSettings{Link: l.Name, Settings: l.Settings})[0]; err != nil {
				t.Fatal(err)
			}
		}
	}
	addForeign(t, k)
	return k
}

func apply(t *testing.T, k netapply.Kernel, want netapply.Desired) netapply.Report {
	t.Helper()
	a := netapply.Applier{Kernel: k}
	r, err := a.Apply(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWalk goes from one random configuration to another, with somebody else
// breaking things in between, and compares with a kernel that had only the last.
// Several walks, each of its own seed, share the steps.
func TestWalk(t *testing.T) {
	seed := walkSeed(t)
	const walks = 4
	for n := range uint64(walks) {
		t.Run(strconv.FormatUint(n, 10), func(t *testing.T) {
			t.Parallel()
			walk(t, rand.New(rand.NewPCG(seed, 100+n)), *walkSteps/walks)
		})
	}
}

func walk(t *testing.T, rng *rand.Rand, steps int) {
	d := &drawer{rng: rng, vlan: true, hardware: true}
	k := fakekernel.New()
	for _, n := range drawnCards {
		k.AddPhysical(string(n), pick(d, 1500, 9000), d.chance(0.5))
	}
	addForeign(t, k)
	before := k.String()
	foreign := foreignLines(before)
	rounds := map[int]int{}
	for step := range steps {
		c, hosts := d.config()
		want, err := netapply.Want(c, "filer1", hosts)
		if err != nil {
			t.Fatal(err)
		}
		sabotaged := d.sabotage(t, k)
		r := apply(t, k, want)
		rounds[r.Rounds]++
		fail := func(what, detail string) {
			t.Helper()
			t.Fatalf("step %d (after %q): %s\n%s\nsteps:\n%v\nbefore:\n%s", step, sabotaged, what, detail, lines(r.Steps), before)
		}
		// No failures means that the last look found nothing left to do.
		if err := r.Err(); err != nil {
			fail("failures", err.Error())
		}
		after := k.String()
		if now := foreignLines(after); now != foreign {
			fail("foreign objects changed", cmp.Diff(foreign, now))
		}
		fresh := freshKernel(t, k)
		if err := apply(t, fresh, want).Err(); err != nil {
			fail("failures on a fresh kernel", err.Error())
		}
		if expected := fresh.String(); expected != after {
			fail("not as a fresh kernel (-fresh +walked)", cmp.Diff(sortedLines(expected), sortedLines(after)))
		}
		before = after
	}
	t.Logf("rounds needed: %v; drawn configurations refused by the rules: %d", rounds, d.refused)
	if d.refused > 20*steps {
		t.Errorf("the rules refused %d draws for %d configurations: the walk draws mostly nonsense", d.refused, steps)
	}
}

func sortedLines(s string) []string { return strings.Split(s, "\n") }

func lines(steps []netapply.Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// sabotage does something behind our back, and says what.
func (d *drawer) sabotage(t *testing.T, k *fakekernel.Kernel) string {
	o, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ours []netapply.ObservedLink
	for _, l := range o.Links {
		if l.Ours() {
			ours = append(ours, l)
		}
	}
	if len(ours) == 0 || d.chance(0.5) {
		return "nothing"
	}
	l := pick(d, ours...)
	switch d.rng.IntN(5) {
	case 0:
		_ = k.Delete(l.Name)
		return "ip link del " + l.Name
	case 1:
		s := netapply.SetLink{Name: l.Name, Up: new(!l.Up)}
		_ = k.Set(s)
		return s.String()
	case 2:
		s := netapply.SetLink{Name: l.Name, Master: new("")}
		_ = k.Set(s)
		return s.String()
	case 3:
		s := netapply.SetLink{Name: l.Name, MTU: new(1300)}
		_ = k.Set(s)
		return s.String()
	}
	for _, a := range o.Addresses {
		if a.Protocol == netapply.Protocol {
			k.DeleteAddress(a.Link, a.Prefix)
			return "ip addr del " + a.Prefix.String()
		}
	}
	return "nothing"
}
