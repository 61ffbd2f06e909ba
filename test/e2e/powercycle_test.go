package e2e

import (
	"errors"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
)

// The worst morning: the whole cluster has lost its power, and somebody has
// pulled all cables.
func TestLabPowerCycleWithCablesOut(t *testing.T) {
	c := formed(t, "single-nic")
	morningAfter(c, func(string) wantLinks { return singleNIC }, "files")
}

// morningAfter cuts the power of all filers at once and switches them on with
// their cables out. Each must configure its kernel from its boot cache, say that
// it has no quorum, host nothing and take no writes. Then the cables are put in.
func morningAfter(c *cluster, want func(filer string) wantLinks, server string) {
	t := c.t
	c.settled(c.filers()[0])
	before, dump := c.mustStatus(c.filers()[0]).Commit, c.dump(c.filers()[0], api.Linearizable)
	if err := c.PowerCycle(true, c.filers()...); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.filers() {
		c.await(f+" configures its kernel from its boot cache", patience(), func() error {
			if _, err := c.status(f); err != nil {
				return err
			}
			return c.missingLinks(f, want(f))
		})
		st := c.mustStatus(f)
		if st.State != api.StateBooting || st.Quorum || st.Commit < before {
			t.Errorf("%s says that it is %s, quorum %v, at revision %d; it was at %d", f, st.State, st.Quorum, st.Commit, before)
		}
		c.expect(c.cli(f, "", "status"), 0, "NO QUORUM", "booting", "configured from the boot cache")
		if now := c.dump(f, api.Stale); now != dump {
			t.Errorf("%s booted with another configuration:\n%s\nwant:\n%s", f, now, dump)
		}
	}
	limit := (10 * c.heartbeat).String()
	c.expect(c.cli(c.filers()[0], "kind: Record\nname: late\n", "apply", "-f", "-", "--timeout", limit), 3, "no quorum")
	c.expect(c.cli(c.filers()[0], "", "get", "filer", "--timeout", limit), 3, "no quorum")

	// For longer than a lease, nobody hosts anything.
	until := time.Now().Add(c.lease + c.heartbeat)
	c.await("a lease to pass", patience(), func() error {
		if err := c.misplaced(c.configuration(), none); err != nil {
			t.Fatalf("without a quorum: %v", err)
		}
		if time.Now().Before(until) {
			return errors.New("too early")
		}
		return nil
	})

	if err := c.SetCables(true); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.settled(c.filers()[0])
	t.Logf("the cluster formed and served %v after the cables were put in", time.Since(begin).Round(10*time.Millisecond))
	c.agree(c.filers()[0])
	c.host(c.filers()[0], server)
	c.reaches("client", c.address(server).String())
	c.await("each address is in its place", patience(), func() error {
		return c.misplaced(c.configuration(), c.hosts(c.filers()[0]))
	})
	if now := c.dump(c.filers()[1], api.Linearizable); now != dump {
		t.Errorf("the configuration has changed:\n%s\nwant:\n%s", now, dump)
	}
	for _, f := range c.filers() {
		if err := c.missingLinks(f, want(f)); err != nil {
			t.Error(err)
		}
		if st := c.mustStatus(f); st.State != api.StateRunning || !st.Quorum {
			t.Errorf("%s says that it is %s, quorum %v", f, st.State, st.Quorum)
		}
	}
}
