package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netquorum/netquorum/api"
)

// path is a file of a filer's data directory, as it is seen from outside.
func (c *cluster) path(filer string, parts ...string) string {
	return filepath.Join(append([]string{c.Disk(filer), "netquorum"}, parts...)...)
}

// copies are the states of a filer's boot copies, a then b.
func copies(st api.Status) (out []string) {
	for _, b := range self(st).BootCache {
		out = append(out, b.State)
	}
	return out
}

// bootStates waits until a filer reports its copies to be in these states.
func (c *cluster) bootStates(filer, a, b string) {
	c.t.Helper()
	c.await(fmt.Sprintf("%s reports its boot copies as %s and %s", filer, a, b), patience(), func() error {
		st, err := c.status(filer)
		if err != nil {
			return err
		}
		if got := copies(st); len(got) != 2 || got[0] != a || got[1] != b {
			return fmt.Errorf("it reports %v, state %s, %s", got, st.State, st.Message)
		}
		return nil
	})
}

// spoilFile changes a file's content in place.
func (c *cluster) spoilFile(file string, how func([]byte) []byte) {
	c.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, how(bytes.Clone(data)), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// Ways to spoil a boot copy, and what status calls them.
var bootDamage = []struct {
	name, state string
	how         func([]byte) []byte
}{
	{"truncated", "damaged", func(b []byte) []byte { return b[:len(b)/2] }},
	{"empty", "damaged", func([]byte) []byte { return nil }},
	{"with a bit flipped", "damaged", func(b []byte) []byte { b[len(b)*3/4] ^= 0x10; return b }},
	// The version follows the eight bytes of the magic.
	{"of a newer version", "newer-version", func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 99); return b }},
}

// A boot copy that cannot be used is reported. The other one boots the filer,
// and with the cluster's help both are whole again.
func TestLabBootCacheDamaged(t *testing.T) {
	c := formed(t, "single-nic")
	const filer = "filer3"
	for _, d := range bootDamage {
		t.Run("one copy is "+d.name, func(t *testing.T) {
			c := c.in(t)
			if err := c.PowerCycle(true, filer); err != nil {
				t.Fatal(err)
			}
			if err := c.Kill(filer); err != nil {
				t.Fatal(err)
			}
			c.spoilFile(c.path(filer, "boot", "boot-a"), d.how)
			if err := c.Power(filer); err != nil {
				t.Fatal(err)
			}
			c.bootStates(filer, d.state, "valid")
			c.await("the filer boots from its other copy, without a quorum", patience(), func() error {
				return c.missingLinks(filer, singleNIC)
			})
			c.expect(c.cli(filer, "", "status"), 0, "NO QUORUM", "boot-a is "+d.state)
			if err := c.SetCables(true, filer); err != nil {
				t.Fatal(err)
			}
			c.settled("filer1")
			c.bootStates(filer, "valid", "valid")
		})
	}
	both := func(c *cluster) {
		c.spoilFile(c.path(filer, "boot", "boot-a"), bootDamage[0].how)
		c.spoilFile(c.path(filer, "boot", "boot-b"), bootDamage[2].how)
	}
	t.Run("both copies are damaged while the daemon is restarted", func(t *testing.T) {
		c := c.in(t)
		if err := c.StopDaemon(filer); err != nil {
			t.Fatal(err)
		}
		both(c)
		if err := c.StartDaemon(filer); err != nil {
			t.Fatal(err)
		}
		c.settled("filer1")
		c.bootStates(filer, "valid", "valid")
	})
	t.Run("both copies are damaged and the power is gone, so that only an address given by hand brings the filer back", func(t *testing.T) {
		c := c.in(t)
		if err := c.Kill(filer); err != nil {
			t.Fatal(err)
		}
		both(c)
		if err := c.Power(filer); err != nil {
			t.Fatal(err)
		}
		c.await("the filer says that neither copy can be used", patience(), func() error {
			a := c.cli(filer, "", "status")
			for _, w := range []string{"boot-a is damaged", "boot-b is damaged"} {
				if !strings.Contains(a.text(), w) {
					return fmt.Errorf("%q is not in: %s", w, a.text())
				}
			}
			return nil
		})
		// The pings tell the others that the address has another MAC now.
		c.sh(filer, "ip link set eth0 up && ip addr add 10.1.1.4/24 dev eth0 && ping -c1 -W5 10.1.1.2 && ping -c1 -W5 10.1.1.3")
		c.await("the filer is back", patience(), func() error { return c.missingLinks(filer, singleNIC) })
		c.exec(filer, "ip", "addr", "del", "10.1.1.4/24", "dev", "eth0")
		c.settled("filer1")
		c.bootStates(filer, "valid", "valid")
	})
}

// A filer whose log is damaged says which file it is and what to do, keeps it,
// and has its network all the same. What it says works.
func TestLabLogDamaged(t *testing.T) {
	c := formed(t, "single-nic")
	const filer = "filer2"
	c.nq("filer1", "kind: Record\nname: kept\nspec: {data: 1}\n", "apply", "-f", "-", "--wait", "cached")
	for _, d := range []struct {
		name string
		file string // in the store's directory
		how  func([]byte) []byte
	}{
		{"truncated log", "log/0000000000000001.log", func(b []byte) []byte { return b[:len(b)/3] }},
		{"overwritten log", "log/0000000000000001.log", func(b []byte) []byte { copy(b[600:], bytes.Repeat([]byte("damage! "), 100)); return b }},
		{"log without its header", "log/0000000000000001.log", func(b []byte) []byte { clear(b[:32]); return b }},
		{"truncated votes", "raft.db", func(b []byte) []byte { return b[:len(b)/3] }},
		{"votes with both meta pages gone", "raft.db", func(b []byte) []byte { clear(b[:4096*2]); return b }},
	} {
		t.Run(d.name, func(t *testing.T) {
			c := c.in(t)
			if err := c.Kill(filer); err != nil {
				t.Fatal(err)
			}
			file := c.path(filer, "store", d.file)
			c.spoilFile(file, d.how)
			spoilt := read(t, file)
			if err := c.Power(filer); err != nil {
				t.Fatal(err)
			}
			c.await("the filer has failed, and says so", patience(), func() error {
				st, err := c.status(filer)
				if err == nil && st.State != api.StateFailed {
					err = fmt.Errorf("its state is %s: %s", st.State, st.Message)
				}
				return err
			})
			c.expect(c.cli(filer, "", "status"), 0, "failed", "/var/lib/netquorum/store/"+d.file+" is damaged", "move", "away", "join this filer")
			c.expect(c.cli(filer, "kind: Record\nname: x\n", "apply", "-f", "-"), 3, "is damaged")
			if read(t, file) != spoilt {
				t.Error("the damaged file was changed")
			}
			if err := c.missingLinks(filer, singleNIC); err != nil {
				t.Errorf("it did not boot from its cache: %v", err)
			}
			c.reaches("client", "10.1.1.3")
			c.expect(c.cli("filer1", "kind: Record\nname: meanwhile\n", "apply", "-f", "-"), 0)

			// What the message says.
			if err := c.StopDaemon(filer); err != nil {
				t.Fatal(err)
			}
			c.sh(filer, "mv /var/lib/netquorum/store /var/lib/netquorum/store.damaged."+strings.Fields(d.name)[0])
			if err := c.StartDaemon(filer); err != nil {
				t.Fatal(err)
			}
			c.await("the daemon asks to be joined", patience(), func() error {
				st, err := c.status(filer)
				if err == nil && (st.State != api.StateUnconfigured || !strings.Contains(st.Message, "token create --filer "+filer)) {
					err = fmt.Errorf("it is %s: %s", st.State, st.Message)
				}
				return err
			})
			if err := c.missingLinks(filer, singleNIC); err != nil {
				t.Errorf("while it waits to be joined: %v", err)
			}
			token := c.nq("filer1", "", "token", "create", "--filer", filer)
			c.nq(filer, token, "join", "--filer", filer, "--peer", "10.1.1.2", "--token-file", "-")
			c.settled("filer1")
			c.agree("filer1")
			c.expect(c.cli(filer, "", "get", "record"), 0, "kept", "meanwhile")
			c.nq("filer1", "", "delete", "record", "meanwhile")
		})
	}
}

// A filer whose disk is full refuses writes, says so, and recovers when there is
// room again and its daemon is restarted.
func TestLabDiskFull(t *testing.T) {
	c := formed(t, "single-nic")
	const room = `
mkdir -p /run/small
mount -t tmpfs -o size=32m tmpfs /run/small
cp -a /var/lib/netquorum/. /run/small/
mount --bind /run/small /var/lib/netquorum
`
	full := func(filer string) {
		c.t.Helper()
		// What is left of the room after this is less than one page.
		if out, err := c.Exec(c.t.Context(), filer, "sh", "-c", "cat /dev/zero > /var/lib/netquorum/ballast"); err == nil {
			c.t.Fatalf("the disk takes all that there is: %s", out)
		}
	}
	for _, f := range c.filers() {
		if err := c.StopDaemon(f); err != nil {
			t.Fatal(err)
		}
		c.sh(f, room)
		if err := c.StartDaemon(f); err != nil {
			t.Fatal(err)
		}
	}
	c.settled("filer1")
	leader := c.leader("filer1")
	before := c.dump(leader, api.Linearizable)

	t.Run("the leader's disk is full and another filer takes over", func(t *testing.T) {
		c := c.in(t)
		full(leader)
		left := c.others(leader)[0]
		c.await("another filer leads, and writes go on", patience(), func() error {
			if a := c.cli(left, largeRecord("one"), "apply", "-f", "-", "--timeout", "5s"); a.code != 0 {
				return fmt.Errorf("exit code %d: %s", a.code, a.text())
			}
			c.nqEventually(left, "", "delete", "record", "one", "--timeout", "5s")
			if now := c.leader(left); now == leader {
				return fmt.Errorf("%s still leads with its disk full", now)
			}
			return nil
		})
		c.nqEventually(left, smallRecord("one"), "apply", "-f", "-", "--timeout", "5s")
		c.saysFull(leader)
	})
	t.Run("all disks are full and a write is refused with a clear error", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.others(leader) {
			full(f)
		}
		left := c.others(leader)[0]
		var a answer
		c.await("a write that fails for the disk", patience(), func() error {
			if a = c.cli(left, largeRecord("two"), "apply", "-f", "-", "--timeout", "3s"); a.code == 0 {
				return errors.New("it was done")
			}
			return nil
		})
		if a.code != 3 && a.code != 4 {
			t.Errorf("exit code %d: %s", a.code, a.text())
		}
		t.Logf("a write through %s: exit code %d: %s", left, a.code, a.text())
		full := 0
		for _, f := range c.filers() {
			if strings.Contains(c.cli(f, "", "status").text(), "no space left on device") {
				full++
			}
		}
		if full < 2 {
			t.Errorf("%d filers say in status that their disk is full, want 2 or more", full)
		}
	})
	t.Run("with room again and daemons restarted it goes on", func(t *testing.T) {
		c := c.in(t)
		for _, f := range c.filers() {
			if err := c.StopDaemon(f); err != nil {
				t.Fatal(err)
			}
			c.exec(f, "rm", "/var/lib/netquorum/ballast")
			if err := c.StartDaemon(f); err != nil {
				t.Fatal(err)
			}
		}
		c.settled("filer1")
		c.nq("filer2", smallRecord("three"), "apply", "-f", "-")
		c.agree("filer1")
		for _, f := range c.filers() {
			now := c.dump(f, api.Linearizable)
			for _, line := range []string{"name: one", "name: three"} {
				if !strings.Contains(now, line) {
					t.Errorf("%s has lost %s", f, line)
				}
			}
			if !strings.HasPrefix(now, strings.TrimSpace(before)) {
				t.Errorf("%s has another configuration:\n%s\nand before:\n%s", f, now, before)
			}
			c.expect(c.cli(f, "", "status"), 0, "quorum")
		}
	})
}

// saysFull waits until a filer says in its status, to an operator, that its disk
// is full and what follows from that.
func (c *cluster) saysFull(filer string) {
	c.t.Helper()
	c.await(filer+" says that its disk is full", patience(), func() error {
		a := c.cli(filer, "", "status")
		for _, w := range []string{"no space left on device", "/var/lib/netquorum/store/log", "restart"} {
			if !strings.Contains(a.text(), w) {
				return fmt.Errorf("%q is not in: %s", w, a.text())
			}
		}
		return nil
	})
}

// nqEventually repeats a command that is safe to repeat until it succeeds.
func (c *cluster) nqEventually(filer, stdin string, args ...string) {
	c.t.Helper()
	c.await("netquorum "+strings.Join(args, " "), patience(), func() error {
		if a := c.cli(filer, stdin, args...); a.code != 0 {
			return fmt.Errorf("exit code %d: %s", a.code, a.text())
		}
		return nil
	})
}

func smallRecord(name string) string {
	return "kind: Record\nname: " + name + "\nspec: {data: " + strings.Repeat("x", 256) + "}\n"
}

// largeRecord is more than what a log file has room for without growing, after
// a few of them.
func largeRecord(name string) string {
	return "kind: Record\nname: " + name + "\nspec: {data: " + strings.Repeat("x", 200<<10) + "}\n"
}
