package netapply

import (
	"log/slog"

	netquorum "github.com/netquorum/netquorum"
	"net/netip"
)

// An Announcer tells the neighbours where an address is now.
type Announcer struct {
	Log *slog.Logger
}

// An Announcement is one address that has arrived on a link of this filer.
type Announcement struct {
	Link    string
	MAC     netquorum.MAC
	Address netip.Addr
}

// NewAnnouncer starts an announcer; Close ends it.
func NewAnnouncer(log *slog.Logger) *Announcer { return &Announcer{Log: log} }

// Announce tells the neighbours several times over about two seconds. It does
// not wait.
func (a *Announcer) Announce(list ...Announcement) {}

// Close stops announcing and waits for what is under way.
func (a *Announcer) Close() {}
