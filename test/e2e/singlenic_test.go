package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab"
)

// singleNIC is what each filer of the single-nic example has.
var singleNIC = wantLinks{
	"eth0":  "veth mtu 1500",
	"mgmt0": "macvlan on eth0 mtu 1500",
	"data0": "macvlan on eth0 mtu 1500",
}

// The whole job on one network card: what the configuration says is in the
// kernels, stays there, and nothing else is touched.
func TestLabSingleNIC(t *testing.T) {
	c := formed(t, "single-nic")
	config := c.configuration()

	t.Run("every link exists and each address is in its place only", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.filers() {
			if err := c.missingLinks(f, singleNIC); err != nil {
				t.Error(err)
			}
		}
		if err := c.foreignAside(config); err != nil {
			t.Error(err)
		}
	})
	t.Run("the virtual servers answer the client in IPv4 and IPv6", func(t *testing.T) {
		for _, a := range []string{"10.2.2.1", "10.2.2.2", "2001:db8:2::1"} {
			c.in(t).reaches("client", a)
		}
	})
	t.Run("applying the same again changes nothing", func(t *testing.T) {
		c.in(t).appliesToNothing()
	})
	drift(t, c, driftBound(), hostDrift)
	// Only now, since deleting an alias takes what stands on it along.
	others := plantForeign(c, "eth0")
	t.Run("what is not ours survives applying again, and a repair", func(t *testing.T) {
		c := c.in(t)
		c.appliesToNothing()
		others.survives(c, "after applying again")
		c.spoil("filer1", hostDrift[0])
		others.survives(c, "after a repair")
		if err := c.foreignAside(config); err != nil {
			t.Error(err)
		}
	})
	t.Run("a filer that is cut off hosts nothing, and the server moves", func(t *testing.T) {
		c := c.in(t)
		host := c.host("filer1", "files")
		moves(c, host, "files")
		others.survives(c, "after a virtual server moved")
	})
	t.Run("a daemon that is stopped, or killed, and started again changes nothing that is not ours", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.filers() {
			for _, end := range []func(string) error{c.StopDaemon, c.KillDaemon} {
				if err := end(f); err != nil {
					t.Fatal(err)
				}
				if err := c.StartDaemon(f); err != nil {
					t.Fatal(err)
				}
				c.settled(f)
			}
		}
		others.survives(c, "after the daemons were restarted")
	})
	t.Run("the host loses its power and the client's pings resume", func(t *testing.T) {
		killAndResume(c.in(t), "files", "client")
	})
}

// foreignAside is misplaced, without the foreign addresses.
func (c *cluster) foreignAside(config netquorum.Config) error {
	c.t.Helper()
	err := c.misplaced(config, c.hosts(c.filers()[0]))
	if err == nil {
		return nil
	}
	var left []string
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, " 192.168.78.") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(left, "\n"))
}

// appliesToNothing applies the example's file once more and then makes every
// filer compare its whole kernel. Neither may write anything.
func (c *cluster) appliesToNothing() {
	c.t.Helper()
	filers := c.filers()
	c.settled(filers[0])
	before := map[string]int{}
	for _, f := range filers {
		before[f] = c.writes(f)
		if before[f] == 0 {
			c.t.Fatalf("%s counts no writes at all, so counting them shows nothing", f)
		}
	}
	revision := c.mustStatus(filers[0]).Commit
	said := c.nq(filers[1], read(c.t, c.example.config), "apply", "-f", "-", "--wait", "applied")
	if !strings.Contains(said, "nothing changed") {
		c.t.Errorf("apply says: %s", said)
	}
	if now := c.mustStatus(filers[0]).Commit; now != revision {
		c.t.Errorf("the revision was %d and is %d", revision, now)
	}
	// A policy that nobody uses concerns the kernel, as far as a daemon can tell
	// without looking: each of them makes a pass for its revision.
	c.nq(filers[1], "kind: Routes\nname: unused\nspec:\n  routes:\n  - {to: 192.0.2.128/25, via: 192.0.2.129}\n", "apply", "-f", "-", "--wait", "applied")
	c.nq(filers[1], "", "delete", "routes", "unused", "--wait", "applied")
	for _, f := range filers {
		if now := c.writes(f); now != before[f] {
			c.t.Errorf("%s asked its kernel for %d changes when nothing had changed", f, now-before[f])
		}
	}
}

// A drifting is a change to the kernel behind the daemon's back.
type drifting struct {
	name string
	how  string // in shell
	show string // prints what that spoils
}

// hostDrift is what can happen to the filer that hosts the single-nic example's
// servers.
var hostDrift = []drifting{
	{"an alias is deleted", "ip link del data0", "ip -d link show data0 | sed 's/^[0-9]*: //; s/state [A-Z]*//'"},
	{"an alias with an address is deleted", "ip link del mgmt0", "ip -d link show mgmt0 | sed 's/^[0-9]*: //; s/state [A-Z]*//'; ip -o -4 addr show dev mgmt0 to 10.1.1.0/24 | sed 's/^[0-9]*: //'; ip route show 10.1.1.0/24"},
	{"a filer's address is deleted", "ip addr del 10.1.1.2/24 dev mgmt0", "ip -o -4 addr show dev mgmt0 to 10.1.1.0/24; ip route show 10.1.1.0/24"},
	{"a link is set down", "ip link set data0 down", "ip -br link show data0 | cut -d' ' -f1,2 && ip -j link show data0 | grep -o '\"UP\"'"},
	{"an MTU is changed", "ip link set data0 mtu 1400", "cat /sys/class/net/data0/mtu"},
	{"a rule is deleted", "ip rule del from 10.1.1.2", "ip rule show from 10.1.1.2"},
	{"a route is deleted", "ip route del 10.1.1.0/24 dev mgmt0", "ip route show 10.1.1.0/24"},
	{"a port of a virtual server is deleted", "ip link del data0-files", "ip -o addr show dev data0-files scope global | sed 's/^[0-9]*: //'; ip rule show from 10.2.2.1"},
}

// driftBound is how long a repair may take: a second, on a real kernel.
func driftBound() time.Duration {
	if emulated {
		return 10 * time.Second
	}
	return time.Second
}

// drift spoils things on the first filer and waits for their repair. The bound
// is for the best of three attempts: this machine has other things to do.
func drift(t *testing.T, c *cluster, bound time.Duration, cases []drifting) {
	filer := c.filers()[0]
	for _, d := range cases {
		t.Run(d.name+" and is back within "+bound.String(), func(t *testing.T) {
			c := c.in(t)
			const attempts = 3
			for n := 1; ; n++ {
				took := c.spoil(filer, d)
				t.Logf("repaired after %v", took.Round(time.Millisecond))
				if took <= bound {
					return
				}
				if n == attempts {
					t.Fatalf("the repair took longer than %v %d times", bound, attempts)
				}
				c.settled(filer)
			}
		})
	}
}

// spoil changes the kernel and waits until what it shows is as before.
func (c *cluster) spoil(filer string, d drifting) time.Duration {
	c.t.Helper()
	show := func() string {
		out, _ := c.Exec(c.t.Context(), filer, "sh", "-c", d.show) // what is gone cannot be shown
		return out
	}
	before := show()
	if strings.TrimSpace(before) == "" {
		c.t.Fatalf("there is nothing to spoil: %s shows nothing", d.show)
	}
	spoilt := c.metric(filer, "netquorum_kernel_writes_total")
	begin := time.Now()
	c.sh(filer, d.how)
	c.await("the repair", patience(), func() error {
		if now := show(); now != before {
			return fmt.Errorf("there is:\n%s\nand was:\n%s", now, before)
		}
		return nil
	})
	took := time.Since(begin)
	c.await("the daemon's count of what it repaired", patience(), func() error {
		if c.metric(filer, "netquorum_kernel_writes_total") == spoilt {
			return fmt.Errorf("it has written nothing, so nothing was spoilt")
		}
		return nil
	})
	return took
}

// moves cuts a filer off until its server is hosted by another, and heals.
func moves(c *cluster, host, server string) {
	c.t.Helper()
	if err := c.Partition(host); err != nil {
		c.t.Fatal(err)
	}
	asked := c.others(host)[0]
	c.await(server+" is served by another filer", patience(), func() error {
		st, err := c.status(asked)
		if err != nil {
			return err
		}
		for _, s := range st.Servers {
			if s.Name == server && s.Host != host && s.State == "serving" {
				return nil
			}
		}
		return fmt.Errorf("it is not: %+v", st.Servers)
	})
	c.await("the filer that is cut off hosts nothing", patience(), func() error {
		for name, l := range c.links(host) {
			if strings.Contains(l.Purpose, "port ") {
				return fmt.Errorf("it has %s", name)
			}
		}
		return nil
	})
	if err := c.Heal(); err != nil {
		c.t.Fatal(err)
	}
	c.settled(asked)
}

// killAndResume cuts the power of a server's host and waits for the pings to
// resume. The address answers again after lease, margin and a new election.
func killAndResume(c *cluster, server, client string) {
	c.t.Helper()
	host := c.host(c.filers()[0], server)
	ping, err := c.Ping(client, c.address(server), 20*time.Millisecond)
	if err != nil {
		c.t.Fatal(err)
	}
	defer ping.Close()
	c.replies(ping)
	begin := time.Now()
	if err := c.Kill(host); err != nil {
		c.t.Fatal(err)
	}
	c.replies(ping)
	c.t.Logf("%s answered again %v after the power of %s was cut; the longest silence was %v", server,
		time.Since(begin).Round(time.Millisecond), host, ping.Report().Gap.Round(time.Millisecond))
	asked := c.others(host)[0]
	if now := c.host(asked, server); now == host {
		c.t.Errorf("%s is said to be on %s, which has no power", server, host)
	}
	if err := c.Power(host); err != nil {
		c.t.Fatal(err)
	}
	c.settled(asked)
	c.agree(asked)
}

// replies waits for an answer to a ping from now on.
func (c *cluster) replies(p *lab.Pinger) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	if err := p.AwaitReply(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// address is a server's first.
func (c *cluster) address(server string) netip.Addr {
	c.t.Helper()
	for h := range c.configuration().Hosted() {
		if h.Key.Name == server {
			return h.Addresses[0].Prefix.Addr()
		}
	}
	c.t.Fatalf("the example has no %s", server)
	return netip.Addr{}
}
