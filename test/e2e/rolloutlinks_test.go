package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// Three filers with two cards. The second one of filer2 is on a switch that is
// joined to the others' only while the cable between the two is plugged in.
const twoCards = `
name: two-cards
switches:
- {name: lan}
- {name: wrong}
links:
- {from: wrong, to: lan}
filers:
- {name: filer1, ports: [{name: eth0, switch: lan}, {name: eth1, switch: lan}]}
- {name: filer2, ports: [{name: eth0, switch: lan}, {name: eth1, switch: wrong}]}
- {name: filer3, ports: [{name: eth0, switch: lan}, {name: eth1, switch: lan}]}
clients:
- name: client
  ports: [{name: eth0, switch: lan, addresses: [10.1.1.100/24, 10.2.2.100/24, "2001:db8:2::100/64"]}]
- name: router
  forward: true
  ports: [{name: eth0, switch: lan, addresses: [10.2.2.254/24]}]
`

// N19: the first bond under everything that the filers have, with one command.
func TestVMFirstBondUnderManagement(t *testing.T) {
	linksReplaced(t, "bond0", "{name: bond0, members: [eth0, eth1], bond: {mode: active-backup, primary: eth1}}, ", lab.Bonding)
}

// The same without a bond, for kernels that have none: everything that stands on
// the first card is put on the second.
func TestLabEverythingPutOnAnotherCard(t *testing.T) {
	linksReplaced(t, "eth1", "")
}

// linksReplaced puts all aliases of all filers on another link, under write load:
// first with the wrong switch at filer2, where the rollout must stop, then with
// the right one.
func linksReplaced(t *testing.T, parent, interfaces string, needs ...lab.Feature) {
	top, err := lab.ParseTopology("two-cards", []byte(twoCards))
	if err != nil {
		t.Fatal(err)
	}
	c := raiseTopology(t, exampleNamed("single-nic"), top, needs...)
	c.must(c.SetLink("wrong", "lan", false))
	if err := c.Form(t.Context(), c.example.config, t.Output()); err != nil {
		t.Fatal(err)
	}
	docs, err := netquorum.ParseDocuments("links", []byte("kind: FilerGroup\nname: main\nspec: {interfaces: ["+interfaces+"{name: data0, parent: "+parent+"}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	change := append(mgmtIn(c, "10.1.1", parent), api.Put{Document: docs[0]})
	p := probing(c, "client", "eth0", netip.MustParseAddr("10.2.2.100"), netip.MustParseAddr("10.2.2.1"), c.links(c.host("filer1", "files"))["data0-files"].MAC)
	p.answers(true, c.host("filer1", "files"))
	load := newWriters(c, 3)
	defer load.stop()
	load.awaitFrom(c, time.Time{}, 3, c.filers()...)

	err = c.rollOut(change, api.RolloutOptions{Timeout: api.Duration(10 * c.heartbeat)})
	if !errors.Is(err, api.ErrRollout) || !strings.Contains(err.Error(), "filer2: it reaches") && !strings.Contains(err.Error(), "filer2: it does not reach") {
		t.Fatalf("with the wrong switch at filer2: %v", err)
	}
	t.Logf("stopped: %v", err)
	r := c.mustStatus("filer1").Rollout
	before := true
	for _, s := range r.Steps {
		want := "eth0"
		switch {
		case s.Filer == "filer2":
			before = false
		case before:
			want = parent
		}
		c.await(fmt.Sprintf("%s (%s) has mgmt0 on %s", s.Filer, s.State, want), patience(), func() error { return c.mgmtOn(s.Filer, want) })
	}
	if before || r.Phase != netquorum.RolloutStopped {
		t.Errorf("the rollout is %s with %+v", r.Phase, r.Steps)
	}
	c.expect(c.cli("filer3", "", "status"), 0, "rollout-1 is STOPPED", "filer2", "netquorum rollout resume")

	c.must(c.SetLink("wrong", "lan", true))
	c.expect(c.cli("filer3", "", "rollout", "resume"), 0, "rollout-1 is under way")
	c.await("the rollout is done", patience(), func() error {
		if r := c.mustStatus("filer1").Rollout; r.Open {
			return fmt.Errorf("%s: %+v, waiting: %s", r.Phase, r.Steps, r.Waiting)
		}
		return nil
	})
	for _, f := range c.filers() {
		if err := c.mgmtOn(f, parent); err != nil {
			t.Error(err)
		}
	}
	c.settled("filer1")
	c.agree("filer1")
	load.stop()
	for _, f := range c.filers() {
		load.find(c, f)
	}
	p.answers(true, c.host("filer1", "files"))
	p.close()
	moves := len(reigns(p.replies)) - 1
	t.Logf("%d writes acknowledged; files moved %d times, and the client had no answer for at most %v", load.count(), moves, longest(p.replies).Round(time.Millisecond))
	// A move of a live server takes the way of two reports; the margin is for a
	// busy machine.
	if gap := longest(p.replies); gap > 3*c.lease {
		t.Errorf("the client had no answer for %v", gap)
	}
}

// rollOut makes a change and waits for the end of its rollout.
func (c *cluster) rollOut(puts []api.Put, o api.RolloutOptions) error {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*patience())
	defer cancel()
	_, err := c.client("filer1").Apply(ctx, api.ApplyRequest{Puts: puts, Wait: api.WaitApplied, Rollout: o})
	return err
}

// mgmtOn tells whether a filer's mgmt0 stands on a link.
func (c *cluster) mgmtOn(filer, parent string) error {
	out := c.exec(filer, "ip", "-br", "link", "show", "mgmt0")
	if !strings.HasPrefix(out, "mgmt0@"+parent+" ") {
		return errors.New(out)
	}
	return nil
}

// An unconfirmed change goes back although the leader is killed meanwhile, and a
// change that could leave no quorum has to be forced.
func TestLabUnconfirmedChangeGoesBack(t *testing.T) {
	c := formed(t, "single-nic")
	puts := mgmtIn(c, "10.9.9", "eth0")
	begin := time.Now()
	if err := c.rollOut(puts, api.RolloutOptions{Confirm: api.Duration(10 * c.heartbeat)}); err != nil {
		t.Fatal(err)
	}
	inForce := time.Now()
	leader := c.leader("filer1")
	c.must(c.KillDaemon(leader))
	left := c.others(leader)[0]
	c.expect(c.cli(left, "kind: Record\nname: since\nspec: {data: 1}\n", "apply", "-f", "-"), 0)
	c.await("the change goes back", patience(), func() error {
		if r := c.mustStatus(left).Rollout; !r.Reverting {
			return fmt.Errorf("%s", r.Phase)
		}
		return nil
	})
	c.must(c.StartDaemon(leader))
	c.await("all is as it was", patience(), func() error {
		if r := c.mustStatus(left).Rollout; r.Phase != netquorum.RolloutReverted {
			return fmt.Errorf("%s: %+v, waiting: %s", r.Phase, r.Steps, r.Waiting)
		}
		return nil
	})
	t.Logf("in force after %v, taken back %v later", inForce.Sub(begin).Round(time.Millisecond), time.Since(inForce).Round(time.Millisecond))
	if now := c.networkNow(); now != "10.1.1" {
		t.Errorf("the management network is %s", now)
	}
	c.expect(c.cli(left, "", "get", "record", "since"), 0, "since")

	// With one of three away, no link may go down on another.
	c.must(c.Kill(leader))
	text := "kind: FilerGroup\nname: main\nspec: {interfaces: [{name: eth0, mtu: 1400}, {name: data0, parent: eth0}]}\n"
	c.expect(c.cli(left, text, "apply", "-f", "-"), 1, "too few others", "--force")
	c.must(c.Power(leader))
	c.settled(left)
}
