package sctpio

import (
	"net/netip"
	"testing"
)

func TestNotifications(t *testing.T) {
	path := netip.MustParseAddrPort("10.0.0.1:9000")
	for s, want := range map[string]Event{
		"0180 0000 14000000 0000 0000 0800 0800 07000000":          {Kind: AssociationUp},
		"0180 0000 14000000 0100 000c 0800 0800 07000000":          {Kind: AssociationLost, Cause: 12},
		"0180 0000 18000000 0100 0000 0800 0800 07000000 01020304": {Kind: AssociationLost},
		"0180 0000 14000000 0200 0000 0800 0800 07000000":          {Kind: AssociationRestarted},
		"0180 0000 14000000 0300 0000 0800 0800 07000000":          {Kind: AssociationEnded},
		"0180 0000 14000000 0400 0000 0800 0800 07000000":          {Kind: AssociationLost},
		"0580 0000 0c000000 07000000":                              {Kind: PeerShutdown},
		"0280 0000 94000000 0200 2328 0a000001 z*120 00000000 z*8": {Kind: PathAvailable, Remote: path},
		"0280 0000 94000000 0200 2328 0a000001 z*120 01000000 z*8": {Kind: PathUnreachable, Remote: path},
		"0280 0000 94000000 0200 2328 0a000001 z*120 04000000 z*8": {Kind: PathPrimary, Remote: path},
		"0280 0000 94000000 0200 2328 0a000001 z*120 05000000 z*8": {Kind: PathConfirmed, Remote: path},
		"0280 0000 94000000 0200 2328 0a000001 z*120 06000000 z*8": {Kind: PathFailing, Remote: path},
	} {
		got, known, err := parseNotification(unhex(t, s))
		if err != nil || !known || got != want {
			t.Errorf("%s is %v, %v, %v; it is %v", s, got, known, err, want)
		}
		if want.String() == "" || want.Kind.String() == "" {
			t.Errorf("%+v has no name", want)
		}
	}
	for _, s := range []string{"0980 0000 0c000000 07000000", "0180 0000 14000000 0900 0000 z*8", "0280 0000 94000000 0200 2328 z*124 09000000 z*8"} {
		if e, known, err := parseNotification(unhex(t, s)); known || err != nil {
			t.Errorf("%s is %v, %v", s, e, err)
		}
	}
	for _, s := range []string{"", "0180", "0180 0000 14000000 0100", "0280 0000 94000000 0200 2328"} {
		if e, _, err := parseNotification(unhex(t, s)); err == nil {
			t.Errorf("%s is %v", s, e)
		}
	}
}

func FuzzNotification(f *testing.F) {
	f.Add(unhex(f, "0180 0000 14000000 0100 000c 0800 0800 07000000"))
	f.Add(unhex(f, "0280 0000 94000000 0200 2328 0a000001 z*120 06000000 z*8"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, known, err := parseNotification(b); known && (err != nil || e.String() == "") {
			t.Errorf("%x is %v, %v", b, e, err)
		}
	})
}

// However small the reader's buffer is, a notification is understood, and a long
// one is not kept in full.
func TestNotificationInPieces(t *testing.T) {
	long := append(unhex(t, "0180 0000 14000000 0000 0000 0800 0800 07000000"), make([]byte, 3*maxNotification)...)
	for size := 1; size < len(long); size *= 3 {
		var seen []Event
		c := &Conn{observe: func(e Event) { seen = append(seen, e) }}
		for rest := long; len(rest) > 0; {
			n := min(size, len(rest))
			if err := c.notified(rest[:n], n == len(rest)); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			if len(c.note) > maxNotification {
				t.Fatalf("%d bytes are kept", len(c.note))
			}
		}
		if len(seen) != 1 || seen[0].Kind != AssociationUp || len(c.note) != 0 {
			t.Errorf("in pieces of %d: %v, %d bytes left over", size, seen, len(c.note))
		}
	}
}
