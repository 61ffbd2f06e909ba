package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
)

// far is an address beyond the router, where only the virtual server's routes
// lead.
const far = "203.0.113.9"

// What a virtual server does is counted wherever it does it, and commands can be
// run as one.
func TestLabStatisticsAndExec(t *testing.T) {
	c := formed(t, "single-nic")
	filer := c.filers()[0]
	host := c.host(filer, "files")
	address := netip.MustParseAddr("10.2.2.1")

	before := c.statisticsOf(filer, "files")
	const pings = 20
	c.exec("client", "ping", "-q", "-c", fmt.Sprint(pings), "-i", "0.01", "-s", "100", address.String())
	c.await("the pings to be in the statistics, as sent and as answered", patience(), func() error {
		was, is := addressTraffic(before, host, address).IP, addressTraffic(c.statisticsOf(filer, "files"), host, address).IP
		want := api.Flow{In: api.Count{Packets: pings, Bytes: pings * 128}, Out: api.Count{Packets: pings, Bytes: pings * 128}}
		if was.Plus(want) != is {
			return fmt.Errorf("%+v before, %+v after, and %+v were sent", was, is, want)
		}
		return nil
	})
	name := `netquorum_vserver_packets_total{direction="in",protocol="ip",vserver="files"}`
	if n := c.metric(host, name); n < pings {
		t.Errorf("%s of %s is %v, want at least %d", name, host, n, pings)
	}

	counted := addressTraffic(c.statisticsOf(filer, "files"), host, address).IP
	t.Run("counters survive the daemon", func(t *testing.T) {
		c := c.in(t)
		if err := c.KillDaemon(host); err != nil {
			t.Fatal(err)
		}
		if err := c.StartDaemon(host); err != nil {
			t.Fatal(err)
		}
		c.settled(host)
		if is := addressTraffic(c.statisticsOf(host, "files"), host, address).IP; is.In.Packets < counted.In.Packets {
			t.Errorf("%+v were counted before the daemon was killed, %+v after", counted, is)
		}
	})
	t.Run("counters survive a move, and count on at the new host", func(t *testing.T) {
		c := c.in(t)
		moves(c, c.host(filer, "files"), "files")
		now := c.host(filer, "files")
		c.exec("client", "ping", "-q", "-c", "5", "-i", "0.01", address.String())
		c.await("both hosts to be in the statistics", patience(), func() error {
			st := c.statisticsOf(filer, "files")
			old, new := addressTraffic(st, host, address).IP, addressTraffic(st, now, address).IP
			if old.In.Packets < counted.In.Packets || new.In.Packets < 5 || st.Total.IP.In.Packets < old.In.Packets+new.In.Packets {
				return fmt.Errorf("%s has counted %+v, %s %+v, all together %+v", host, old, now, new, st.Total.IP)
			}
			return nil
		})
	})

	t.Run("commands speak as the server, by its gateway", func(t *testing.T) {
		c := c.in(t)
		host := c.host(filer, "files")
		c.sh("router", "ip addr add "+far+"/32 dev lo\n"+
			"nft add table ip seen\nnft add counter ip seen files\nnft add counter ip seen others\n"+
			"nft add chain ip seen in '{ type filter hook input priority 0 ; }'\n"+
			"nft add rule ip seen in ip daddr "+far+" ip saddr 10.2.2.1 counter name files accept\n"+
			"nft add rule ip seen in ip daddr "+far+" counter name others")
		say := "echo hello >/dev/udp/" + far + "/9"
		if _, err := c.Exec(t.Context(), host, "bash", "-c", say); err == nil {
			t.Error("the filer itself reaches what only the server has a route to")
		}
		c.nq(host, "", "exec", "--vserver", "files", "--", "bash", "-c", say)
		c.nq(host, "", "exec", "--vserver", "FILES", "--address", "10.2.2.1", "--", "bash", "-c", say)
		if files, others := c.counted("router", "files"), c.counted("router", "others"); files != 2 || others != 0 {
			t.Errorf("the router saw %d packets of the server and %d of others, want 2 and none", files, others)
		}
		c.nq(host, "", "exec", "--vserver", "files", "--", "ping", "-c", "1", "-W", "5", "10.2.2.100")
		// Without a VRF, ping has to be told the address to use the gateway. When it is
		// not, what it sends is in the server's name all the same, if it comes anywhere.
		c.cli(host, "", "exec", "--vserver", "files", "--", "ping", "-c", "1", "-W", "1", far)
		if others := c.counted("router", "others"); others != 0 {
			t.Errorf("%d pings came to the router in the filer's name", others)
		}
		c.nq(host, "", "exec", "--vserver", "files", "--", "ping", "-I", "10.2.2.1", "-c", "1", "-W", "5", far)
		c.expect(c.cli(host, "", "exec", "--vserver", "media", "--", "bash", "-c", say), 1, "")
	})
	t.Run("a command is itself: input, output, exit code, signals", func(t *testing.T) {
		c := c.in(t)
		host := c.host(filer, "files")
		if out := c.nq(host, "some input", "exec", "--vserver", "files", "--", "cat"); out != "some input" {
			t.Errorf("cat says %q", out)
		}
		c.expect(c.cli(host, "", "exec", "--vserver", "files", "--", "sh", "-c", "echo told >&2; exit 77"), 77, "told")
		// A signal to netquorum is one to the command, once it is that.
		out := c.sh(host, `netquorum exec --vserver files -- sleep 60 & pid=$!
			until grep -q sleep /proc/$pid/comm; do :; done
			kill -TERM $pid; wait $pid || echo "ended with $?"`)
		if !strings.Contains(out, "ended with 143") {
			t.Errorf("a command that was sent SIGTERM: %q", out)
		}
		for _, other := range c.others(host) {
			c.expect(c.cli(other, "", "exec", "--vserver", "files", "--", "true"), 1, "files is on "+host)
		}
		c.expect(c.cli(host, "", "exec", "--vserver", "files", "--address", "10.2.2.9", "--", "true"), 1, "none of its addresses", "10.2.2.1")
	})
}

// statisticsOf asks a filer for a server's statistics, as an operator would.
func (c *cluster) statisticsOf(asked, server string) api.ServerStatistics {
	c.t.Helper()
	var st api.Statistics
	if err := json.Unmarshal([]byte(c.nq(asked, "", "statistics", server, "-o", "json")), &st); err != nil {
		c.t.Fatal(err)
	}
	if len(st.Servers) != 1 || st.Servers[0].Name != server {
		c.t.Fatalf("statistics of %s: %+v", server, st)
	}
	return st.Servers[0]
}

// addressTraffic is what one filer has counted for one address.
func addressTraffic(s api.ServerStatistics, filer string, a netip.Addr) api.Traffic {
	for _, f := range s.Filers {
		for _, x := range f.Addresses {
			if f.Filer == filer && x.Address == a {
				return x.Traffic
			}
		}
	}
	return api.Traffic{}
}
