package e2e

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// What a cluster bears without anybody noticing: strangers that occupy its port,
// and a change of its authority. And what it does to a filer that was stolen.
func TestLabSecurity(t *testing.T) {
	c := formed(t, "single-nic")
	for _, server := range []string{"files", "media"} {
		c.rests(server)
	}
	t.Run("1,000 half-open connections", func(t *testing.T) { halfOpen(c.in(t)) })
	t.Run("the authority is changed", func(t *testing.T) { authorityChanged(c.in(t)) })
	t.Run("the authority is changed without a filer that is away", func(t *testing.T) { authorityChangedWithout(c.in(t)) })
	t.Run("a filer is revoked", func(t *testing.T) { filerRevoked(c.in(t)) })
}

// undisturbed does something, and fails when a leader or a placement changes, or
// when a write fails meanwhile.
func (c *cluster) undisturbed(do func()) {
	c.t.Helper()
	term, files, media := c.term("filer1"), c.epoch("files"), c.epoch("media")
	stop, failed := make(chan struct{}), make(chan error, 1)
	client := c.client("filer1")
	go func() {
		defer close(failed)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			doc := netquorum.Document{Kind: netquorum.KindRecord, Name: "during", Spec: &netquorum.Record{Data: strconv.AppendInt(nil, int64(n), 10)}}
			if _, err := client.Apply(c.t.Context(), api.ApplyRequest{Puts: []api.Put{{Document: doc}}}); err != nil {
				failed <- fmt.Errorf("write %d: %w", n, err)
				return
			}
		}
	}()
	do()
	close(stop)
	if err := <-failed; err != nil {
		c.t.Error(err)
	}
	if now := c.term("filer1"); now != term {
		c.t.Errorf("there was an election: term %d, was %d", now, term)
	}
	if f, m := c.epoch("files"), c.epoch("media"); f != files || m != media {
		c.t.Errorf("servers were placed anew: epochs %d and %d, were %d and %d", f, m, files, media)
	}
}

// descriptors counts those of a filer's daemon.
func (c *cluster) descriptors(filer string) int {
	c.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(c.sh(filer, "ls /proc/$(pidof netquorum)/fd | wc -l")))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func halfOpen(c *cluster) {
	const flood = 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < flood+200 {
		c.t.Skipf("needs %d descriptors, the limit is %d", flood+200, limit.Cur)
	}
	victim := c.leader("filer1")
	at := net.JoinHostPort(map[string]string{"filer1": "10.1.1.2", "filer2": "10.1.1.3", "filer3": "10.1.1.4"}[victim], "7480")
	before := c.descriptors(victim)
	refused := func() float64 { return c.metric(victim, `netquorum_connections_refused_total{reason="crowded"}`) }
	c.undisturbed(func() {
		silent, err := dialMany(c.node("client").Namespace, at, flood)
		defer func() {
			for _, s := range silent {
				s.Close()
			}
		}()
		if err != nil {
			c.t.Fatalf("after %d connections: %v", len(silent), err)
		}
		c.await("the oldest to be pushed out and counted", patience(), func() error {
			if n := refused(); n < flood/2 {
				return fmt.Errorf("%v were", n)
			}
			return nil
		})
	})
	c.await("nothing of them to be left", patience(), func() error {
		if n := c.descriptors(victim); n > before+8 {
			return fmt.Errorf("%d descriptors, there were %d", n, before)
		}
		if n := c.metric(victim, "netquorum_connections_half_open"); n != 0 {
			return fmt.Errorf("%v half-open connections", n)
		}
		return nil
	})
}

// dialMany opens connections from a namespace and says nothing on them.
func dialMany(namespace, address string, n int) ([]net.Conn, error) {
	type dialled struct {
		conns []net.Conn
		err   error
	}
	done := make(chan dialled)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		var out dialled
		defer func() { done <- out }()
		ns, err := netns.GetFromName(namespace)
		if err != nil {
			out.err = err
			return
		}
		defer ns.Close()
		if out.err = netns.Set(ns); out.err != nil {
			return
		}
		for range n {
			// An address needs no other goroutine, which would be outside.
			conn, err := net.DialTimeout("tcp4", address, 5*time.Second)
			if err != nil {
				out.err = err
				return
			}
			out.conns = append(out.conns, conn)
		}
	}()
	out := <-done
	return out.conns, out.err
}

func authorityChanged(c *cluster) {
	ctx := c.t.Context()
	before, err := c.client("filer1").Authority(ctx)
	c.must(err)
	c.undisturbed(func() { c.expect(c.cli("filer2", "", "authority", "rotate"), 0, "the authority is") })
	after, err := c.client("filer1").Authority(ctx)
	c.must(err)
	if after.Fingerprint == before.Fingerprint || after.Open() {
		c.t.Errorf("the authority was %s and is %s, %s", before.Fingerprint, after.Fingerprint, after.Phase)
	}
	for _, f := range after.Filers {
		if f.Shows != after.Fingerprint || !slices.Equal(f.Trusts, []string{after.Fingerprint}) {
			c.t.Errorf("%s shows %s and trusts %v", f.Name, f.Shows, f.Trusts)
		}
	}
	// The next start is with what is on disk.
	c.must(c.KillDaemon("filer3"))
	c.must(c.StartDaemon("filer3"))
	c.settled("filer3")
}

// authorityChangedWithout does what docs/security.md says, word by word.
func authorityChangedWithout(c *cluster) {
	c.must(c.Kill("filer3"))
	c.expect(c.cli("filer1", "", "authority", "rotate", "--without", "filer3"), 0, "the authority is")
	c.must(c.Power("filer3"))
	says := func(filer string, args []string, words ...string) {
		c.t.Helper()
		c.await(fmt.Sprintf("%v on %s to say what is wrong", args, filer), patience(), func() error {
			a := c.cli(filer, "", args...)
			for _, w := range words {
				if !strings.Contains(a.text(), w) {
					return fmt.Errorf("%q is not in: %s", w, a.text())
				}
			}
			return nil
		})
	}
	says("filer3", []string{"status"}, "NO QUORUM", "was changed without this filer", "netquorum token create --filer filer3",
		"move /var/lib/netquorum/store away", "netquorum join --filer filer3")
	says("filer3", []string{"links", "filer1"}, "missed a change of the authority and has to join again")
	says("filer1", []string{"links", "filer3"}, "missed a change of the authority and has to join again")

	token := c.nq("filer1", "", "token", "create", "--filer", "filer3")
	c.must(c.StopDaemon("filer3"))
	c.sh("filer3", "mv /var/lib/netquorum/store /var/lib/netquorum/store.old")
	c.must(c.StartDaemon("filer3"))
	says("filer3", []string{"status"}, "in no cluster", "netquorum token create --filer filer3")
	c.expect(c.cli("filer3", token, "join", "--filer", "filer3", "--peer", "10.1.1.2", "--token-file", "-"), 0, "filer3 joined cluster")
	c.settled("filer1")
	c.agree("filer1")
	a, err := c.client("filer3").Authority(c.t.Context())
	c.must(err)
	for _, f := range a.Filers {
		if f.Shows != a.Fingerprint {
			c.t.Errorf("%s shows %s, not %s", f.Name, f.Shows, a.Fingerprint)
		}
	}
	if len(a.Filers) != 3 {
		c.t.Errorf("%d filers", len(a.Filers))
	}
}

func filerRevoked(c *cluster) {
	thief := c.host("filer1", "files")
	asked := c.others(thief)[0]
	c.expect(c.cli(asked, "", "filer", "revoke", thief), 0, thief+" is out of the cluster", "authority rotate")
	c.await("files to be hosted by another filer", 2*patience(), func() error {
		st, err := c.status(asked)
		if err != nil {
			return err
		}
		for _, s := range st.Servers {
			if s.Name == "files" && s.Host != "" && s.Host != thief && s.State == "serving" {
				return nil
			}
		}
		return fmt.Errorf("%+v", st.Servers)
	})
	c.expect(c.cli(asked, "", "authority"), 0, "Revoked", thief)
	c.expect(c.cli(asked, "", "authority", "rotate"), 0, "the authority is")
	a, err := c.client(asked).Authority(c.t.Context())
	c.must(err)
	if len(a.Filers) != 2 || len(a.Revoked) != 0 {
		c.t.Errorf("after the change: %d filers, revoked %v", len(a.Filers), a.Revoked)
	}
	if st := c.mustStatus(thief); st.Quorum {
		c.t.Errorf("%s was revoked and has a quorum", thief)
	}
}
