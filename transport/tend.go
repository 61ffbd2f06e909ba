package transport

import (
	"net/netip"
	"time"
)

// How long what is amiss with the carriers of a link may stay so, in pings: what
// is short on a busy or emulated machine is a matter of how it is set.
const (
	// settle is for how long a path may have two connections, since both filers
	// dialled it: time for both to see both.
	settle = 20
	// courtesy is how long the filer with the greater id leaves a path to the
	// other to dial, while the link lives by another path.
	courtesy = 5
	// doubt is how long a carrier may be down until its path is dialled anew: TCP
	// tries again ever more rarely, so a new connection finds a healed path sooner.
	doubt = 6
	// despair is the same when no carrier works: most likely a filer is busy, and
	// handshakes would make it busier.
	despair = 20
	// hopeless is how long a carrier may be down at all.
	hopeless = 100
)

// A held carrier is what tend needs to know of one.
type held struct {
	path          path       // as dialled; of one that the peer dialled, the zero path
	local, remote netip.Addr // as connected
	sctp, bulk    bool       // as in a path
	from          string     // of an association that the peer made, as in a path
	ours          bool       // dialled by this filer
	stale         bool       // made with an identity that was replaced since
	since         time.Time  // when it was attached
	down          time.Time  // since when it does not work; zero when it does
}

func (h held) works() bool { return h.down.IsZero() }

// on reports whether the carrier is one of the path.
func (h held) on(p path) bool {
	if h.ours {
		return h.path == p
	}
	if h.sctp || p.sctp {
		// It has all addresses of the peer, which makes another when it has others,
		// and those of this filer that were there when it was made.
		return h.sctp == p.sctp && h.bulk == p.bulk && h.from == p.from
	}
	remote, ok := host(p.remote)
	return ok && h.remote == remote && (!p.local.IsValid() || h.local == p.local)
}

// same reports whether two carriers are of one path, whoever dialled them.
func (h held) same(o held) bool {
	if h.sctp || o.sctp {
		return h.sctp == o.sctp && h.bulk == o.bulk
	}
	if h.ours && o.ours {
		return h.path == o.path
	}
	return h.local == o.local && h.remote == o.remote
}

// A trial is what became of dialling a path.
type trial struct {
	running  bool
	failures int       // in a row
	after    time.Time // not before
}

// A view is what one filer knows of its link to another.
type view struct {
	ping time.Duration // between two pings, the unit of all patience
	// first says that this filer's id is the lesser of the two: it is the one
	// that ends connections of which there are two, so that the filers never end
	// one each.
	first  bool
	wanted []path
	have   []held
	tried  map[path]trial
	lost   time.Time // when a carrier was lost last
}

// A tending is what to do about the carriers of a link.
type tending struct {
	dial []path
	drop []int     // of those that it has
	next time.Time // when there is more to do by the clock alone; zero when there is not
}

func (t *tending) later(at, now time.Time) {
	if at.After(now) && (t.next.IsZero() || at.Before(t.next)) {
		t.next = at
	}
}

// tend decides. A carrier that could still work is dropped only when another
// takes its place: what was sent and not acknowledged then goes that way.
func (v view) tend(now time.Time) tending {
	var t tending
	for _, p := range v.wanted {
		if v.tried[p].running {
			continue
		}
		if at := v.due(p); now.Before(at) {
			t.later(at, now)
		} else if !at.IsZero() {
			t.dial = append(t.dial, p)
		}
	}
	for i := range v.have {
		if at := v.ends(i); now.Before(at) {
			t.later(at, now)
		} else if !at.IsZero() {
			t.drop = append(t.drop, i)
		}
	}
	return t
}

// due is when a path is to be dialled; zero when it has all it needs.
func (v view) due(p path) time.Time {
	at, alive, renew := v.lost, false, false
	for _, h := range v.have {
		switch {
		case !h.works():
		case h.on(p) && !h.stale:
			return time.Time{}
		default:
			alive = true
		}
		renew = renew || h.on(p) && h.stale // the peer knows nothing of that
		if h.since.After(at) {
			at = h.since
		}
	}
	try := v.tried[p]
	if alive && !renew && !v.first && try.failures == 0 {
		at = at.Add(courtesy * v.ping)
	}
	for _, h := range v.have {
		if h.on(p) && !h.stale { // and does not work
			at = h.down.Add(doubt * v.ping)
			if !alive {
				at = h.down.Add(despair * v.ping)
			}
		}
	}
	if try.after.After(at) {
		at = try.after
	}
	if at.IsZero() {
		at = time.Unix(0, 0) // long ago
	}
	return at
}

// ends is when a carrier is to be dropped; zero when it is not.
func (v view) ends(i int) time.Time {
	h := v.have[i]
	for j, o := range v.have {
		if i == j || !o.works() || o.stale || o.ours && !v.wants(o) {
			continue
		}
		switch {
		case h.ours && !v.wants(h), // the configuration has moved on
			h.stale && !v.wants(h),  // the peer dials again
			o.same(h) && h.stale,    // replaced
			o.same(h) && !h.works(): // replaced
			return o.since
		case o.same(h) && v.first && (o.since.After(h.since) || o.since.Equal(h.since) && j > i):
			return o.since.Add(settle * v.ping)
		}
	}
	if !h.works() {
		return h.down.Add(hopeless * v.ping)
	}
	return time.Time{}
}

func (v view) wants(h held) bool {
	for _, p := range v.wanted {
		if h.on(p) {
			return true
		}
	}
	return false
}

// alive reports whether a carrier works.
func (v view) alive() bool {
	for _, h := range v.have {
		if h.works() {
			return true
		}
	}
	return false
}

// associated reports whether an association carries the link.
func (v view) associated() bool {
	for _, h := range v.have {
		if h.sctp && !h.bulk && h.works() {
			return true
		}
	}
	return false
}
