package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A daemon that is killed and started again within a second disturbs nobody: its
// kernel goes on answering, and is as the new daemon wants it.
func TestLabDaemonRestartDisturbsNobody(t *testing.T) {
	c := formed(t, "single-nic")
	for _, role := range []string{"leads", "follows"} {
		t.Run("the filer that hosts a server and "+role, func(t *testing.T) {
			c := c.in(t)
			// The machine may be too busy to start a daemon in time.
			const attempts = 3
			for n := 1; ; n++ {
				c.hostThat(role)
				err := c.restartHost()
				if err == nil {
					return
				}
				t.Logf("attempt %d: %v", n, err)
				if n == attempts {
					t.Fatalf("a restarted daemon disturbed somebody %d times", attempts)
				}
				c.settled("filer1")
			}
		})
	}
}

// hostThat sees to it that the host of files leads, or follows: it restarts the
// leader's daemon until another leads.
func (c *cluster) hostThat(role string) {
	c.t.Helper()
	c.await("the host of files "+role, patience(), func() error {
		host, leader := c.host("filer1", "files"), c.leader("filer1")
		if (host == leader) == (role == "leads") {
			return nil
		}
		c.must(c.KillDaemon(leader))
		c.must(c.StartDaemon(leader))
		c.settled("filer1")
		return fmt.Errorf("%s hosts and %s leads", host, leader)
	})
}

// restartHost kills the daemon of the filer that hosts files and starts it
// again. The error says what that disturbed.
func (c *cluster) restartHost() error {
	c.t.Helper()
	host := c.host("filer1", "files")
	ping, err := c.Ping("client", c.address("files"), 20*time.Millisecond)
	if err != nil {
		c.t.Fatal(err)
	}
	defer ping.Close()
	c.replies(ping)
	before := c.indexes(host)

	began := time.Now()
	c.must(c.KillDaemon(host))
	c.must(c.StartDaemon(host))
	took := time.Since(began)
	c.settled(c.others(host)[0])
	// Longer than a lease and than an answer may take to count as lost.
	until := began.Add(2*c.lease + 1200*time.Millisecond)
	c.await("a lease to pass", patience(), func() error {
		if time.Now().Before(until) {
			return fmt.Errorf("%v are left", time.Until(until))
		}
		return nil
	})
	r := ping.Report()
	if r.Lost > 0 {
		return fmt.Errorf("%d of %d pings were lost", r.Lost, r.Sent)
	}
	if now := c.host("filer1", "files"); now != host {
		return fmt.Errorf("the server moved from %s to %s", host, now)
	}
	if diff := cmp.Diff(before, c.indexes(host)); diff != "" {
		return fmt.Errorf("links were made anew (-before +after):\n%s", diff)
	}
	if n := c.writes(host); n != 0 {
		return fmt.Errorf("the new daemon asked its kernel for %d changes", n)
	}
	c.t.Logf("%s: the daemon was back after %v, %d pings, none lost, longest gap %v", host, took.Round(time.Millisecond), r.Sent, r.Gap.Round(time.Millisecond))
	return nil
}
