package link

import (
	"time"
)

// keepTime does what is to be done by the clock: pings, doubts, patience.
func (l *Link) keepTime() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.done:
			l.notify()
			return
		case <-timer.C:
		case <-l.wake:
		}
		l.mu.Lock()
		now := time.Now()
		l.excuse(now)
		next := l.tick(now)
		l.due = next
		changed := l.changed
		l.changed = false
		l.mu.Unlock()
		if changed {
			l.notify()
		}
		timer.Reset(time.Until(next))
	}
}

func (l *Link) notify() {
	if l.cfg.Changed != nil {
		l.cfg.Changed()
	}
}

// noteChange has Changed called soon.
func (l *Link) noteChange() {
	l.changed = true
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tick does what is due and returns when something is next.
func (l *Link) tick(now time.Time) time.Time {
	l.looked = now
	if l.err != nil {
		return now.Add(time.Hour)
	}
	if now.Sub(l.answered) >= l.cfg.Patience {
		l.end(ErrSilent)
		return now.Add(time.Hour)
	}
	next := l.answered.Add(l.cfg.Patience)
	soon := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	doubted := false
	for _, c := range append([]*Carrier(nil), l.carriers...) {
		doubted = l.doubt(c, now, soon) || doubted
	}
	if doubted { // then it matters who else answers
		for _, c := range l.carriers {
			if c.suspect.IsZero() {
				c.nextPing = now
			}
		}
	}
	for _, c := range l.carriers {
		if !c.nextPing.After(now) {
			c.ping(now)
			c.nextPing = now.Add(l.cfg.Ping)
			l.resendLost(c)
			if c == l.ordinary {
				l.spared = 0
				l.askForRoom()
			}
		}
		soon(c.nextPing)
	}
	l.choose(now)
	return next
}

// excuse does not count the time for which this process itself stood still, or
// was kept from looking: what the carriers owe may be here, unread.
func (l *Link) excuse(now time.Time) {
	late := now.Sub(l.due)
	if l.due.IsZero() || late < l.cfg.Ping/2 {
		return
	}
	for _, c := range l.carriers {
		if !c.owes.IsZero() && c.owes.Before(l.due) {
			c.owes = c.owes.Add(late)
		}
		if c.busy && c.began.Before(l.due) {
			c.began = c.began.Add(late)
		}
	}
}

// doubt looks at what a carrier owes. It reports whether the carrier has just
// become suspect.
func (l *Link) doubt(c *Carrier, now time.Time, soon func(time.Time)) bool {
	if c.busy && c.watched != c.writes { // who writes spends no time on the clock
		c.watched, c.began = c.writes, now
	}
	if c.owes.IsZero() {
		return false
	}
	owed, limit := now.Sub(c.owes), c.rtt.patience(l.cfg.Suspect)
	switch {
	case owed >= l.cfg.GiveUp:
		c.fail(errMute)
		return false
	case owed < limit:
		soon(c.owes.Add(limit))
		return false
	}
	// A caller of Write that is caught in a carrier is worth more than the carrier,
	// if there is another.
	if c.busy && c.inline && now.Sub(c.began) >= 2*limit && l.other(c) {
		c.fail(errStuck)
		return false
	}
	soon(c.owes.Add(l.cfg.GiveUp))
	if owed < 10*limit {
		soon(c.owes.Add(10 * limit))
	} else if c.state == Suspect {
		c.state, c.since = Down, now
		l.noteChange()
	}
	if c.state != Up {
		return false
	}
	c.state, c.since, c.suspect = Suspect, now, now
	l.noteChange()
	return true
}

// other reports whether a carrier beside c answers.
func (l *Link) other(c *Carrier) bool {
	for _, o := range l.carriers {
		if o != c && o.suspect.IsZero() {
			return true
		}
	}
	return false
}

// ping asks for a sign of life.
func (c *Carrier) ping(now time.Time) {
	const most = 4 << 10
	if len(c.out) > most {
		return // nothing leaves anyhow
	}
	c.rtt.settle(c.rtt.patience(c.link.cfg.Suspect) / 2)
	c.number++
	c.pings = append(c.pings, ping{c.number, now, c.seq})
	c.out = putPing(c.out, kindPing, c.number)
	if c.owes.IsZero() {
		c.owes = now
	}
	copy(c.proven[1:], c.proven[:2])
	c.nudge()
}

// resendLost sends again what was sent before a ping that was answered a while
// ago: a carrier that keeps the order has brought it, so if it is not
// acknowledged the peer had no place for it, or its acknowledgement was lost.
func (l *Link) resendLost(c *Carrier) {
	for _, s := range l.streams {
		if len(s.send.frames) == 0 {
			continue
		}
		if f := s.send.frames[0]; f.on == c && f.seq <= c.proven[2] {
			l.resent += uint64(s.send.rewind(func(f *frame) bool {
				if f.on != c || f.seq > c.proven[2] {
					return false
				}
				f.leave()
				return true
			}))
			l.queue(s)
		}
	}
}

// askForRoom sends an empty frame where Write or what was written has waited for
// some time, since the acknowledgement that made room may have been lost: the answer
// repeats it.
func (l *Link) askForRoom() {
	const patience = 4 // pings
	for _, s := range l.streams {
		if (!s.waits || s.send.room() > 0) && (!s.send.tooEarly() || s.stopped) {
			continue
		}
		if s.starved++; s.starved >= patience && len(l.ordinary.out) < maxSmall {
			s.starved = 0
			l.ordinary.out = putEmpty(l.ordinary.out, s.id)
			l.ordinary.nudge()
		}
	}
}

// putEmpty appends a data frame without data, which arrived long ago.
func putEmpty(b []byte, stream uint64) []byte {
	n := len(b)
	b = append(b, make([]byte, dataHead)...)
	setDataHead(b[n:], kindData, stream, 0, 0)
	return b
}
