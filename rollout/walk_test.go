package rollout

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/netquorum/netquorum"
)

// A world is a cluster in which everything may be late: what is committed reaches
// a filer's state, its disk and its kernel in its own time, and its power may be
// cut at any moment. Only what a filer reports is true.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	log    []netquorum.Config // log[i] is the configuration of revision i
	filers []*machine
	bad    string // whose step never proves good
	now    int64
	cuts   int
	known  map[knowledge]map[string][]netip.Prefix
}

// knowledge is what a filer knows that follows a revision; ahead in its step.
type knowledge struct {
	revision int
	filer    string
	ahead    bool
}

// view returns the mgmt addresses of all filers in what one of them follows.
func (w *world) view(k knowledge) map[string][]netip.Prefix {
	if out, ok := w.known[k]; ok {
		return out
	}
	c := w.log[k.revision]
	if k.ahead {
		c = Ahead(c, k.filer)
	} else {
		c = View(c, k.filer)
	}
	out := map[string][]netip.Prefix{}
	for _, m := range members(c) {
		out[m] = mgmtAddresses(c, m)
	}
	w.known[k] = out
	return out
}

type machine struct {
	name    string
	on      bool
	applied int // revision of its state
	cached  int // of its disk
	settled int // of its kernel
	booted  int // what it booted from: its state is never older
	attempt Attempt
	kernel  []netip.Prefix // its mgmt addresses
}

func newWorld(t testing.TB, seed uint64, c netquorum.Config, bad string) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), log: make([]netquorum.Config, 10), bad: bad, known: map[knowledge]map[string][]netip.Prefix{}}
	w.log = append(w.log, c)
	for i := range w.log[:10] {
		w.log[i] = c
	}
	for _, name := range members(c) {
		m := &machine{name: name, on: true, applied: 10, cached: 10, settled: 10}
		m.kernel = mgmtAddresses(c, name)
		w.filers = append(w.filers, m)
	}
	return w
}

func (w *world) top() int                 { return len(w.log) - 1 }
func (w *world) config() netquorum.Config { return w.log[w.top()] }

// commit makes the next revision.
func (w *world) commit(puts []netquorum.Document, deletes []netquorum.Key) {
	for i := range puts {
		puts[i].Revision = netquorum.Revision(len(w.log))
	}
	next, problems := w.config().Change(puts, deletes)
	if len(problems) > 0 {
		w.t.Fatalf("a commit is refused: %v", problems)
	}
	if problems := Check(next); len(problems) > 0 {
		w.t.Fatalf("a rollout that cannot be led was committed: %v", problems)
	}
	w.log = append(w.log, next)
}

// state is the newest configuration that a filer knows.
func (m *machine) state() int { return max(m.applied, m.booted) }

// dials reports whether a reaches b: at an address that it knows and b has.
func (w *world) dials(a, b *machine) bool {
	for _, p := range w.view(knowledge{a.state(), a.name, false})[b.name] {
		has := slices.ContainsFunc(b.kernel, func(q netip.Prefix) bool { return q.Addr() == p.Addr() })
		on := slices.ContainsFunc(a.kernel, func(q netip.Prefix) bool { return q.Masked().Contains(p.Addr()) })
		if has && on {
			return true
		}
	}
	return false
}

// quorum returns a majority of filers that all reach each other, of those given.
func (w *world) quorum(of []*machine) []*machine {
	for _, a := range of {
		group := []*machine{a}
		for _, b := range of {
			if a != b && !slices.ContainsFunc(group, func(g *machine) bool { return !w.dials(g, b) || !w.dials(b, g) }) {
				group = append(group, b)
			}
		}
		if len(group) >= majority(len(w.filers)) {
			return group
		}
	}
	return nil
}

// boot returns a machine as it is after a loss of power now.
func (w *world) boot(m *machine) *machine {
	return &machine{name: m.name, on: true, applied: m.cached, booted: m.cached, cached: m.cached, settled: m.cached,
		kernel: w.view(knowledge{m.cached, m.name, false})[m.name]}
}

// mustForm checks that, whatever has lost its power now, all filers reach each
// other when they are switched on: a majority is not enough, because one that
// nobody reaches would need somebody's help.
func (w *world) mustForm() error {
	for mask := range 1 << len(w.filers) {
		var all []*machine
		for i, m := range w.filers {
			if mask>>i&1 == 1 || !m.on {
				m = w.boot(m)
			}
			all = append(all, m)
		}
		if len(w.quorum(all)) < len(all) {
			text := ""
			for _, m := range all {
				_, r, _ := w.log[m.state()].Rollout()
				phase := "none"
				if r != nil {
					phase = fmt.Sprint(r.Phase, r.Steps)
				}
				text += fmt.Sprintf("\n%s at %d (rollout %s) has %s", m.name, m.state(), phase, m.kernel)
			}
			return fmt.Errorf("revision %d: not all filers reach each other after a loss of power of %03b:%s", w.top(), mask, text)
		}
	}
	return nil
}

// follow lets a filer's kernel follow its state.
func (w *world) follow(m *machine) {
	c := w.log[m.state()]
	doc, r, ok := c.Rollout()
	ahead := false
	if ok && r.Open() {
		if s, mine := stepOf(r, m.name); mine && s.State == netquorum.StepApplying {
			if m.attempt.Rollout != doc.Name || m.attempt.Number != s.Attempt {
				// New to it, or the one in which it was restarted.
				m.attempt = Attempt{Rollout: doc.Name, Number: s.Attempt, Outcome: Trying}
				if m.booted > 0 && m.booted >= int(doc.Revision) {
					m.attempt.Outcome = Interrupted
				}
			}
			ahead = m.attempt.Outcome == Trying || m.attempt.Outcome == Proven
		}
	}
	m.kernel, m.settled = w.view(knowledge{m.state(), m.name, ahead})[m.name], m.state()
}

// move lets one thing happen.
func (w *world) move() {
	m := w.filers[w.rng.IntN(len(w.filers))]
	switch what := w.rng.IntN(100); {
	case what < 30 && m.on:
		// What is committed comes by the leader, if it reaches it.
		if q := w.quorum(w.running()); q != nil && (slices.Contains(q, m) || slices.ContainsFunc(q, func(l *machine) bool { return w.dials(l, m) || w.dials(m, l) })) {
			m.applied = min(w.top(), m.state()+1+w.rng.IntN(2))
		}
	case what < 45 && m.on:
		w.follow(m)
	case what < 60 && m.on:
		m.cached = max(m.cached, m.state()-w.rng.IntN(2))
	case what < 70 && m.on && m.attempt.Outcome == Trying:
		m.attempt.Outcome = Proven
		if m.name == w.bad {
			m.attempt.Outcome, m.attempt.Reason = Reverted, "the switch is wrong"
		}
		w.follow(m)
	case what < 95:
		w.lead()
	case w.cuts > 0:
		w.cuts--
		for _, m := range w.filers {
			if w.rng.IntN(2) == 0 {
				m.on = false
			}
		}
	}
	if !m.on && w.rng.IntN(4) == 0 {
		*m = *w.boot(m)
	}
}

func (w *world) running() []*machine {
	return slices.DeleteFunc(slices.Clone(w.filers), func(m *machine) bool { return !m.on })
}

// lead does what the leader's next turn is, if there can be one.
func (w *world) lead() {
	q := w.quorum(w.running())
	if q == nil {
		return
	}
	w.now += 10
	l := q[w.rng.IntN(len(q))]
	seen := Seen{Filers: map[string]Filer{}, Leader: l.name, Now: w.now}
	for _, m := range w.filers {
		reports := m.on && (slices.Contains(q, m) || w.dials(m, l))
		seen.Filers[m.name] = Filer{Live: reports, Gone: !reports, Cached: netquorum.Revision(m.cached), Settled: netquorum.Revision(m.settled), Attempt: m.attempt}
	}
	if d := Next(w.config(), seen); d.Commits() {
		w.commit(d.Puts, d.Deletes)
	}
}

// walk lets things happen in random order, with cuts of power, and then lets the
// cluster come to rest. It returns the first moment at which it could not form.
func (w *world) walk(moves int) error {
	w.cuts = 8
	for range moves {
		w.move()
		if err := w.mustForm(); err != nil {
			return err
		}
	}
	w.cuts = 0
	for range 4000 {
		for _, m := range w.filers {
			if !m.on {
				*m = *w.boot(m)
			}
		}
		if _, r, _ := w.config().Rollout(); r.Phase == netquorum.RolloutStopped {
			w.bad = ""
			puts, deletes, err := Revert(w.config(), "it was stopped")
			if r.Reverting {
				puts, err = Resume(w.config(), false, nil)
			}
			if err != nil {
				return err
			}
			w.commit(puts, deletes)
		}
		w.move()
		if err := w.mustForm(); err != nil {
			return err
		}
		if w.rested() {
			return nil
		}
	}
	_, r, _ := w.config().Rollout()
	return fmt.Errorf("the rollout neither completes nor reverts: %s %v %s", r.Phase, r.Steps, r.Failure)
}

// rested reports whether the rollout is closed and every kernel is as the
// configuration has it.
func (w *world) rested() bool {
	if _, r, _ := w.config().Rollout(); r.Open() {
		return false
	}
	for _, m := range w.filers {
		if m.applied != w.top() || m.settled != w.top() || !slices.Equal(m.kernel, w.view(knowledge{w.top(), m.name, false})[m.name]) {
			return false
		}
	}
	return true
}

// start commits a change with its rollout.
func (w *world) start(puts []netquorum.Document, o Order) {
	before := w.config()
	after := change(w.t, before, slices.Clone(puts))
	doc, gone, err := Begin(before, after, Guard(before, after), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.commit(append(slices.Clone(puts), doc), gone)
}

// However late everything is and whatever loses its power when: the cluster can
// always form, and the rollout comes to an end.
func TestPowerMayBeCutAtAnyInstant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		filers := rapid.SampledFrom([]int{1, 2, 3, 4, 5}).Draw(rt, "filers")
		bad := rapid.SampledFrom([]string{"", "f1", "f2"}).Draw(rt, "bad")
		confirm := rapid.SampledFrom([]int{0, 100}).Draw(rt, "confirm")
		kind := rapid.SampledFrom([]string{"move", "bond", "both"}).Draw(rt, "kind")
		puts := moved(t, filers, "10.9.9")
		switch kind {
		case "bond":
			puts = bonded(t, filers)
		case "both":
			puts = bonded(t, filers)
			for i, d := range moved(t, filers, "10.9.9") {
				f := *puts[1+i].Spec.(*netquorum.Filer)
				f.Interfaces = slices.Clone(f.Interfaces)
				f.Interfaces[0].Addresses = d.Spec.(*netquorum.Filer).Interfaces[0].Addresses
				puts[1+i].Spec = &f
			}
		}
		w := newWorld(t, seed, cluster(t, filers), bad)
		w.start(puts, Order{Confirm: millis(confirm), Force: true})
		if err := w.walk(400); err != nil {
			rt.Fatal(err)
		}
	})
}

// With the rule switched off, by a rollout that begins as if every filer had
// stored both configurations, the same walk finds a cluster that cannot form.
func TestWithoutTheJointRuleAClusterIsLost(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, seed, cluster(t, 3), "")
		w.start(moved(t, 3, "10.9.9"), Order{})
		doc, r, _ := w.config().Rollout()
		r = r.Clone()
		r.Phase, r.Revision, r.Cached = netquorum.RolloutFilers, 0, members(w.config())
		doc.Spec = r
		w.log[w.top()] = change(t, w.config(), []netquorum.Document{doc})
		if err := w.walk(400); err != nil && strings.Contains(err.Error(), "not all filers reach each other") {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Error("the walk does not notice that the joint rule is switched off")
}
