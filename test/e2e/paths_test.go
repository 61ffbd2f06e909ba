package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// Three filers with two networks for management, on a switch each.
const twoPathsTopology = `
name: two-paths
switches: [{name: east}, {name: west}]
filers:
- {name: filer1, ports: [{name: eth0, switch: east}, {name: eth1, switch: west}]}
- {name: filer2, ports: [{name: eth0, switch: east}, {name: eth1, switch: west}]}
- {name: filer3, ports: [{name: eth0, switch: east}, {name: eth1, switch: west}]}
`

const twoPathsConfig = `
kind: Cluster
name: office
spec: {mac: "00:07:34:04:12:0f"}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: filer1
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.1/24]}, {name: mgmt1, parent: eth1, addresses: [10.2.1.1/24]}]}
---
kind: Filer
name: filer2
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}, {name: mgmt1, parent: eth1, addresses: [10.2.1.2/24]}]}
---
kind: Filer
name: filer3
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]}, {name: mgmt1, parent: eth1, addresses: [10.2.1.3/24]}]}
`

// T2: the leader's path to the others is cut under load, in each way: raft keeps
// its leader, writes wait a moment, and the path is used again when it is back.
func TestLabAPathOfTheLeaderIsCut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "two-paths.yaml")
	if err := os.WriteFile(file, []byte(twoPathsConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := lab.ParseTopology("two-paths", []byte(twoPathsTopology))
	if err != nil {
		t.Fatal(err)
	}
	c := raiseTopology(t, example{config: file}, top)
	if err := c.Form(t.Context(), file, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.filers() {
		c.awaitPaths(f, true)
	}
	deaf := func(filers ...string) error {
		for _, f := range filers {
			c.sh(f, "nft add table inet deaf; nft add chain inet deaf in '{ type filter hook prerouting priority -500 ; }'; nft add rule inet deaf in iifname mgmt0 drop")
		}
		return nil
	}
	hears := func(filers ...string) error {
		for _, f := range filers {
			c.sh(f, "nft delete table inet deaf")
		}
		return nil
	}
	load := newWriters(c, 6)
	defer load.stop()
	load.awaitFrom(c, time.Time{}, 20, c.filers()...)
	for _, way := range []struct {
		name      string
		cut, mend func(leader string) error
	}{
		{"silently, in both directions", func(string) error { return deaf(c.filers()...) }, func(string) error { return hears(c.filers()...) }},
		{"silently, towards the leader", func(l string) error { return deaf(l) }, func(l string) error { return hears(l) }},
		{"silently, towards the others", func(l string) error { return deaf(c.others(l)...) }, func(l string) error { return hears(c.others(l)...) }},
		{"by pulling the leader's cable", func(l string) error { return c.SetLink(l, "eth0", false) }, func(l string) error { return c.SetLink(l, "eth0", true) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := c.in(t)
			// A machine that stands still for a heartbeat elects for that reason: it
			// is asked a second time.
			for try := range 2 {
				leader := c.leader("filer1")
				before := c.term(leader)
				start := time.Now()
				c.must(way.cut(leader))
				load.awaitFrom(c, start, 50, c.filers()...)
				c.awaitPaths(leader, false)
				wait := load.longestWait(start)
				c.expect(c.cli(leader, "", "links"), 0, "10.2.1.", "up")
				mended := time.Now()
				c.must(way.mend(leader))
				c.awaitPaths(leader, true)
				t.Logf("the longest time between two acknowledged writes was %v; the path was used again after %v, and then it was %v",
					wait.Round(time.Millisecond), time.Since(mended).Round(time.Millisecond), load.longestWait(mended).Round(time.Millisecond))
				if wait > 2*time.Second && !emulated {
					t.Errorf("writes waited %v", wait)
				}
				now := c.leader(leader)
				if now == leader && c.term(leader) == before {
					return
				}
				t.Logf("attempt %d: %s leads in term %d; before the cut it was %s in term %d", try+1, now, c.term(leader), leader, before)
			}
			t.Error("raft does not keep its leader")
		})
	}
	leader := c.leader("filer1")
	load.stop()
	c.settled(leader)
	load.find(c, c.filers()...)
	c.expect(c.cli(leader, "", "links", c.others(leader)[0]), 0, "went on by another path", "10.1.1.", "10.2.1.")
}

// awaitPaths waits until a filer uses the first path to all others, or until it
// uses another.
func (c *cluster) awaitPaths(filer string, first bool) {
	c.t.Helper()
	client := c.client(filer)
	defer client.Close()
	c.await(fmt.Sprintf("%s uses the first path: %v", filer, first), patience(), func() error {
		r, err := client.Links(c.t.Context(), "")
		if err != nil {
			return err
		}
		if len(r.Links) != 2 {
			return fmt.Errorf("it has links to %d filers", len(r.Links))
		}
		for _, l := range r.Links {
			used := slices.IndexFunc(l.Paths, func(p api.LinkPath) bool { return p.State == "up" && slices.Contains(p.Uses, "control") })
			switch {
			case len(l.Paths) != 2 && first:
				return fmt.Errorf("%d paths to %s: %+v", len(l.Paths), l.Filer, l.Paths)
			case l.Kind != "tcp":
				continue // the kernel chooses
			case used < 0 || first != (l.Paths[used].Remote[:5] == "10.1."):
				return fmt.Errorf("the paths to %s: %+v", l.Filer, l.Paths)
			}
		}
		return nil
	})
}

// longestWait is the longest time since a moment in which no write was
// acknowledged.
func (w *writers) longestWait(after time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := []time.Time{after}
	for _, a := range w.acks {
		if a.at.After(after) {
			at = append(at, a.at)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i].Sub(at[i-1]))
	}
	return longest
}

// term is raft's term, as a filer knows it.
func (c *cluster) term(filer string) uint64 {
	c.t.Helper()
	var term uint64
	c.await("the term", patience(), func() error {
		st, err := c.status(filer)
		term = st.Term
		return err
	})
	return term
}
