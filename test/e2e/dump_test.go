package e2e

import (
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
)

// What a cluster was can be made of its dump anywhere else.
func TestLabDumpRestore(t *testing.T) {
	first := formed(t, "single-nic")
	first.nq("filer2", `
kind: Record
name: backup/plan
spec: {type: plan, data: {every: 1h, keep: [1, 2.5, null, true], "of": "\u00fc \u2028 'x'"}}
---
kind: Record
name: empty
---
kind: VirtualServer
name: six
spec:
  group: main
  addresses:
  - {alias: data0, prefix: "2001:db8:2::6/64"}
`, "apply", "-f", "-", "--wait", "applied")
	dump := first.nq("filer3", "", "dump")
	for _, f := range first.filers() {
		if other := first.nq(f, "", "dump"); other != dump {
			t.Fatalf("%s and filer3 dump one configuration in two ways:\n%s\nand:\n%s", f, other, dump)
		}
	}
	if err := first.Down(); err != nil {
		t.Fatal(err)
	}

	c := raise(t, exampleNamed("single-nic"))
	for _, f := range c.filers() {
		ctx := t.Context()
		if err := c.AwaitDaemon(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	c.nq("filer1", "", "init", "--cluster", "home", "--mac", "02:00:00:00:00:01", "--filer", "filer1")
	c.nq("filer1", dump, "restore", "-")
	if now := c.nq("filer1", "", "dump"); now != dump {
		t.Errorf("what was restored is dumped as:\n%s\nand was:\n%s", now, dump)
	}
	for _, f := range []string{"filer2", "filer3"} {
		token := c.nq("filer1", "", "token", "create", "--filer", f)
		if err := c.WriteFile(f, "/run/config.yaml", []byte(dump)); err != nil {
			t.Fatal(err)
		}
		c.nq(f, token, "join", "--filer", f, "--peer", "10.1.1.2", "--token-file", "-", "-f", "/run/config.yaml")
	}
	c.settled("filer1")
	for _, a := range []string{"10.2.2.1", "10.2.2.2", "2001:db8:2::1", "2001:db8:2::6"} {
		c.reaches("client", a)
	}
	for _, f := range c.filers() {
		if err := c.missingLinks(f, singleNIC); err != nil {
			t.Error(err)
		}
		if now := c.nq(f, "", "dump"); now != dump {
			t.Errorf("%s dumps what was restored as:\n%s\nand it was:\n%s", f, now, dump)
		}
	}

	// A restore replaces: what has come since goes, and what has gone comes back.
	c.nq("filer2", "kind: Record\nname: later\n---\nkind: Record\nname: empty\nspec: {data: 1}\n", "apply", "-f", "-")
	c.nq("filer2", "", "delete", "vserver", "six")
	if now := c.dump("filer3", api.Linearizable); now == dump || !strings.Contains(now, "later") {
		t.Fatal("nothing has changed that could be restored")
	}
	c.nq("filer3", dump, "restore", "-")
	for _, f := range c.filers() {
		if now := c.nq(f, "", "dump"); now != dump {
			t.Errorf("%s dumps what was restored as:\n%s\nand it was:\n%s", f, now, dump)
		}
	}
	c.settled("filer1")
	c.agree("filer1")
	c.reaches("client", "2001:db8:2::6")
	c.expect(c.cli("filer3", "kind: Cluster\n", "restore", "-"), 1, "refused, nothing was changed")
	if now := c.nq("filer1", "", "dump"); now != dump {
		t.Error("a restore that was refused has changed something")
	}
}
