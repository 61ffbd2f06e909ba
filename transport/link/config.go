package link

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/netquorum/netquorum"
)

// A Class says how a stream's data is treated beside that of others.
type Class uint8

const (
	// Control is for requests and everything of moderate size. Its data goes on
	// one carrier, before all bulk data.
	Control Class = iota
	// Urgent is for tiny things that must not wait for a dead path to be found
	// dead: heartbeats, votes, leases. Each frame goes out on every carrier.
	Urgent
	// Bulk is for what is large. It prefers a carrier of its own (Path.Bulk),
	// and waits for everything else on a shared one.
	Bulk
)

func (c Class) String() string {
	switch c {
	case Control:
		return "control"
	case Urgent:
		return "urgent"
	case Bulk:
		return "bulk"
	}
	return "unknown"
}

// A Path is the way of a carrier.
type Path struct {
	Kind          string // "tcp", "sctp", "mem"
	Local, Remote netip.AddrPort
	// Bulk says that the carrier is there for bulk data: other data uses it
	// only when there is no other.
	Bulk bool
	// Rank orders carriers: of two that work, traffic goes to the lesser rank,
	// and back to it when it works again. Both sides need not agree.
	Rank int
}

// A Config says who the ends of a link are and how patient it is. Local and Peer
// are needed; the rest has defaults that suit a local network.
type Config struct {
	Local, Peer netquorum.FilerID

	// Accept is asked when the peer opens a stream. It returns the service of
	// the offered ones, which are in the peer's order of preference, that the
	// stream is to be of, and who takes the stream; nil refuses it. Neither may
	// block: both are called where the carrier is read. All are refused when
	// Accept is nil.
	Accept func(offered []string, c Class) (service string, take func(*Stream))
	// Changed is called when a carrier's state changes, one comes or goes, or
	// the link ends; from a goroutine of the link, one call at a time. Status
	// says what is so now.
	Changed func()
	Log     *slog.Logger

	// Ping is the time between two pings on each carrier.
	Ping time.Duration
	// Suspect is how long a carrier may owe an answer, beyond what its round
	// trips take, until another is used, if another answers.
	Suspect time.Duration
	// GiveUp is how long a carrier may owe an answer until it is closed.
	GiveUp time.Duration
	// Patience is how long nobody may answer on any carrier until the link ends.
	Patience time.Duration
	// Settle is how long a carrier of lesser rank must have worked until
	// traffic returns to it.
	Settle time.Duration
	// AckDelay is how long an acknowledgement waits for data to travel with, and
	// AckPatience how long that of little data does, which holds up nobody. A peer
	// that waits for longer than Suspect doubts the carrier.
	AckDelay, AckPatience time.Duration
	// Window is the most that one stream has under way or unread. Bulk streams
	// begin with BulkWindow and grow to MaxBulkWindow on long ways.
	Window, BulkWindow, MaxBulkWindow int
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Ping, 50*time.Millisecond)
	set(&c.Suspect, 60*time.Millisecond)
	set(&c.GiveUp, 5*time.Second)
	set(&c.Patience, 15*time.Second)
	set(&c.Settle, time.Second)
	set(&c.AckDelay, 4*time.Millisecond)
	set(&c.AckPatience, 20*time.Millisecond)
	bytes := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	bytes(&c.Window, 256<<10)
	bytes(&c.BulkWindow, 3<<19)
	bytes(&c.MaxBulkWindow, 8<<20)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
