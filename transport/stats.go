package transport

import (
	"sync"
	"sync/atomic"
)

// A Reason says why a connection was turned away. Reasons are stable: they are
// labels of metrics.
type Reason string

const (
	NotTLS         Reason = "not-tls"
	OldTLS         Reason = "old-tls"
	UnknownService Reason = "unknown-service"
	NotInCluster   Reason = "not-in-cluster" // this filer has no identity yet
	NoCertificate  Reason = "no-certificate"
	OtherCluster   Reason = "other-cluster"
	Expired        Reason = "expired-certificate"
	NotAFiler      Reason = "not-a-filer"
	WrongFiler     Reason = "wrong-filer" // it is a filer of the cluster, but not the one that was called
	NotAllowed     Reason = "not-allowed"
	TimedOut       Reason = "timed-out"
	HungUp         Reason = "hung-up"
	Crowded        Reason = "crowded" // the oldest half-open one, when there were too many
	NotAccepted    Reason = "not-accepted"
	BrokenTLS      Reason = "broken-tls"
	BadFrame       Reason = "bad-frame"  // a join that is not one
	NotProven      Reason = "not-proven" // a stranger that does not know the secret
)

// Stats are counters since Listen, and three gauges.
type Stats struct {
	Accepted    uint64            // connections that reached the port
	Established uint64            // those whose peer proved who it is
	Refused     map[Reason]uint64 // those that were turned away

	Dials         uint64 // calls of Open
	DialsFailed   uint64 // those that came to nothing
	Attempts      uint64 // connections tried, for links
	WrongFilers   uint64 // attempts at which somebody else answered
	Requests      uint64 // requests of other filers served
	JoinsAdmitted uint64
	JoinsRefused  map[RefusalCode]uint64

	HalfOpen  int // connections whose peer has not proved anything yet
	Open      int // established ones, both directions
	Requested int // filers to which a stream for requests is open
}

// counters are the counting half of Stats.
type counters struct {
	accepted, established               atomic.Uint64
	dials, dialsFailed, attempts, wrong atomic.Uint64
	requests, admitted                  atomic.Uint64
	refused                             tally[Reason]
	joinsRefused                        tally[RefusalCode]
}

// A tally counts by label. The labels are constants of this package, so it
// cannot grow without bound.
type tally[K comparable] struct {
	mu sync.Mutex
	n  map[K]uint64
}

func (t *tally[K]) add(k K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[K]uint64{}
	}
	t.n[k]++
}

func (t *tally[K]) copy() map[K]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[K]uint64, len(t.n))
	for k, v := range t.n {
		out[k] = v
	}
	return out
}

// Stats returns the counters as they are now.
func (e *Endpoint) Stats() Stats {
	e.mu.Lock()
	open := len(e.conns)
	e.mu.Unlock()
	return Stats{
		Accepted:      e.count.accepted.Load(),
		Established:   e.count.established.Load(),
		Refused:       e.count.refused.copy(),
		Dials:         e.count.dials.Load(),
		DialsFailed:   e.count.dialsFailed.Load(),
		Attempts:      e.count.attempts.Load(),
		WrongFilers:   e.count.wrong.Load(),
		Requests:      e.count.requests.Load(),
		JoinsAdmitted: e.count.admitted.Load(),
		JoinsRefused:  e.count.joinsRefused.copy(),
		HalfOpen:      e.halfOpen.len(),
		Open:          open,
		Requested:     e.requests.len(),
	}
}
