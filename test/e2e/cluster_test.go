package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/lab"
)

// An example is one of the repository's pairs of topology and configuration.
type example struct{ topology, config string }

func exampleNamed(name string) example {
	dir := filepath.Join("..", "..", "examples")
	return example{filepath.Join(dir, name+".topology.yaml"), filepath.Join(dir, name+".yaml")}
}

// A cluster is a lab in which filers run the real daemon.
type cluster struct {
	t *testing.T
	*lab.Lab
	example example
	// heartbeat is the daemon's unit of time; lease is how long a filer without
	// contact may host.
	heartbeat, lease time.Duration
}

// raise switches a lab on for one test, and sees to it that nothing is left of
// it, whatever the test does.
func raise(t *testing.T, e example, needs ...lab.Feature) *cluster {
	t.Helper()
	top, err := lab.ReadTopology(e.topology)
	if err != nil {
		t.Fatal(err)
	}
	return raiseTopology(t, e, top, needs...)
}

func raiseTopology(t *testing.T, e example, top *lab.Topology, needs ...lab.Feature) *cluster {
	t.Helper()
	if err := lab.Possible(top); err != nil {
		t.Skip(err)
	}
	missing, err := lab.Missing(append(needs, lab.MACVLAN)...)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Skip(&lab.MissingError{Features: missing})
	}
	if unbuilt != nil {
		t.Skip(unbuilt)
	}
	c := &cluster{t: t, example: e, heartbeat: 200 * time.Millisecond}
	if emulated {
		c.heartbeat = 2 * time.Second
	}
	c.lease = 5 * c.heartbeat
	o := lab.Options{Name: labName(t.Name()), Dir: labsDir, Binary: daemon,
		Command: []string{"netquorum", "serve", "--heartbeat", c.heartbeat.String()}}
	for n := 2; ; n++ { // a test may have several labs at a time
		if _, err := os.Stat(filepath.Join(labsDir, o.Name)); err != nil {
			break
		}
		o.Name = fmt.Sprintf("%s-%d", labName(t.Name()), n)
	}
	if c.Lab, err = lab.New(top, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.tellLogs()
		}
		if err := lab.Down(labsDir, o.Name); err != nil {
			t.Error(err)
		}
	})
	if err := c.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// formed is a lab whose filers have formed a cluster with the example's
// configuration, settled and serving.
func formed(t *testing.T, name string, needs ...lab.Feature) *cluster {
	t.Helper()
	c := raise(t, exampleNamed(name), needs...)
	if err := c.Form(t.Context(), c.example.config, t.Output()); err != nil {
		t.Fatal(err)
	}
	return c
}

// tellLogs shows the end of each daemon's log.
func (c *cluster) tellLogs() {
	for _, filer := range c.filers() {
		data, err := os.ReadFile(c.LogFile(filer))
		if err != nil {
			continue
		}
		// In the virtual machine, this is the directory that outlives it.
		if dir := os.Getenv("NQ_OUT"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, c.Name()+"-"+filer+".log"), data, 0o600); err != nil {
				c.t.Log(err)
			}
		}
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		c.t.Logf("the last lines of %s's log:\n%s", filer, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
}

// in is the same cluster, reporting to a subtest.
func (c *cluster) in(t *testing.T) *cluster {
	sub := *c
	sub.t = t
	return &sub
}

func (c *cluster) filers() []string { return c.Topology().FilerNames() }

// others are the filers but one.
func (c *cluster) others(not string) []string {
	return slices.DeleteFunc(c.filers(), func(f string) bool { return f == not })
}

// patience bounds the waits that have no bound of their own. It is generous:
// the machine may be doing other things.
func patience() time.Duration {
	if emulated {
		return 90 * time.Second
	}
	return 30 * time.Second
}

// await repeats a check until it finds nothing wrong, and fails the test with
// what it found last when that takes too long.
func (c *cluster) await(what string, within time.Duration, check func() error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("waited %v in vain for: %s; still: %v", within, what, err)
		case <-tick.C:
		}
	}
}

// settled waits until the cluster has nothing left to do, as the filer sees it.
func (c *cluster) settled(filer string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	if err := c.AwaitSettled(ctx, filer); err != nil {
		c.t.Fatalf("waited for the cluster to settle: %v", err)
	}
}

// exec runs a command in a node, which must succeed, and returns what it wrote.
func (c *cluster) exec(node string, argv ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	out, err := c.Exec(ctx, node, argv[0], argv[1:]...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// sh runs lines of shell in a node.
func (c *cluster) sh(node, script string) string {
	c.t.Helper()
	return c.exec(node, "sh", "-ec", script)
}

// An answer is what a command said and how it ended.
type answer struct {
	code        int
	out, errors string
}

// text is all that was said, with the line breaks of the terminal undone.
func (a answer) text() string { return flat(a.out + " " + a.errors) }

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// cli runs netquorum on a filer as an operator would, and returns how it ended.
func (c *cluster) cli(filer, stdin string, args ...string) answer {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience()+30*time.Second)
	defer cancel()
	cmd := lab.Command(ctx, "netquorum", args...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := c.Run(filer, cmd)
	a := answer{out: out.String(), errors: errs.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		a.code = exit.ExitCode()
	case err != nil:
		c.t.Fatalf("%s: netquorum %s: %v", filer, strings.Join(args, " "), err)
	}
	return a
}

// nq runs netquorum on a filer and fails the test unless it succeeds.
func (c *cluster) nq(filer, stdin string, args ...string) string {
	c.t.Helper()
	a := c.cli(filer, stdin, args...)
	if a.code != 0 {
		c.t.Fatalf("%s: netquorum %s: exit code %d: %s", filer, strings.Join(args, " "), a.code, a.errors)
	}
	return a.out
}

// expect checks the exit code of a command, and that it said all of the words.
func (c *cluster) expect(a answer, code int, words ...string) {
	c.t.Helper()
	if a.code != code {
		c.t.Errorf("exit code %d, want %d: %s", a.code, code, a.text())
	}
	for _, w := range words {
		if !strings.Contains(a.text(), w) {
			c.t.Errorf("%q is not in: %s", w, a.text())
		}
	}
}

// node returns the status of a node of the lab.
func (c *cluster) node(name string) lab.NodeStatus {
	c.t.Helper()
	nodes, err := c.Status()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Name == name {
			return n
		}
	}
	c.t.Fatalf("there is no node %s", name)
	return lab.NodeStatus{}
}

// socket is the path of a filer's local socket as it is seen from outside:
// through its init process, so that it is another one after a loss of power.
func (c *cluster) socket(filer string) string {
	c.t.Helper()
	n := c.node(filer)
	if !n.On {
		c.t.Fatalf("%s has no power", filer)
	}
	return fmt.Sprintf("/proc/%d/root%s", n.PID, api.DefaultSocket)
}

// client talks to a filer's daemon.
func (c *cluster) client(filer string) *api.Client {
	c.t.Helper()
	client := api.NewClient(c.socket(filer))
	c.t.Cleanup(client.Close)
	return client
}

// status is what a filer reports of the cluster.
func (c *cluster) status(filer string) (api.Status, error) {
	client := c.client(filer)
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	return client.Status(ctx)
}

// mustStatus is status of a filer whose daemon is known to answer.
func (c *cluster) mustStatus(filer string) api.Status {
	c.t.Helper()
	st, err := c.status(filer)
	if err != nil {
		c.t.Fatalf("status of %s: %v", filer, err)
	}
	return st
}

// self is what a filer reports of itself.
func self(st api.Status) api.FilerStatus { return filerOf(st, st.Filer) }

func filerOf(st api.Status, name string) api.FilerStatus {
	for _, f := range st.Filers {
		if f.Name == name {
			return f
		}
	}
	return api.FilerStatus{}
}

// host returns the filer that serves a virtual server.
func (c *cluster) host(asked, server string) string {
	c.t.Helper()
	var host string
	c.await(server+" is served", patience(), func() error {
		st, err := c.status(asked)
		if err != nil {
			return err
		}
		for _, s := range st.Servers {
			if s.Name == server {
				host = s.Host
				if s.State == "serving" {
					return nil
				}
				return fmt.Errorf("it is %s, host %q", s.State, s.Host)
			}
		}
		return errors.New("status does not list it")
	})
	return host
}

// leader returns the filer that leads.
func (c *cluster) leader(asked string) string {
	c.t.Helper()
	var leader string
	c.await("a leader", patience(), func() error {
		st, err := c.status(asked)
		if err == nil && (!st.Quorum || st.Leader == "") {
			err = errors.New("there is none")
		}
		leader = st.Leader
		return err
	})
	return leader
}

// dump is a filer's whole configuration as text.
func (c *cluster) dump(filer string, consistency api.Consistency) string {
	c.t.Helper()
	client := c.client(filer)
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	var b strings.Builder
	if err := client.Dump(ctx, &b, api.DumpYAML, consistency); err != nil {
		c.t.Fatalf("dump of %s: %v", filer, err)
	}
	return b.String()
}

// agree waits until all filers are at one revision and have one state.
func (c *cluster) agree(asked string) {
	c.t.Helper()
	c.await("all filers have one state at one revision", patience(), func() error {
		st, err := c.status(asked)
		if err != nil {
			return err
		}
		for _, f := range st.Filers {
			first := st.Filers[0]
			switch {
			case f.StateHash == "":
				return fmt.Errorf("%s reports no state: it is %s", f.Name, f.Role)
			case f.Committed == first.Committed && f.StateHash != first.StateHash:
				c.t.Fatalf("%s and %s have different states at revision %d", first.Name, f.Name, f.Committed)
			case f.Committed != first.Committed:
				return fmt.Errorf("%s is at revision %d, %s at %d", first.Name, first.Committed, f.Name, f.Committed)
			}
		}
		if len(st.Filers) != len(c.filers()) {
			return fmt.Errorf("%d filers are listed", len(st.Filers))
		}
		return nil
	})
}

// reaches fails the test unless the address answers a ping from the node.
func (c *cluster) reaches(node, address string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	p, err := c.Ping(node, netip.MustParseAddr(address), 50*time.Millisecond)
	if err != nil {
		c.t.Fatal(err)
	}
	defer p.Close()
	if err := p.AwaitReply(ctx); err != nil {
		c.t.Errorf("ping from %s: %v", node, err)
	}
}

// read returns a file's text.
func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// changesNothing checks that something leaves the configuration and its revision
// as they were. Only the cluster itself may write meanwhile, when it has to move
// a server because a filer was slow.
func (c *cluster) changesNothing(filer string, do func()) {
	c.t.Helper()
	dump, revision := c.dump(filer, api.Linearizable), c.mustStatus(filer).Commit
	do()
	if diff := cmp.Diff(dump, c.dump(filer, api.Linearizable)); diff != "" {
		c.t.Errorf("the configuration has changed (-before +after):\n%s", diff)
	}
	if c.mustStatus(filer).Commit == revision {
		return
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience())
	defer cancel()
	changes, err := c.client(filer).History(ctx, api.HistoryRequest{From: revision + 1})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, change := range changes {
		if change.Actor != "cluster" {
			c.t.Errorf("revision %d by %s: %+v", change.Revision, change.Actor, change.Documents)
		}
	}
}
