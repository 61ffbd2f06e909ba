package monitor

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"
)

// An Event is one published change. The first of a subscription, and the first
// after changes were lost because the subscriber was slow, has the whole
// snapshot instead.
type Event struct {
	Seq  uint64
	Time time.Time
	// Interface went from one state to another; Member is set when it is a
	// member's state in the group Interface. With the same state twice, what
	// was negotiated by LACP changed, and Reason says to what.
	Interface string
	Member    string
	Was, Is   State
	Reason    string
	// Finding appeared, or is gone.
	Finding *Finding
	Gone    bool

	Snapshot *Snapshot
}

// room is how many events wait for a slow subscriber.
const room = 256

// A board shows the newest snapshot and tells subscribers of changes.
type board struct {
	mu          sync.Mutex
	now         Snapshot
	subscribers map[*subscriber]bool
}

type subscriber struct {
	events chan Event
	gap    chan struct{} // receives when events did not fit
	lost   bool          // since then; board.mu is held
}

func (b *board) snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// publish shows a snapshot and reports whether it differs from the one before.
func (b *board) publish(s Snapshot) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.Seq > 0 && !s.differs(b.now) {
		s.Seq = b.now.Seq
		b.now = s
		return false
	}
	s.Seq = b.now.Seq + 1
	events := changes(b.now, s)
	b.now = s
	for sub := range b.subscribers {
		sub.tell(events)
	}
	return true
}

// tell gives events to a subscriber, all or none: after a gap it wants to know
// everything again, and nothing until then.
func (s *subscriber) tell(events []Event) {
	if s.lost || len(events) > cap(s.events)-len(s.events) {
		s.lost = true
		select {
		case s.gap <- struct{}{}:
		default:
		}
		return
	}
	for _, e := range events {
		s.events <- e // there is room, and nobody else sends
	}
}

// catchUp ends a gap: what waits is older than the snapshot.
func (b *board) catchUp(s *subscriber) Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(s.events) > 0 {
		<-s.events
	}
	s.lost = false
	return b.now
}

// subscribe yields the snapshot and then events until the context ends.
func (b *board) subscribe(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		sub := &subscriber{events: make(chan Event, room), gap: make(chan struct{}, 1)}
		b.mu.Lock()
		first := b.now
		if b.subscribers == nil {
			b.subscribers = map[*subscriber]bool{}
		}
		b.subscribers[sub] = true
		b.mu.Unlock()
		defer func() {
			b.mu.Lock()
			delete(b.subscribers, sub)
			b.mu.Unlock()
		}()
		if !yield(Event{Seq: first.Seq, Time: first.Time, Snapshot: &first}) {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-sub.events:
				if !yield(e) {
					return
				}
			case <-sub.gap:
				now := b.catchUp(sub)
				if !yield(Event{Seq: now.Seq, Time: now.Time, Snapshot: &now}) {
					return
				}
			}
		}
	}
}

// changes are the events between two snapshots.
func changes(was, is Snapshot) []Event {
	var out []Event
	add := func(e Event) {
		e.Seq, e.Time = is.Seq, is.Time
		out = append(out, e)
	}
	before := map[[2]string]State{}
	for _, i := range was.Interfaces {
		before[[2]string{i.Name}] = i.State
		for _, m := range i.Members {
			before[[2]string{i.Name, m.Name}] = m.State
		}
	}
	state := func(group, member string, s State, why string) {
		k := [2]string{group, member}
		if before[k] != s {
			add(Event{Interface: group, Member: member, Was: before[k], Is: s, Reason: why})
		}
		delete(before, k)
	}
	for _, i := range is.Interfaces {
		state(i.Name, "", i.State, i.Reason)
		for _, m := range i.Members {
			state(i.Name, m.Name, m.State, m.Reason)
		}
	}
	for n, i := range is.Interfaces {
		if n < len(was.Interfaces) && was.Interfaces[n].Name == i.Name && i.LACP != nil && was.Interfaces[n].LACP != nil && *i.LACP != *was.Interfaces[n].LACP {
			add(Event{Interface: i.Name, Was: i.State, Is: i.State,
				Reason: fmt.Sprintf("LACP partner %s, aggregator %d, ports %d", i.LACP.Partner, i.LACP.Aggregator, i.LACP.Ports)})
		}
	}
	for _, i := range was.Interfaces { // in an order, unlike the map
		if s, gone := before[[2]string{i.Name}]; gone {
			add(Event{Interface: i.Name, Was: s, Is: Offline, Reason: "not watched any more"})
		}
	}
	findings := func(from, to []Finding, gone bool) {
		known := map[Finding]bool{}
		for _, f := range from {
			known[f] = true
		}
		for _, f := range to {
			if !known[f] {
				add(Event{Interface: f.Interface, Finding: &f, Gone: gone})
			}
		}
	}
	findings(was.Findings, is.Findings, false)
	findings(is.Findings, was.Findings, true)
	return out
}
