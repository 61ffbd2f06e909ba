package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// revertGoal has one filer and two servers; mgmt0 and data0 are on parent.
func revertGoal(t *testing.T, revision netquorum.Revision, parent string, hosts ...string) goal {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test", fmt.Appendf(nil, `
kind: Cluster
name: home
spec: {mac: "00:07:34:04:12:0f"}
---
kind: FilerGroup
name: main
spec: {}
---
kind: Filer
name: filer1
spec:
  group: main
  interfaces: [{name: mgmt0, parent: %[1]s, addresses: [10.1.1.2/24]}, {name: data0, parent: %[1]s}]
---
kind: VirtualServer
name: a
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}
---
kind: VirtualServer
name: b
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.3.1/24}]}
`, parent))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return goal{config: c, revision: revision, network: revision, filer: "filer1", hosts: func(k netquorum.Key) bool {
		return strings.Contains(strings.Join(hosts, " "), k.Name)
	}}
}

// A configuration that the kernel does not take leaves the filer as it was, is
// tried once, and is reported until another comes; servers move meanwhile.
func TestAConfigurationThatFailsIsRolledBackAndServersStillMove(t *testing.T) {
	k := fakekernel.New("eth0", "eth1", "eth2")
	tries := 0
	k.Fault = func(s netapply.Step) error {
		if add, ok := s.(netapply.AddLink); ok && add.Link.Parent == "eth1" {
			tries++
			return errors.New("the driver has had enough")
		}
		return nil
	}
	f := newFollower(&netapply.Applier{Kernel: k}, time.Now, slog.New(slog.DiscardHandler))
	expect := func(what string, ok bool, has ...string) {
		t.Helper()
		state := k.String()
		for _, line := range has {
			text, absent := strings.CutPrefix(line, "no ")
			if strings.Contains(state, text) == absent {
				t.Errorf("%s: the state has %q: %t\n%s", what, text, absent, state)
			}
		}
		o, _ := f.Outcome()
		if said := strings.Join(o.errors(), "\n"); (said == "") != ok || !ok && !strings.Contains(said, "revision 2 was rolled back on this filer, which follows revision") {
			t.Errorf("%s: errors are %q", what, said)
		}
	}
	f.pass(t.Context(), revertGoal(t, 1, "eth0", "a"))
	expect("at first", true, "link mgmt0 kind=macvlan parent=eth0", "address 10.2.2.1/24")
	f.pass(t.Context(), revertGoal(t, 2, "eth1", "a"))
	expect("a change that fails", false, "link mgmt0 kind=macvlan parent=eth0", "link data0 kind=macvlan parent=eth0", "address 10.1.1.2/24 dev mgmt0", "address 10.2.2.1/24")
	once := tries
	f.pass(t.Context(), revertGoal(t, 2, "eth1", "a"))
	expect("again", false, "link mgmt0 kind=macvlan parent=eth0")
	f.pass(t.Context(), revertGoal(t, 3, "eth1", "b"))
	expect("a server goes and one comes", false, "link mgmt0 kind=macvlan parent=eth0", "address 10.2.3.1/24", "no address 10.2.2.1/24")
	if tries != once {
		t.Errorf("what failed was tried %d times more", tries-once)
	}
	f.pass(t.Context(), revertGoal(t, 4, "eth2", "b"))
	expect("another change", true, "link mgmt0 kind=macvlan parent=eth2", "address 10.2.3.1/24")
}

// At boot a part is better than nothing.
func TestTheFirstConfigurationIsAppliedAsFarAsItGoes(t *testing.T) {
	k := fakekernel.New("eth0")
	k.Fault = func(s netapply.Step) error {
		if add, ok := s.(netapply.AddLink); ok && add.Link.Name == "data0" {
			return errors.New("no")
		}
		return nil
	}
	f := newFollower(&netapply.Applier{Kernel: k}, time.Now, slog.New(slog.DiscardHandler))
	f.pass(t.Context(), revertGoal(t, 1, "eth0", "a"))
	if !strings.Contains(k.String(), "address 10.1.1.2/24 dev mgmt0") {
		t.Errorf("mgmt0 is not there:\n%s", k)
	}
}
