package agent

import (
	"context"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/failover"
	"github.com/netquorum/netquorum/fsm"
	"github.com/netquorum/netquorum/rollout"
)

// wishes are what an open rollout asks of placement.
func wishes(c netquorum.Config) failover.Wishes {
	return failover.Wishes{Candidates: rollout.Candidates(c), Home: rollout.Homes(c)}
}

// slack is how much longer than its time-out a filer's step may take until it is
// believed to have fallen silent: it must boot, too.
const slack = 45 * time.Second

// A conductor leads the open rollout on. All that it decides from is in the
// documents, or reported to every leader anew; it remembers only since when it
// has seen a step being applied.
type conductor struct {
	leader   *leader
	handOver func(context.Context) error
	instant  func(string)

	watching rollout.Attempt
	since    time.Time
}

// keepRollout leads the open rollout on for as long as this filer leads. It is on
// its own because a step takes its time, which must not hold up a failover.
func (l *leader) keepRollout(ctx context.Context) {
	c := &conductor{leader: l, handOver: l.handOver, instant: l.instant}
	ticker := time.NewTicker(l.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.stepped:
		}
		if _, r, ok := l.log.State().Config().Rollout(); !ok || !r.Open() || l.book() == nil {
			l.setWaiting("")
			continue
		}
		for ctx.Err() == nil && c.next(ctx) {
		}
	}
}

// next makes the next move and reports whether there was one to make.
func (c *conductor) next(ctx context.Context) bool {
	l := c.leader
	ledger := l.book()
	if ledger == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*l.term)
	defer cancel()
	state, err := l.log.Confirm(ctx)
	if err != nil || l.book() != ledger {
		return false
	}
	config := state.Config()
	d := rollout.Next(config, c.seen(config, ledger))
	l.setWaiting(d.Waiting)
	switch {
	case d.HandOver:
		if err := c.handOver(ctx); err != nil {
			l.logger.Warn("leadership cannot be handed over for this filer's step; trying again", "error", err)
		}
		return false
	case !d.Commits():
		return false
	}
	_, was, _ := config.Rollout()
	c.instant("before " + moment(d.Puts))
	result, err := l.log.Propose(ctx, rolloutTransaction(config, l.newID(), "cluster", d.Puts, d.Deletes))
	switch {
	case err != nil:
		l.logger.Warn("the rollout could not be led on; trying again", "error", err)
		return false
	case result.Refusal != nil:
		l.logger.Warn("the rollout's next move was refused", "refusal", result.Refusal)
		return false
	}
	for _, p := range d.Puts {
		if r, ok := p.Spec.(*netquorum.Rollout); ok {
			l.logger.Info("rollout", "name", p.Name, "phase", r.Phase, "was", was.Phase, "failure", r.Failure, "revision", result.Revision)
		}
	}
	c.instant("after " + moment(d.Puts))
	return true
}

// moment names a move, for a lab that cuts the power at it.
func moment(puts []netquorum.Document) string {
	for _, p := range puts {
		r, ok := p.Spec.(*netquorum.Rollout)
		if !ok {
			continue
		}
		for _, s := range r.Steps {
			if s.State == netquorum.StepDraining || s.State == netquorum.StepApplying {
				return string(r.Phase) + " " + s.Filer + " " + string(s.State)
			}
		}
		return string(r.Phase)
	}
	return "nothing"
}

// rolloutTransaction writes documents of a rollout, provided that nobody else
// has led it on since.
func rolloutTransaction(c netquorum.Config, id, actor string, puts []netquorum.Document, deletes []netquorum.Key) fsm.Transaction {
	t := fsm.Transaction{ID: id, Actor: actor, System: true, Level: fsm.LevelRollout}
	for _, d := range puts {
		p := fsm.Put{Document: d}
		if old, ok := c.Get(d.Kind, d.Name); ok && d.Kind == netquorum.KindRollout {
			p.IfRevision = &old.Revision
		}
		t.Puts = append(t.Puts, p)
	}
	for _, k := range deletes {
		t.Deletes = append(t.Deletes, fsm.Delete{Key: k})
	}
	return t
}

// seen is what the leader knows now.
func (c *conductor) seen(config netquorum.Config, ledger *failover.Ledger) rollout.Seen {
	l := c.leader
	now := l.now()
	out := rollout.Seen{Leader: l.self, Now: now.UnixMilli(), Filers: map[string]rollout.Filer{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := range config.All(netquorum.KindMember) {
		r, standing := l.latest[d.Name], ledger.Standing(d.Name, now)
		out.Filers[d.Name] = rollout.Filer{
			Live: standing == failover.Live, Gone: standing == failover.Gone,
			Cached: r.Cached, Settled: r.Settled, Attempt: r.Attempt,
		}
	}
	doc, r, _ := config.Rollout()
	for _, s := range r.Steps {
		if s.State != netquorum.StepApplying {
			continue
		}
		if at := (rollout.Attempt{Rollout: doc.Name + "/" + s.Filer, Number: s.Attempt}); at != c.watching {
			c.watching, c.since = at, now
		}
		out.Overdue = now.Sub(c.since) > time.Duration(r.Timeout)*time.Millisecond+slack
	}
	return out
}

func (l *leader) setWaiting(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = what
}

// Waiting is what the rollout waits for, as this filer sees it if it leads.
func (l *leader) Waiting() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}
