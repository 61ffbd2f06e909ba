package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// No two filers ever answer for one address at the same time, as a client sees
// it, whatever happens to the one that hosts it. A daemon that ends for good, or
// hangs, while its kernel goes on answering is not among what happens here: see
// docs/decisions/0005-leases-in-the-daemon.md.
func TestLabVserverNeverTwice(t *testing.T) {
	c := formed(t, "single-nic")
	first := c.mustStatus("filer1").Commit
	p := probing(c, "client", "eth0", netip.MustParseAddr("10.2.2.100"), netip.MustParseAddr("10.2.2.1"), c.links(c.host("filer1", "files"))["data0-files"].MAC)
	p.answers(true, c.host("filer1", "files"))
	for _, event := range []struct {
		name string
		how  func(c *cluster, host string)
	}{
		{"its host is cut off, and healed", func(c *cluster, host string) {
			c.must(c.Partition(host))
			p.answers(false, host)
			c.must(c.Heal())
		}},
		{"its host is cut off together with the client, and healed", func(c *cluster, host string) {
			c.must(c.Partition(host, "client"))
			p.silence(500 * time.Millisecond)
			c.placedElsewhere(host)
			c.must(c.Heal())
			p.answers(false, host)
		}},
		{"its host loses its power, and is switched on", func(c *cluster, host string) {
			c.must(c.Kill(host))
			p.answers(false, host)
			c.must(c.Power(host))
			p.mark(host)
		}},
		{"its host is switched off and on at once", func(c *cluster, host string) {
			c.must(c.PowerCycle(false, host))
			p.mark(host)
		}},
		{"its host's daemon is killed and started at once", func(c *cluster, host string) {
			c.must(c.KillDaemon(host))
			c.must(c.StartDaemon(host))
		}},
		{"its host is cut off for an instant", func(c *cluster, host string) {
			c.must(c.Partition(host))
			c.must(c.Heal())
		}},
	} {
		for n := range 2 {
			t.Run(fmt.Sprintf("%s, %d", event.name, n+1), func(t *testing.T) {
				c := c.in(t)
				p.c = c
				host := c.host("filer1", "files")
				began := len(p.seen())
				event.how(c, host)
				c.settled("filer1")
				p.answers(true, c.host("filer1", "files"))
				t.Logf("%s, then %s: the client had no answer for at most %v", host, c.host("filer1", "files"), longest(p.seen()[max(0, began-1):]).Round(time.Millisecond))
			})
		}
	}
	p.close()
	if len(p.replies) < 100 {
		t.Errorf("of %d questions %d were answered: too few to tell anything", p.asked, len(p.replies))
	}
	for what, seen := range p.wrong {
		t.Errorf("%s: %s", what, seen)
	}
	// The filers that answered, one after the other, must be those on which the
	// server was placed, one after the other. A filer that answers again after
	// its successor did, without having been named again, is not.
	placed := c.placements("filer1", "files", first)
	at := 0
	for _, r := range reigns(p.replies) {
		for at < len(placed) && placed[at] != r.host {
			at++
		}
		if at == len(placed) {
			t.Fatalf("%s answered from %s to %s, when it was another's turn; the server was placed on %v, and there answered %v", r.host,
				r.first.Format(time.StampMilli), r.last.Format(time.StampMilli), placed, reigns(p.replies))
		}
	}
	t.Logf("%d questions, %d answers; placed on %v", p.asked, len(p.replies), placed)
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// placedElsewhere waits until the other filers serve the example's server.
func (c *cluster) placedElsewhere(host string) {
	c.t.Helper()
	c.await("another filer serves it", patience(), func() error {
		st, err := c.status(c.others(host)[0])
		if err != nil {
			return err
		}
		for _, s := range st.Servers {
			if s.Name == "files" && s.State == "serving" && s.Host != host {
				return nil
			}
		}
		return errors.New("none does")
	})
}

// placements lists the filers on which a server was placed, one after the other,
// as the history tells.
func (c *cluster) placements(asked, server string, from netquorum.Revision) (out []string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	changes, err := c.client(asked).History(ctx, api.HistoryRequest{From: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, change := range changes {
		for _, d := range change.Documents {
			if d.Kind != netquorum.KindPlacement || d.Name != server || d.After == nil {
				continue
			}
			if filer := d.After.Spec.(*netquorum.Placement).Filer; filer != "" {
				if change.Revision <= from {
					out = nil // only where it was in the beginning
				}
				out = append(out, filer)
			}
		}
	}
	return out
}
