package link

import "time"

// A view is what the choice of a carrier needs to know of one.
type view struct {
	gone    bool
	bulk    bool
	rank    int
	rtt     time.Duration
	suspect time.Time // since when; zero when it answers in time
	healed  time.Time // when it last stopped to be suspect; zero if it never was
	proven  time.Time // when it last answered
}

// choose returns the carrier that data of one kind uses, or -1. A suspect
// carrier is left only for one that has answered since: when the peer is busy
// and nobody answers, nothing is gained by sending everything again.
func choose(all []view, current int, bulk bool, now time.Time, settle time.Duration) int {
	if current >= 0 && all[current].gone {
		current = -1
	}
	best := -1
	for i, v := range all {
		switch {
		case v.gone || i == current:
			continue
		case !v.suspect.IsZero():
			continue
		case current >= 0 && all[current].suspect.IsZero():
			if !preferred(v, all[current], bulk) || !v.healed.IsZero() && now.Sub(v.healed) < settle {
				continue
			}
		case current >= 0:
			if v.proven.Before(all[current].suspect) {
				continue
			}
		}
		if best < 0 || preferred(v, all[best], bulk) || !preferred(all[best], v, bulk) && v.rtt < all[best].rtt {
			best = i
		}
	}
	switch {
	case best >= 0:
		return best
	case current >= 0:
		return current
	}
	for i, v := range all { // all are suspect: the one that answered last
		if !v.gone && (best < 0 || v.proven.After(all[best].proven)) {
			best = i
		}
	}
	return best
}

// preferred reports whether a is better than b by what they are for.
func preferred(a, b view, bulk bool) bool {
	if a.bulk != b.bulk {
		return a.bulk == bulk
	}
	return a.rank < b.rank
}

// A roundTrip is the smoothed round trip time of a carrier (RFC 6298, section 2).
type roundTrip struct {
	mean, dev time.Duration
	least     time.Duration
	known     bool
	best      time.Duration // of the pongs since the last settle
	pongs     int
	slow      int // settles in a row with nothing but late pongs
}

// pong notes a round trip.
func (r *roundTrip) pong(took time.Duration) {
	if !r.known {
		r.sample(took)
		return
	}
	if r.pongs++; r.pongs == 1 || took < r.best {
		r.best = took
	}
}

// settle learns from the best round trip since it was called last. Pings that a
// cut path has held up come in a bunch when it is healed and say nothing about
// round trips; only a path that is late again and again has become slow.
func (r *roundTrip) settle(late time.Duration) {
	const again = 8
	if r.pongs == 0 {
		return
	}
	r.pongs = 0
	if r.known && r.best > late {
		if r.slow++; r.slow < again {
			return
		}
	}
	r.slow = 0
	r.sample(r.best)
}

func (r *roundTrip) sample(d time.Duration) {
	if !r.known {
		r.mean, r.dev, r.least, r.known = d, d/2, d, true
		return
	}
	r.least = min(r.least, d)
	r.dev += ((d - r.mean).Abs() - r.dev) / 4
	r.mean += (d - r.mean) / 8
}

// patience is how long an answer may be owed beyond floor until its absence
// means something.
func (r roundTrip) patience(floor time.Duration) time.Duration {
	if !r.known {
		return floor + 500*time.Millisecond // nothing is known of the way yet
	}
	return min(floor+2*r.mean+4*r.dev, floor+2*time.Second)
}
