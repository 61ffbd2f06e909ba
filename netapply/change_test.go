package netapply_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

const (
	onCard = `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24, "2001:db8::2/64"]}, {name: data0, parent: eth0}`
	onBond = `{name: bond0, members: [eth0, eth1], bond: {mode: active-backup}}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24, "2001:db8::2/64"]}, {name: data0, parent: bond0}`
)

func change(t *testing.T, k netapply.Kernel, d netapply.Desired, known ...netapply.ObjectError) netapply.Report {
	t.Helper()
	a := netapply.Applier{Kernel: k}
	r, err := a.Change(t.Context(), d, known)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refuses makes a kernel refuse every step of which the text contains words.
func refuses(k *fakekernel.Kernel, words string) {
	k.Fault = func(s netapply.Step) error {
		if strings.Contains(s.String(), words) {
			return errors.New("the driver does not want to")
		}
		return nil
	}
}

// TestChangeIsRolledBack refuses one step after another of a change that puts a
// bond under everything, and expects the state from before each time.
func TestChangeIsRolledBack(t *testing.T) {
	before, after := single(t, onCard, onData0), single(t, onBond, onData0)
	for _, words := range []string{
		"master bond0", "ip link add name bond0", "ip link add link bond0", "ip addr add 10.1.1.2/24",
		"ip route add 10.1.1.0/24",
	} {
		t.Run(words, func(t *testing.T) {
			k := fakekernel.New("eth0", "eth1")
			mustApply(t, k, want(t, before, "filer1", "a"))
			was := k.String()
			back := false
			k.Fault = func(s netapply.Step) error {
				// What the change does fails, what puts things back does not.
				if !back && strings.Contains(s.String(), words) {
					return errors.New("the driver does not want to")
				}
				return nil
			}
			a := netapply.Applier{Kernel: k, Log: slog.New(whenSaid{"a change failed and is rolled back", func() { back = true }})}
			r, err := a.Change(t.Context(), want(t, after, "filer1", "a"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !r.RolledBack || len(r.Left) > 0 {
				t.Errorf("rolled back %t, left %v", r.RolledBack, r.Left)
			}
			if err := r.Err(); err == nil || !strings.Contains(err.Error(), "the driver does not want to") {
				t.Errorf("%v does not say what the driver said", err)
			}
			if diff := cmp.Diff(sortedLines(was), sortedLines(k.String())); diff != "" {
				t.Errorf("not as before (-before +now):\n%s\nsteps:\n%s", diff, lines(r.Steps))
			}
		})
	}
}

// A kernel that does not let links take each other's place gets what is wanted
// the plain way.
func TestSwapThatIsRefused(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	mustApply(t, k, want(t, single(t, onCard, onData0), "filer1", "a"))
	d := want(t, single(t, onBond, onData0), "filer1", "a")
	refuses(k, "&& ip link set")
	if r := change(t, k, d); r.RolledBack || r.Err() != nil {
		t.Errorf("rolled back %t: %v\n%s", r.RolledBack, r.Err(), lines(r.Steps))
	}
	mustBeSettled(t, k, d)
}

// An error of an instant is no reason to go back.
func TestChangeTriesTwice(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	mustApply(t, k, want(t, single(t, onCard), "filer1"))
	once := true
	k.Fault = func(s netapply.Step) error {
		if once && strings.Contains(s.String(), "master bond0") {
			once = false
			return errors.New("no memory")
		}
		return nil
	}
	d := want(t, single(t, onBond), "filer1")
	if r := change(t, k, d); r.RolledBack || r.Err() != nil {
		t.Errorf("rolled back %t: %v", r.RolledBack, r.Err())
	}
	mustBeSettled(t, k, d)
}

// What failed before the change, and what cannot be planned, undoes nothing.
func TestChangeWithFailuresOfBefore(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	refuses(k, "10.1.1.9/24")
	before := want(t, single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24, 10.1.1.9/24]}`), "filer1")
	r := apply(t, k, before)
	after := want(t, single(t, `{name: eth7}, {name: mgmt0, parent: eth0, addresses: [10.1.1.3/24, 10.1.1.9/24]}`), "filer1")
	r = change(t, k, after, r.Failures...)
	if r.RolledBack {
		t.Errorf("rolled back because of %v", r.Failures)
	}
	if !strings.Contains(k.String(), "address 10.1.1.3/24 dev mgmt0") {
		t.Errorf("the change is not there:\n%s", k)
	}
	k2 := fakekernel.New("eth0", "eth1")
	refuses(k2, "10.1.1.9/24")
	mustApply(t, k2, want(t, single(t, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}`), "filer1"))
	if r := change(t, k2, after); !r.RolledBack {
		t.Error("a step of the change itself failed, and it was not rolled back")
	}
}

// A server that has left must not come back with a rollback: it may be
// somewhere else already.
func TestRollbackDoesNotBringServersBack(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	c := single(t, onCard, onData0, `{kind: Routes, name: domain, spec: {vrf: true, routes: [{to: default, via: 10.2.3.254}]}}`,
		`{kind: VirtualServer, name: b, spec: {group: main, routes: domain, addresses: [{alias: data0, instance: 0, prefix: 10.2.3.1/24}]}}`)
	mustApply(t, k, want(t, c, "filer1", "a", "b"))
	refuses(k, "master bond0")
	r := change(t, k, want(t, single(t, onBond, onData0), "filer1", "a"))
	if !r.RolledBack || len(r.Left) > 0 {
		t.Fatalf("rolled back %t, left %v", r.RolledBack, r.Left)
	}
	mustBeSettled(t, k, want(t, single(t, onCard, onData0), "filer1", "a"))
	if strings.Contains(k.String(), "10.2.3.1") {
		t.Errorf("the server that left is back:\n%s", k)
	}
}

// What somebody else had on a link that was made again is gone, and that is
// said.
func TestRollbackSaysWhatIsLost(t *testing.T) {
	k := fakekernel.New("eth0", "eth1")
	mustApply(t, k, want(t, single(t, onCard), "filer1"))
	k.ForeignAddress("mgmt0", prefix("192.0.2.1/24"))
	refuses(k, "master bond0")
	r := change(t, k, want(t, single(t, onBond), "filer1"))
	if diff := cmp.Diff([]string{"address 192.0.2.1/24 dev mgmt0"}, objects(r.Left)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "not rolled back: address 192.0.2.1/24") {
		t.Errorf("%v", err)
	}
	// And so is what the kernel refuses on the way back.
	k = fakekernel.New("eth0", "eth1")
	mustApply(t, k, want(t, single(t, onCard), "filer1"))
	k.Fault = func(s netapply.Step) error {
		if text := s.String(); strings.Contains(text, "master bond0") || strings.Contains(text, "10.1.1.2/24") {
			return errors.New("no")
		}
		return nil
	}
	r = change(t, k, want(t, single(t, onBond), "filer1"))
	if !strings.Contains(strings.Join(objects(r.Left), "\n"), "address 10.1.1.2/24 dev mgmt0") {
		t.Errorf("left %v", r.Left)
	}
}

// TestRollbackWalk makes random changes that fail at a random step, and expects
// the state from before.
func TestRollbackWalk(t *testing.T) {
	seed := walkSeed(t)
	d := &drawer{rng: rand.New(rand.NewPCG(seed, 3)), vlan: true}
	k := fakekernel.New()
	for _, n := range drawnCards {
		k.AddPhysical(string(n), 1500, false)
	}
	rolled := 0
	for step := range *walkSteps / 10 {
		c, hosts := d.config()
		wanted, err := netapply.Want(c, "filer1", hosts)
		if err != nil {
			t.Fatal(err)
		}
		o, err := k.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		steps, _ := netapply.Plan(wanted, o)
		if len(steps) == 0 {
			continue
		}
		// Servers stay away once they have left: keep the same ones.
		was, faulty, back := k.String(), steps[d.rng.IntN(len(steps))], false
		k.Fault = func(s netapply.Step) error {
			if !back && s.Object() == faulty.Object() && reflect.TypeOf(s) == reflect.TypeOf(faulty) {
				return errors.New("no")
			}
			return nil
		}
		a := netapply.Applier{Kernel: k, Log: slog.New(whenSaid{"a change failed and is rolled back", func() { back = true }})}
		r, err := a.Change(t.Context(), wanted, nil)
		if err != nil {
			t.Fatal(err)
		}
		k.Fault = nil
		if !r.RolledBack {
			// A link that could not be removed may have gone with another.
			if r.Err() != nil {
				t.Fatalf("step %d: %s failed and nothing was rolled back: %v\n%s", step, faulty, r.Err(), lines(r.Steps))
			}
			continue
		}
		rolled++
		if len(r.Left) > 0 {
			t.Fatalf("step %d: left %v\nsteps\n%s\nbefore:\n%s", step, r.Left, lines(r.Steps), was)
		}
		if got, expected := withoutServers(k.String()), withoutServers(was); got != expected {
			t.Fatalf("step %d: %s failed; not as before (-before +now):\n%s\nsteps:\n%s\nbefore:\n%s", step, faulty,
				cmp.Diff(sortedLines(expected), sortedLines(got)), lines(r.Steps), was)
		}
		mustApply(t, k, wanted)
	}
	t.Logf("%d changes rolled back", rolled)
}

// whenSaid is a log that calls when a message is written.
type whenSaid struct {
	message string
	call    func()
}

func (w whenSaid) Handle(_ context.Context, r slog.Record) error {
	if r.Message == w.message {
		w.call()
	}
	return nil
}

func (w whenSaid) Enabled(context.Context, slog.Level) bool { return true }
func (w whenSaid) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w whenSaid) WithGroup(string) slog.Handler            { return w }

var serverTable = regexp.MustCompile(`unreachable default (table \d+)`)

// withoutServers leaves out of a kernel's state what belongs to virtual servers,
// of which a rollback brings back only those that are still hosted.
func withoutServers(state string) string {
	words := []string{"sv", "nq-", "a-server"} // in the names of ports and VRFs
	for _, m := range serverTable.FindAllStringSubmatch(state, -1) {
		words = append(words, m[1], strings.Replace(m[1], "table", "lookup", 1))
	}
	return strings.Join(slices.DeleteFunc(strings.Split(state, "\n"), func(line string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) })
	}), "\n")
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
