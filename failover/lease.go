package failover

import (
	"sync"
	"time"

	"github.com/netquorum/netquorum"
)

// A Grant is the leader's answer to a filer's report: the filer may host what
// Revision or a later one places on it, for Lease after it *sent* the report.
// Counting from before the report left makes the filer's end of the lease come
// before the leader's, whatever the network did to the answer.
type Grant struct {
	Lease    time.Duration      `json:"lease"`
	Revision netquorum.Revision `json:"revision"`
}

// A Lease is the holder's side: whether this filer may host now.
type Lease struct {
	mu       sync.Mutex
	until    time.Time
	revision netquorum.Revision
}

// Renew takes a grant that answers a report sent at the given time.
func (l *Lease) Renew(g Grant, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end := sent.Add(g.Lease); end.After(l.until) {
		l.until = end
	}
	l.revision = max(l.revision, g.Revision)
}

// Held reports whether a filer that follows the revision may host now, and
// until when it may.
func (l *Lease) Held(now time.Time, follows netquorum.Revision) (until time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until, now.Before(l.until) && follows >= l.revision
}

// A Ledger is the leader's side: when each filer reported last, and until when
// it may believe that it holds a lease. A new leader knows nothing of what its
// predecessor granted, so until one full lease has passed every silent filer is
// in doubt.
type Ledger struct {
	// Term is how long a grant lasts, Margin what is waited beyond it before a
	// filer counts as gone, for clocks that run at different speeds.
	Term, Margin time.Duration

	mu      sync.Mutex
	since   time.Time
	granted map[string]time.Time
}

// NewLedger starts a leader's book at the moment it became leader.
func NewLedger(term, margin time.Duration, now time.Time) *Ledger {
	return &Ledger{Term: term, Margin: margin, since: now, granted: map[string]time.Time{}}
}

// Grant notes that the filer gets a lease now.
func (l *Ledger) Grant(filer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.granted[filer] = now
}

// Standing tells what the filer may be thought to be doing.
func (l *Ledger) Standing(filer string, now time.Time) Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, reported := l.granted[filer]
	switch {
	case reported && now.Before(at.Add(l.Term)):
		return Live
	case !reported && now.Before(l.since.Add(l.Term+l.Margin)), reported && now.Before(at.Add(l.Term+l.Margin)):
		return Doubtful
	}
	return Gone
}
