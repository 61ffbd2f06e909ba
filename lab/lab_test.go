package lab

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

const smallTopology = `
name: small
switches:
- {name: sw1}
- {name: sw2}
links:
- {from: sw1, to: sw2}
filers:
- name: filer1
  ports:
  - {name: eth0, switch: sw1}
- name: filer2
  ports:
  - {name: eth0, switch: sw2}
clients:
- name: client
  ports:
  - {name: eth0, switch: sw1, addresses: [10.9.0.1/24, "fd00:9::1/64"]}
- name: other
  ports:
  - {name: eth0, switch: sw2, addresses: [10.9.0.2/24, "fd00:9::2/64"]}
`

// raise brings a lab up for one test and sees that nothing is left of it.
func raise(t *testing.T, topology string, o Options) *Lab {
	t.Helper()
	top, err := ParseTopology("topology", []byte(topology))
	if err != nil {
		t.Fatal(err)
	}
	if err := Possible(top); err != nil {
		t.Skip(err)
	}
	o.Dir = t.TempDir()
	o.Name = strings.ToLower(t.Name())
	l, err := New(top, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(nsDir); strings.Contains(strings.Join(names(left), " "), "nq-"+l.name+"-") {
			t.Errorf("namespaces left: %v", names(left))
		}
	})
	return l
}

func names(entries []os.DirEntry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

func reaches(t *testing.T, l *Lab, from, to string) bool {
	_, err := l.Exec(t.Context(), from, "ping", "-c1", "-W1", to)
	return err == nil
}

func out(t *testing.T, l *Lab, node string, argv ...string) string {
	t.Helper()
	s, err := l.Exec(t.Context(), node, argv[0], argv[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNodesReachEachOtherOverSwitches(t *testing.T) {
	l := raise(t, smallTopology, Options{})
	for _, to := range []string{"10.9.0.2", "fd00:9::2"} {
		eventually(t, "client reaches "+to, func() bool { return reaches(t, l, "client", to) })
	}
}
