package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// Three filers with a card for management and one for clients: a filer that
// loses the second is well otherwise, and leads as before.
const twoCardsTopology = `
name: two-cards
switches: [{name: office}, {name: floor}]
filers:
- {name: filer1, ports: [{name: eth0, switch: office}, {name: eth1, switch: floor}]}
- {name: filer2, ports: [{name: eth0, switch: office}, {name: eth1, switch: floor}]}
- {name: filer3, ports: [{name: eth0, switch: office}, {name: eth1, switch: floor}]}
clients:
- {name: client, ports: [{name: eth0, switch: floor, addresses: [10.2.2.100/24]}]}
- {name: router, forward: true, ports: [{name: eth0, switch: floor, addresses: [10.2.2.254/24]}]}
`

const twoCardsConfig = `
kind: Cluster
name: office
spec:
  mac: "00:07:34:04:12:0f"
  probes: {interval: 200, fault: 1000, repair: 2000, linkRepair: 1000}
---
kind: Routes
name: out
spec: {routes: [{to: default, via: 10.2.2.254}]}
---
kind: FilerGroup
name: main
spec: {interfaces: [{name: data0, parent: eth1}]}
---
kind: Filer
name: filer1
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.1/24]}]}
---
kind: Filer
name: filer2
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}]}
---
kind: Filer
name: filer3
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]}]}
---
kind: VirtualServer
name: files
spec: {group: main, routes: out, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}
`

// N28: a filer whose clients' network is gone loses its servers to one whose is
// not; a fault that all filers see, and a link that flaps, move nothing.
func TestLabLinkFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "two-cards.yaml")
	if err := os.WriteFile(file, []byte(twoCardsConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := lab.ParseTopology("two-cards", []byte(twoCardsTopology))
	if err != nil {
		t.Fatal(err)
	}
	c := raiseTopology(t, example{config: file}, top)
	if err := c.Form(t.Context(), file, t.Output()); err != nil {
		t.Fatal(err)
	}
	c.runs(c.filers()...)

	t.Run("a pulled cable moves the server", func(t *testing.T) {
		c := c.in(t)
		host := c.host("filer1", "files")
		ping, err := c.Ping("client", c.address("files"), 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		defer ping.Close()
		c.replies(ping)
		c.must(c.SetLink(host, "eth1", false))
		c.await("another filer serves files", patience(), func() error {
			if now := c.placed("files"); now == host || now == "" {
				return fmt.Errorf("it is on %q", now)
			}
			return nil
		})
		c.reaches("client", "10.2.2.1")
		c.replies(ping)
		t.Logf("files left %s; the client waited %v", host, ping.Report().Gap.Round(time.Millisecond))
		c.expect(c.cli(host, "", "status"), 0, host+": eth1 is failed: no signal")
		c.expect(c.cli("filer1", "", "interface", "--filer", host), 0, "data0 alias failed", "eth1: no signal")

		epoch := c.epoch("files")
		c.must(c.SetLink(host, "eth1", true))
		c.runs(host)
		c.stays("files", epoch, 2*c.lease)
	})
	t.Run("what all filers see moves nothing", func(t *testing.T) {
		c := c.in(t)
		epoch := c.epoch("files")
		for _, f := range c.filers() {
			c.must(c.SetLink(f, "eth1", false))
		}
		for _, f := range c.filers() {
			c.awaitGroup(f, "data0", "failed")
		}
		// The first one that lost its cable may have lost the server before the
		// last one did.
		c.rests("files")
		if n := c.epoch("files") - epoch; n > 4 {
			t.Errorf("%d placements were made", n)
		}
		epoch = c.epoch("files")
		c.stays("files", epoch, 2*c.lease)
		for _, f := range c.filers() {
			c.must(c.SetLink(f, "eth1", true))
		}
		c.runs(c.filers()...)
	})
	t.Run("a gateway that does not answer one filer moves the server", func(t *testing.T) {
		c := c.in(t)
		host := c.host("filer1", "files")
		mac := strings.TrimSpace(c.sh(host, "cat /sys/class/net/data0/address"))
		c.await("the gateway answers "+host, patience(), func() error {
			g, err := c.group(host, "data0")
			if err != nil || len(g.Probes) != 1 || g.Probes[0].State != "answers" {
				return fmt.Errorf("data0 is %+v, %v", g, err)
			}
			return nil
		})
		c.sh("router", "nft add table arp deaf; nft add chain arp deaf in '{ type filter hook input priority 0 ; }'; nft add rule arp deaf in arp saddr ether "+mac+" drop")
		c.await("another filer serves files", patience(), func() error {
			if now := c.placed("files"); now == host || now == "" {
				return fmt.Errorf("it is on %q", now)
			}
			return nil
		})
		c.expect(c.cli(host, "", "interface", "data0"), 0, "no answer from 10.2.2.254")
		c.sh("router", "nft delete table arp deaf")
		c.runs(host)
	})
	t.Run("a gateway that answers nobody moves nothing", func(t *testing.T) {
		c := c.in(t)
		epoch := c.epoch("files")
		c.must(c.SetLink("router", "eth0", false))
		for _, f := range c.filers() {
			c.awaitGroup(f, "data0", "failed")
		}
		if n := c.epoch("files") - epoch; n > 4 {
			t.Errorf("%d placements were made while the filers lost the gateway one after the other", n)
		}
		c.rests("files")
		c.stays("files", c.epoch("files"), 2*c.lease)
		c.must(c.SetLink("router", "eth0", true))
		c.runs(c.filers()...)
	})
	t.Run("a link that flaps gets nothing, and loses what it has once", func(t *testing.T) {
		c := c.in(t)
		host, epoch := c.host("filer1", "files"), c.epoch("files")
		for range 8 {
			c.must(c.SetLink(host, "eth1", false))
			c.awaitGroup(host, "data0", "failed")
			c.must(c.SetLink(host, "eth1", true))
			c.await("its signal is back", patience(), func() error {
				if eth1, err := c.group(host, "eth1"); err != nil || eth1.Reason == "no signal" {
					return fmt.Errorf("eth1 is %+v, %v", eth1, err)
				}
				return nil
			})
		}
		if now := c.host("filer1", "files"); now == host {
			t.Errorf("files is still on %s, whose link flaps", host)
		}
		// Two placements make a move: nowhere, and elsewhere.
		if n := c.epoch("files") - epoch; n > 2 {
			t.Errorf("%d placements were made while a link flapped, want 2", n)
		}
		c.expect(c.cli(host, "", "interface", "eth1"), 0, "flapping")
	})
	// It has forgotten the flapping, too.
	t.Run("a restarted daemon finds the same and changes nothing", func(t *testing.T) {
		c := c.in(t)
		epoch := c.epoch("files")
		for _, f := range c.filers() {
			c.must(c.KillDaemon(f))
			c.must(c.StartDaemon(f))
			c.settled(f)
			c.runs(f)
			if n := c.writes(f); n != 0 {
				t.Errorf("the new daemon of %s asked its kernel for %d changes", f, n)
			}
		}
		if now := c.epoch("files"); now != epoch {
			t.Logf("a daemon took longer than a lease: epoch %d, was %d", now, epoch)
		}
	})
}

// group is the state of one interface of a filer.
func (c *cluster) group(filer, name string) (api.GroupStatus, error) {
	client := c.client(filer)
	defer client.Close()
	r, err := client.Interfaces(c.t.Context(), "")
	if err != nil {
		return api.GroupStatus{}, err
	}
	for _, g := range r.Interfaces {
		if g.Name == name {
			return g, nil
		}
	}
	return api.GroupStatus{}, fmt.Errorf("%s does not watch %s", filer, name)
}

func (c *cluster) awaitGroup(filer, name string, want api.GroupState) {
	c.t.Helper()
	c.await(fmt.Sprintf("%s of %s is %s", name, filer, want), patience(), func() error {
		g, err := c.group(filer, name)
		if err == nil && g.State != want {
			err = fmt.Errorf("it is %s: %s", g.State, g.Reason)
		}
		return err
	})
}

// runs waits until the data0 of filers run.
func (c *cluster) runs(filers ...string) {
	c.t.Helper()
	for _, f := range filers {
		c.await("data0 of "+f+" runs", 2*patience()+time.Minute, func() error {
			g, err := c.group(f, "data0")
			if err == nil && g.State != "running" {
				err = fmt.Errorf("it is %s: %s", g.State, g.Reason)
			}
			return err
		})
	}
}

// placement is where a server is placed, and its epoch.
func (c *cluster) placement(server string) (string, uint64) {
	c.t.Helper()
	var host string
	var epoch uint64
	c.await("a filer tells of "+server, patience(), func() error {
		st, err := c.status("filer1")
		if err != nil {
			return err
		}
		for _, s := range st.Servers {
			if s.Name == server {
				host, epoch = s.Host, s.Epoch
				return nil
			}
		}
		return errors.New("status does not list it")
	})
	return host, epoch
}

func (c *cluster) placed(server string) string { host, _ := c.placement(server); return host }
func (c *cluster) epoch(server string) uint64  { _, epoch := c.placement(server); return epoch }

// rests waits until a server has not been placed anew for the time of a lease.
func (c *cluster) rests(server string) {
	c.t.Helper()
	epoch, since := c.epoch(server), time.Now()
	c.await("the placement of "+server+" comes to rest", patience(), func() error {
		if now := c.epoch(server); now != epoch {
			epoch, since = now, time.Now()
		}
		if time.Since(since) < c.lease {
			return fmt.Errorf("epoch %d is %v old", epoch, time.Since(since))
		}
		return nil
	})
}

// stays watches a server for a while, in which nothing may be placed.
func (c *cluster) stays(server string, epoch uint64, span time.Duration) {
	c.t.Helper()
	end := time.Now().Add(span)
	c.await("some time to pass", span+patience(), func() error {
		if now := c.epoch(server); now != epoch {
			c.t.Fatalf("%s was placed anew: epoch %d, was %d", server, now, epoch)
		}
		if left := time.Until(end); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}

// monitored waits until each filer of the acceptance example says that all its
// interfaces work, that LACP is through, and nothing wrong with either.
func (c *cluster) monitored() {
	c.t.Helper()
	for _, f := range c.filers() {
		client := c.client(f)
		c.await("the monitor of "+f+" is content", patience(), func() error {
			r, err := client.Interfaces(c.t.Context(), "")
			if err != nil {
				return err
			}
			for _, x := range r.Findings {
				if strings.HasPrefix(x.Code, "lacp") || x.Code == "link-missing" || x.Code == "duplicate-address" {
					return fmt.Errorf("%s: %s", x.Interface, x.Message)
				}
			}
			for _, g := range r.Interfaces {
				switch {
				case g.State == "failed" || g.State == "offline" || g.State == "up":
					return fmt.Errorf("%s is %s: %s", g.Name, g.State, g.Reason)
				case g.Name == "fail0" && (g.Active == "" || len(g.Members) != 2):
					return fmt.Errorf("fail0 is %+v", g)
				case g.Name == "bond0" && (g.LACP == nil || g.LACP.Ports != 2):
					return fmt.Errorf("bond0 is %+v", g)
				}
			}
			st, err := client.Status(c.t.Context())
			if err != nil {
				return err
			}
			for _, l := range self(st).Links {
				if l.Name == "fail0" && l.Active == "" {
					return errors.New("status does not say which member of fail0 is in use")
				}
			}
			return nil
		})
	}
}
