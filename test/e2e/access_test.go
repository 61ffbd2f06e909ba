package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
)

// What a client of three networks reaches on three virtual servers, by real
// connections, is what the policies say: before a move, during it, and after.
func TestLabAccessMatrix(t *testing.T) {
	for _, f := range netapply.Features(t.Context()) {
		if f.Name == netapply.FeatureNftables && !f.Present {
			t.Skipf("this kernel has no nftables: %s", f.Detail)
		}
	}
	c := formed(t, "access")
	config := c.configuration()
	services := serve(c)
	cells := matrix(t, config)

	t.Run("what holds for a server is told with where it comes from", func(t *testing.T) {
		c := c.in(t)
		c.expect(c.cli("filer2", "", "get", "--effective", "vserver/files"), 0, "access offices Cluster/acme")
		c.expect(c.cli("filer2", "", "get", "--effective", "vserver/research"), 0, "access laboratory VirtualServer/research")
	})
	t.Run("before a move", func(t *testing.T) { services.compare(c.in(t), config, cells) })
	t.Run("filers can be managed from the management network, and their port is always open", func(t *testing.T) {
		services.compare(c.in(t), config, filerCells())
	})
	t.Run("a filer gets the answers to what it asks", func(t *testing.T) { asksItself(c.in(t), services) })
	t.Run("applying the same again changes nothing", func(t *testing.T) { c.in(t).appliesToNothing() })
	drift(t, c, driftBound(), []drifting{
		{"the rules are flushed", "nft flush table inet netquorum_access", showAccess},
		{"the table is deleted", "nft delete table inet netquorum_access", showAccess},
		{"one more rule is inserted", "nft insert rule inet netquorum_access input accept", showAccess},
	})
	t.Run("an address that is not placed here does not answer", func(t *testing.T) { misplacedIsSilent(c.in(t), services) })
	t.Run("during a move", func(t *testing.T) {
		c := c.in(t)
		host := c.host("filer1", "research")
		stop := services.watch(c, config, cells)
		moves(c, host, "research")
		stop()
		if now := c.host(c.others(host)[0], "research"); now == host {
			t.Fatalf("research is still on %s", host)
		}
	})
	t.Run("after the move", func(t *testing.T) { services.compare(c.in(t), config, cells) })
	t.Run("without the table the client reaches what it should not", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.filers() { // or another one would move and repair
			if err := c.StopDaemon(f); err != nil {
				t.Fatal(err)
			}
			c.sh(f, "nft delete table inet netquorum_access")
		}
		wrong := services.wrong(c, config, cells, c.hostsNow())
		if wrong == nil {
			t.Error("the same is reached without the table: this test shows nothing")
		}
		t.Logf("without the table: %d cells differ", strings.Count(wrong.Error(), "\n")+1)
	})
}

const showAccess = "nft list table inet netquorum_access"

// A cell is one connection to try.
type cell struct {
	name   string // of the server or filer
	packet netquorum.Packet
}

// sources are the client's addresses, by what they stand for.
var sources = map[string]string{"office": "10.2.1.100", "laboratory": "10.2.50.100", "guest": "10.2.99.100"}

// tried are the services: nfs over both protocols, management, and one of the
// cluster's own.
var tried = []string{"tcp/22", "tcp/443", "tcp/2049", "udp/2049", "udp/161", "tcp/10000"}

// matrix is 3 servers x 6 services x 3 sources.
func matrix(t *testing.T, config netquorum.Config) []cell {
	var cells []cell
	for h := range config.Hosted() {
		for _, from := range sources {
			for _, service := range tried {
				cells = append(cells, newCell(t, h.Key.Name, from, h.Addresses[0].Prefix.Addr().String(), service))
			}
		}
	}
	if len(cells) != 54 {
		t.Fatalf("the matrix has %d cells", len(cells))
	}
	return cells
}

func newCell(t *testing.T, name, from, to, service string) cell {
	ports, err := netquorum.ParsePorts(service)
	if err != nil {
		t.Fatal(err)
	}
	return cell{name, netquorum.Packet{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to), Protocol: ports.Protocol, Port: ports.Low}}
}

func filerCells() []cell {
	var cells []cell
	for _, from := range []string{"10.1.1.100", "10.1.1.200"} {
		for _, port := range []uint16{22, 2049, netquorum.ClusterPort} {
			p := netquorum.Packet{From: netip.MustParseAddr(from), To: netip.MustParseAddr("10.1.1.3"), Protocol: "tcp", Port: port}
			cells = append(cells, cell{"filer2", p})
		}
	}
	return cells
}

func (c cell) String() string {
	return fmt.Sprintf("%s/%d of %s (%s) from %s", c.packet.Protocol, c.packet.Port, c.name, c.packet.To, c.packet.From)
}

// hostsNow are the hosts of the servers and of the filers' own addresses.
func (c *cluster) hostsNow() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, f := range c.filers() {
		out[f] = f
		for name, l := range c.links(f) {
			if _, server, ok := strings.Cut(l.Purpose, "VirtualServer/"); ok && strings.Contains(name, "-") {
				out[server] = f
			}
		}
	}
	return out
}

// compare tries all connections and compares with the policies.
func (s *services) compare(c *cluster, config netquorum.Config, cells []cell) {
	c.t.Helper()
	c.settled("filer1")
	begin := time.Now()
	if err := s.wrong(c, config, cells, c.hostsNow()); err != nil {
		c.t.Error(err)
	}
	c.t.Logf("%d connections tried in %v", len(cells), time.Since(begin).Round(time.Millisecond))
}

// wrong lists what is not as the policies say.
func (s *services) wrong(c *cluster, config netquorum.Config, cells []cell, hosts map[string]string) error {
	found := make([]error, len(cells))
	allowed := 0
	all := group{}
	for i, cell := range cells {
		host := hosts[cell.name]
		want := config.Decide(host, func(k netquorum.Key) bool { return hosts[k.Name] == host }, cell.packet)
		if want.Verdict == netquorum.Allow {
			allowed++
		}
		all.Go(func() {
			got, err := s.connect(cell, want.Verdict == netquorum.Allow)
			switch {
			case want.Verdict == netquorum.Allow && err != nil:
				found[i] = fmt.Errorf("%s is allowed (%s) and not answered: %w", cell, reason(want), err)
			case want.Verdict == netquorum.Allow && got != host:
				found[i] = fmt.Errorf("%s is answered by %q, not by %s", cell, got, host)
			case want.Verdict == netquorum.Deny && err == nil:
				found[i] = fmt.Errorf("%s is denied (%s) and answered by %s", cell, reason(want), got)
			}
		})
	}
	all.Wait()
	if allowed == 0 || allowed == len(cells) {
		c.t.Errorf("%d of %d cells are allowed: that is no test", allowed, len(cells))
	}
	return errors.Join(found...)
}

func reason(d netquorum.Decision) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s", d.Policy, d.Reason))
}

// watch tries what is denied again and again until it is stopped: whichever
// filer has the server, and also when none has, nothing of it may be answered.
func (s *services) watch(c *cluster, config netquorum.Config, cells []cell) (stop func()) {
	c.t.Helper()
	end := make(chan struct{})
	all := group{}
	var tries, answers counter
	for _, cell := range cells {
		allowed := config.Decide("filer1", func(netquorum.Key) bool { return true }, cell.packet).Verdict == netquorum.Allow
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(20 * time.Millisecond):
				}
				switch got, err := s.connect(cell, false); {
				case allowed && err == nil:
					answers.add()
				case !allowed && err == nil:
					c.t.Errorf("%s is denied and was answered by %s", cell, got)
				}
				tries.add()
			}
		})
	}
	return func() {
		c.t.Helper()
		close(end)
		all.Wait()
		c.t.Logf("%d connections tried during the move; %d allowed ones were answered", tries.value(), answers.value())
		if answers.value() == 0 {
			c.t.Error("no allowed connection was answered at all")
		}
	}
}

// misplacedIsSilent puts a server's address on a filer that does not host it,
// and sends it packets as a client would that has the wrong MAC in its table.
func misplacedIsSilent(c *cluster, s *services) {
	hosts := c.hostsNow()
	wrong := c.others(hosts["public"])[0]
	mac := c.links(wrong)["mgmt0"].MAC
	c.sh(wrong, "ip addr add 10.2.2.3/16 dev mgmt0")
	c.sh("client", "ip neigh replace 10.2.2.3 lladdr "+mac+" dev eth0 nud permanent")
	to := newCell(c.t, "public", sources["office"], "10.2.2.3", "tcp/10100") // default: allow
	if got, err := s.connect(to, false); err == nil {
		c.t.Errorf("%s answers on %s, which does not host public", got, wrong)
	}
	ping := func() error {
		_, err := c.Exec(c.t.Context(), "client", "ping", "-c2", "-i0.2", "-W1", "10.2.2.3")
		return err
	}
	if ping() == nil {
		c.t.Errorf("a ping to public is answered by %s, which does not host it", wrong)
	}
	c.sh(wrong, "nft delete table inet netquorum_access") // the daemon mends it soon
	c.await("the same ping is answered when the rules are away", patience(), func() error {
		if err := ping(); err == nil {
			return nil
		}
		_, _ = c.Exec(c.t.Context(), wrong, "nft", "delete", "table", "inet", "netquorum_access")
		return errors.New("no answer")
	})
	c.sh("client", "ip neigh del 10.2.2.3 dev eth0")
	c.sh(wrong, "ip addr del 10.2.2.3/16 dev mgmt0")
	c.settled("filer1")
}

// asksItself has a filer, whose policy denies everything from there, talk to
// the client.
func asksItself(c *cluster, s *services) {
	for _, protocol := range []string{"tcp", "udp"} {
		p := netquorum.Packet{From: netip.MustParseAddr("10.1.1.2"), To: netip.MustParseAddr("10.1.1.100"), Protocol: protocol, Port: 4000}
		if got, err := s.connectFrom("filer1", cell{"client", p}, patience()); err != nil || got != "client" {
			c.t.Errorf("%s from filer1 to the client: %q, %v", protocol, got, err)
		}
	}
}
