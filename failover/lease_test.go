package failover

import (
	"testing"
	"time"
)

func TestLedgerNeverCallsAFilerGoneWhileItsLeaseRuns(t *testing.T) {
	start := time.Unix(1000, 0)
	const term, margin = 1000 * time.Millisecond, 200 * time.Millisecond
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	l := NewLedger(term, margin, start)
	l.Grant("f1", at(500))
	for _, test := range []struct {
		name  string
		filer string
		ms    int
		want  Standing
	}{
		{"a filer that reported is live", "f1", 1499, Live},
		{"a filer whose lease just ended is in doubt", "f1", 1500, Doubtful},
		{"a filer is gone when the margin has passed too", "f1", 1700, Gone},
		{"a filer unknown to a new leader may hold its predecessor's lease", "f2", 1199, Doubtful},
		{"and is gone when that must have ended", "f2", 1200, Gone},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := l.Standing(test.filer, at(test.ms)); got != test.want {
				t.Errorf("standing %v, want %v", got, test.want)
			}
		})
	}
}

func TestLeaseEndsAtTheHolderBeforeItEndsAtTheLeader(t *testing.T) {
	start := time.Unix(1000, 0)
	ledger := NewLedger(time.Second, 200*time.Millisecond, start)
	var lease Lease
	// The report leaves at 0, reaches the leader at 300 ms, and its answer the filer at 900 ms.
	ledger.Grant("f1", start.Add(300*time.Millisecond))
	lease.Renew(Grant{Lease: ledger.Term, Revision: 5}, start)
	for ms := 0; ms < 3000; ms += 10 {
		now := start.Add(time.Duration(ms) * time.Millisecond)
		_, held := lease.Held(now, 5)
		if held && ledger.Standing("f1", now) != Live {
			t.Fatalf("at %d ms the filer holds a lease that the leader no longer counts", ms)
		}
	}
	if _, held := lease.Held(start.Add(time.Second), 5); held {
		t.Error("the lease is held after its term")
	}
}

func TestLeaseIsNotHeldByAFilerThatLagsBehindTheGrant(t *testing.T) {
	var lease Lease
	now := time.Unix(1000, 0)
	lease.Renew(Grant{Lease: time.Second, Revision: 8}, now)
	if _, held := lease.Held(now, 7); held {
		t.Error("a filer that has not seen revision 8 may host by an outdated placement")
	}
	if _, held := lease.Held(now, 8); !held {
		t.Error("a filer that follows revision 8 may not host")
	}
}
