package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// An Outcome is what a filer says of an attempt at its step.
type Outcome string

const (
	// Trying: its kernel follows the change, which is not proved to be good yet.
	Trying Outcome = "trying"
	// Proven: it reaches the quorum and its gateways. It stays.
	Proven Outcome = "proven"
	// Reverted: it did not, and the filer went back by itself.
	Reverted Outcome = "reverted"
	// Interrupted: the filer or its daemon was restarted meanwhile, and knows
	// of no attempt. It is as it was before.
	Interrupted Outcome = "interrupted"
)

// An Attempt is what a filer reports of its own step.
type Attempt struct {
	Rollout string  `json:"rollout,omitempty"`
	Number  int     `json:"number,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Reason  string  `json:"reason,omitempty"`
}

// A Filer is what the leader knows of one member.
type Filer struct {
	// Live filers report. One that is neither live nor gone has fallen silent
	// too lately to say.
	Live, Gone bool
	// Cached and Settled are the newest revisions that its boot cache holds and
	// that its kernel follows.
	Cached, Settled netquorum.Revision
	Attempt         Attempt
}

// Seen is what the leader knows beside the documents.
type Seen struct {
	Filers map[string]Filer
	// Leader is the filer that decides.
	Leader string
	// Now is the leader's clock, in milliseconds since 1970.
	Now int64
	// Overdue is set when the step that is being applied has lasted, before the
	// eyes of this leader, for longer than any filer would try.
	Overdue bool
}

// A Decision is what the leader does next. With nothing to commit it waits.
type Decision struct {
	Puts    []netquorum.Document
	Deletes []netquorum.Key
	// HandOver asks the leader to let another lead first: it is its own turn.
	HandOver bool
	// Waiting is what is waited for.
	Waiting string
}

// Commits reports whether there is something to commit.
func (d Decision) Commits() bool { return len(d.Puts)+len(d.Deletes) > 0 }

// maxAttempts is how often a filer that was restarted in its step tries again.
const maxAttempts = 3

// Next decides what comes next in the rollout that is open. Whoever leads may
// call it at any time: what it depends on is in the documents or reported anew
// to every leader.
func Next(c netquorum.Config, seen Seen) Decision {
	doc, r, ok := c.Rollout()
	if !ok || !r.Open() {
		return Decision{}
	}
	n := next{c: c, doc: doc, r: r.Clone(), seen: seen, all: members(c)}
	for i := range n.r.Steps {
		if s := &n.r.Steps[i]; !slices.Contains(n.all, s.Filer) {
			s.State = netquorum.StepDone // it has left the cluster
		}
	}
	switch r.Phase {
	case netquorum.RolloutJoint:
		return n.joint()
	case netquorum.RolloutFilers, netquorum.RolloutReverting:
		return n.filers()
	}
	return n.human()
}

type next struct {
	c    netquorum.Config
	doc  netquorum.Document
	r    *netquorum.Rollout // to be changed and put
	seen Seen
	all  []string
}

func (n *next) put(more ...netquorum.Document) Decision {
	for _, m := range n.all {
		if n.cached(m) && !slices.Contains(n.r.Cached, m) && n.r.Revision != 0 {
			n.r.Cached = append(n.r.Cached, m)
		}
	}
	n.doc.Spec = n.r
	return Decision{Puts: append([]netquorum.Document{n.doc}, more...)}
}

func wait(format string, args ...any) Decision {
	return Decision{Waiting: fmt.Sprintf(format, args...)}
}

func (n *next) live(filer string) bool { return n.seen.Filers[filer].Live }

// cached reports whether a filer has the joint configuration on disk.
func (n *next) cached(filer string) bool {
	f := n.seen.Filers[filer]
	return slices.Contains(n.r.Cached, filer) || f.Live && n.r.Revision != 0 && f.Cached >= n.r.Revision
}

// joint waits until every filer that is there has both addresses, on disk and in
// its kernel. One that is away knows the old ones, and all others keep them
// until it has come back.
func (n *next) joint() Decision {
	n.r.Revision = n.doc.Revision
	ready := 0
	for _, m := range n.all {
		f := n.seen.Filers[m]
		switch {
		case f.Live && f.Cached >= n.r.Revision && f.Settled >= n.r.Revision:
			ready++
		case f.Live:
			return wait("%s has yet to store both configurations", m)
		case !f.Gone:
			return wait("%s may be away or not", m)
		}
	}
	if ready < majority(len(n.all)) {
		return wait("%d of %d filers have both configurations", ready, len(n.all))
	}
	n.r.Phase = netquorum.RolloutFilers
	return n.put()
}

// filers leads one filer after the other.
func (n *next) filers() Decision {
	for i := range n.r.Steps {
		switch n.r.Steps[i].State {
		case netquorum.StepDraining:
			return n.draining(&n.r.Steps[i])
		case netquorum.StepApplying:
			return n.applying(&n.r.Steps[i])
		}
	}
	if server, home, away := n.away(); away {
		return wait("%s has yet to take back %s", home, server)
	}
	done, why := 0, ""
	for i := range n.r.Steps {
		s := &n.r.Steps[i]
		switch {
		case s.State == netquorum.StepDone:
			done++
		case !n.live(s.Filer):
			why = s.Filer + " is away, and changes when it is back"
		case s.Interrupts && !n.r.Force && !spared(n.all, s.Filer, n.live):
			why = fmt.Sprintf("a step of %s now would leave no quorum; switch another filer on, or `netquorum rollout resume --force`", s.Filer)
		default:
			return n.begin(s)
		}
	}
	switch {
	case n.r.Confirm > 0 && !n.r.Confirmed && !n.r.Reverting && done > 0:
		n.r.Phase = netquorum.RolloutConfirm
		n.r.Deadline = n.seen.Now + n.r.Confirm
		return n.put()
	case done < len(n.r.Steps):
		return Decision{Waiting: why}
	}
	return n.close()
}

// begin lets a filer's servers leave, or lets it change at once if nothing of
// theirs is touched.
func (n *next) begin(s *netquorum.RolloutStep) Decision {
	s.Reason = ""
	if !s.Interrupts {
		return n.attempt(s)
	}
	s.State = netquorum.StepDraining
	for d := range n.c.All(netquorum.KindPlacement) {
		if p := d.Spec.(*netquorum.Placement); strings.EqualFold(p.Filer, s.Filer) && !slices.Contains(s.Servers, d.Name) {
			s.Servers = append(s.Servers, d.Name)
		}
	}
	return n.put()
}

func (n *next) attempt(s *netquorum.RolloutStep) Decision {
	s.State = netquorum.StepApplying
	s.Attempt++
	return n.put()
}

// draining waits until the servers that can be hosted elsewhere have left. The
// others go down with the filer's links.
func (n *next) draining(s *netquorum.RolloutStep) Decision {
	if f := n.seen.Filers[s.Filer]; f.Gone {
		s.State = netquorum.StepWaiting
		return n.put()
	} else if !f.Live {
		return wait("%s may be away or not", s.Filer)
	}
	candidates := Candidates(n.c)
	for h := range n.c.Hosted() {
		p, ok := n.c.Placement(h.Key.Name)
		switch {
		case !ok:
		case strings.EqualFold(p.Leaving, s.Filer):
			return wait("%s leaves %s", h.Key.Name, s.Filer)
		case strings.EqualFold(p.Filer, s.Filer) && n.elsewhere(candidates(h), s.Filer):
			return wait("%s has yet to leave %s", h.Key.Name, s.Filer)
		}
	}
	if strings.EqualFold(s.Filer, n.seen.Leader) && slices.ContainsFunc(n.all, func(m string) bool { return m != s.Filer && n.live(m) }) {
		return Decision{HandOver: true, Waiting: "another filer has to lead while " + s.Filer + " changes"}
	}
	return n.attempt(s)
}

// elsewhere reports whether another filer could host a server now.
func (n *next) elsewhere(candidates []netquorum.Candidate, not string) bool {
	return slices.ContainsFunc(candidates, func(c netquorum.Candidate) bool {
		return c.Eligible() && !strings.EqualFold(c.Filer, not) && n.live(c.Filer)
	})
}

// away finds a server that left for a filer's step and could be back.
func (n *next) away() (server, home string, ok bool) {
	homes, candidates := Homes(n.c), Candidates(n.c)
	for h := range n.c.Hosted() {
		home := homes(h.Key.Name)
		if home == "" || !n.live(home) {
			continue
		}
		p, placed := n.c.Placement(h.Key.Name)
		if !placed || strings.EqualFold(p.Filer, home) {
			continue
		}
		able := func(c netquorum.Candidate) bool { return c.Eligible() && strings.EqualFold(c.Filer, home) }
		if slices.ContainsFunc(candidates(h), able) {
			return h.Key.Name, home, true
		}
	}
	return "", "", false
}

// applying waits for what the filer says of its attempt.
func (n *next) applying(s *netquorum.RolloutStep) Decision {
	f := n.seen.Filers[s.Filer]
	if f.Live && f.Attempt.Rollout == n.doc.Name && f.Attempt.Number == s.Attempt {
		switch f.Attempt.Outcome {
		case Proven:
			s.State = netquorum.StepDone
			return n.put()
		case Reverted:
			return n.stop(s, f.Attempt.Reason)
		case Interrupted:
			if s.Attempt < maxAttempts || n.r.Reverting {
				return n.attempt(s)
			}
			return n.stop(s, fmt.Sprintf("it was restarted in each of %d attempts", s.Attempt))
		}
	}
	if n.seen.Overdue {
		return n.stop(s, "it fell silent while it applied the change")
	}
	return wait("%s applies the change and proves that it is within reach", s.Filer)
}

func (n *next) stop(s *netquorum.RolloutStep, why string) Decision {
	s.State, s.Reason = netquorum.StepFailed, why
	n.r.Phase, n.r.Failure = netquorum.RolloutStopped, s.Filer+": "+why
	if n.r.Confirm > 0 && !n.r.Confirmed && !n.r.Reverting {
		n.r.Deadline = n.seen.Now + n.r.Confirm
	}
	return n.put()
}

// human waits for somebody to confirm, to resume or to revert, or until there is
// no time left for it.
func (n *next) human() Decision {
	if n.r.Deadline > 0 && n.seen.Now >= n.r.Deadline {
		why := "nobody confirmed it in time"
		if n.r.Failure != "" {
			why = n.r.Failure + "; " + why
		}
		if puts, deletes, err := Revert(n.c, why); err == nil {
			return Decision{Puts: puts, Deletes: deletes}
		}
	}
	if n.r.Phase == netquorum.RolloutConfirm {
		return wait("`netquorum confirm`")
	}
	return wait("`netquorum rollout resume` or `netquorum revert`")
}

// close ends the rollout: from here on everybody follows the configuration as it
// stands. What is dropped by that must be known to nobody alone: a filer whose
// disk knows the old addresses only could not find the others by new ones.
func (n *next) close() Decision {
	s, problems := sidesOf(n.c, n.r)
	if len(problems) > 0 {
		return wait("the documents of the rollout break rules: %v", problems)
	}
	if !n.r.Reverting && drops(s) {
		for _, m := range n.all {
			if !n.cached(m) {
				return wait("%s is away and knows the old addresses only; they stay until it has been back, or until `netquorum rollout resume --without %s`", m, m)
			}
		}
	}
	var more []netquorum.Document
	if !n.r.Reverting {
		more = memberPuts(s.from, s.to)
	}
	end(n.r)
	return n.put(more...)
}

func end(r *netquorum.Rollout) {
	r.Phase = netquorum.RolloutDone
	if r.Reverting {
		r.Phase = netquorum.RolloutReverted
	}
	r.Before, r.After, r.Deadline = nil, nil, 0
	for i := range r.Steps {
		r.Steps[i].Servers = nil
	}
}

// drops reports whether the joint configuration has more addresses than the one
// that the rollout leads to.
func drops(s sides) bool {
	for d := range s.to.All(netquorum.KindFiler) {
		if _, more := jointFiler(d.Spec.(*netquorum.Filer), s.to.Interfaces(d.Name), s.from.Interfaces(d.Name)); more {
			return true
		}
	}
	return false
}
