package link

import (
	"log/slog"
	"net"
	"testing"
	"time"
)

// TestAProcessThatStoodStillDoubtsNoCarrier: what the peer owes may have come
// while nobody could look. Before, a write that had begun just before the pause
// closed its carrier.
func TestAProcessThatStoodStillDoubtsNoCarrier(t *testing.T) {
	l := &Link{cfg: Config{}.withDefaults(), log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1)}
	start := time.Now()
	for range 2 {
		conn, _ := net.Pipe()
		l.carriers = append(l.carriers, &Carrier{link: l, conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})})
	}
	c := l.carriers[0]
	c.busy, c.inline = true, true
	nothing := func(time.Time) {}
	for _, tt := range []struct {
		name    string
		late    time.Duration
		suspect bool
	}{
		{"it looks in time", 0, true},
		{"it looks when it can", time.Second, false},
	} {
		c.state, c.suspect, c.owes, c.began = Up, time.Time{}, start, start
		limit := c.rtt.patience(l.cfg.Suspect)
		now := start.Add(limit + tt.late)
		l.due = start.Add(limit)
		if tt.late > 0 { // it was to look earlier
			l.due = start.Add(limit / 2)
			now = l.due.Add(tt.late)
		}
		l.excuse(now)
		if got := l.doubt(c, now, nothing); got != tt.suspect || c.err != nil {
			t.Errorf("%s: suspect %v, closed for %v; want %v", tt.name, got, c.err, tt.suspect)
		}
	}
}
