package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

var testNow = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func before(d time.Duration) *time.Time {
	t := testNow.Add(-d)
	return &t
}

func prefixList(text ...string) (out []netip.Prefix) {
	for _, s := range text {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// troubled is a cluster in which much is wrong at once.
func troubled() api.Status {
	valid := []api.BootCopy{{File: "boot-a", State: "valid", Revision: 42}, {File: "boot-b", State: "valid", Revision: 41}}
	return api.Status{
		Filer: "filer1", Cluster: "acme", State: api.StateRunning, Quorum: true, Leader: "filer1", Term: 3, Commit: 42,
		Filers: []api.FilerStatus{
			{Name: "filer1", ID: "76be89f3-cc8e-4a1f-aa52-5a7985823e57", Role: api.RoleLeader, State: api.StateRunning, Version: "v0.1.0",
				Seen: before(0), Committed: 42, Applied: 42, Cached: 42, StateHash: "19e1f3fde0a5b04c39b1afdb9800e749", BootCache: valid,
				Lease: &api.Lease{Held: true, Expires: testNow.Add(700 * time.Millisecond)},
				Links: []api.InterfaceStatus{
					{Name: "eth0", Layer: netquorum.LayerPhysical, State: "up", MTU: 1500},
					{Name: "bond0", Layer: netquorum.LayerBond, State: "up", MTU: 9000, Members: []string{"eth0", "eth1"}},
					{Name: "fail0", Layer: netquorum.LayerFailover, State: "no-carrier", MTU: 9000, Members: []string{"bond0.10", "bond1.10"}, Active: "bond1.10"},
					{Name: "mgmt0", Layer: netquorum.LayerAlias, State: "up", MTU: 1500, Parent: "fail0", Addresses: prefixList("10.1.1.2/24")},
					{Name: "p3f1d", State: "up", MTU: 9000, Parent: "data0", Server: "VsvrA", Addresses: prefixList("10.2.2.1/24", "10.3.3.1/24", "2001:db8::1/64", "2001:db8:1::1/64")},
				},
				Features: []api.Feature{{Name: "bond", Available: true}, {Name: "sctp", Detail: "the kernel has no SCTP: protocol not supported"}}},
			{Name: "filer2", ID: "b", Role: api.RoleFollower, State: api.StateRunning, Seen: before(3 * time.Second), Committed: 42, Applied: 40, Cached: 41,
				StateHash: "ffe1f3fde0a5b04c39b1afdb9800e749",
				BootCache: []api.BootCopy{{File: "boot-a", State: "damaged", Detail: "checksum does not match"}, {File: "boot-b", State: "valid", Revision: 41}},
				Errors:    []api.ObjectError{{Object: "link data0", Message: "no such device", Since: *before(3 * time.Minute)}},
				Drifts: []api.Drift{
					{Object: "link mgmt0", Times: 7, Since: *before(time.Minute), Last: *before(0), Next: before(-4 * time.Second)},
					{Object: "address 10.3.3.1/24 dev data0-vsvra", Times: 1, Since: *before(40 * time.Second), Last: *before(40 * time.Second)},
				}},
			{Name: "filer3", ID: "c", Role: api.RoleUnreachable, Seen: before(26 * time.Hour)},
			{Name: "filer4", Role: api.RoleAbsent},
		},
		Servers: []api.ServerStatus{
			{Kind: netquorum.KindVirtualServer, Name: "VsvrA", Group: "main", Host: "filer1", Epoch: 3, State: "serving",
				Addresses: prefixList("10.2.2.1/24", "10.3.3.1/24", "2001:db8::1/64", "2001:db8:1::1/64", "2001:db8:2::1/64")},
			{Kind: netquorum.KindVirtualServer, Name: "VsvrC", Group: "main", Epoch: 7, State: "unplaced", Addresses: prefixList("10.3.5.1/24")},
		},
		Findings: []netquorum.Finding{{Document: netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "VsvrC"}, Code: "cannot-fail-over",
			Message: "only filer2 can host it: filer1 and filer3 lack alias data2"}},
	}
}

func TestStatusTables(t *testing.T) {
	tests := []struct {
		name, golden string
		show         func(t *tool) error
	}{
		{"a cluster in which much is wrong", "troubled", func(t *tool) error { return t.showStatus(troubled(), testNow) }},
		{"one filer in detail", "filer", func(t *tool) error { return t.showFiler(troubled().Filers[0], testNow) }},
		{"a filer with errors in detail", "filer-errors", func(t *tool) error { return t.showFiler(troubled().Filers[1], testNow) }},
		{"a filer without a cluster", "unconfigured", func(t *tool) error {
			return t.showStatus(api.Status{State: api.StateUnconfigured}, testNow)
		}},
		{"a filer that booted alone", "booting", func(t *tool) error {
			st := troubled()
			st.Quorum, st.Leader, st.State, st.Message = false, "", api.StateBooting, "configured from the boot cache; waiting for the cluster"
			st.Filers, st.Servers, st.Findings = st.Filers[:1], nil, nil
			return t.showStatus(st, testNow)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := test.show(&tool{out: &out}); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > lineWidth {
					t.Errorf("a line of %d columns: %s", n, line)
				}
			}
			checkGolden(t, filepath.Join("testdata", "status", test.golden+".golden"), out.String())
		})
	}
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("output differs from %s (-want +got):\n%s", file, diff)
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "now", time.Second: "now", 5 * time.Second: "5s ago", 5 * time.Minute: "5m ago", 5 * time.Hour: "5h ago", 50 * time.Hour: "2d ago",
	} {
		if got := ago(before(d), testNow); got != want {
			t.Errorf("ago(%s) = %q, want %q", d, got, want)
		}
	}
	if got := ago(nil, testNow); got != "-" {
		t.Errorf("ago(nil) = %q, want a dash", got)
	}
}

func TestTableWrapsItsLastColumnBetweenWords(t *testing.T) {
	tab := newTable("A", "B")
	tab.row("x", strings.TrimSpace(strings.Repeat("word ", 30)))
	tab.row("", "")
	var out strings.Builder
	if err := tab.write(&out); err != nil {
		t.Fatal(err)
	}
	want := "A  B\nx  " + strings.TrimSpace(strings.Repeat("word ", 19)) + "\n   " + strings.TrimSpace(strings.Repeat("word ", 11)) + "\n-  -\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProgressShowsWhatTakesOverASecondAndClearsItsLine(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration
		want  string
	}{
		{"what is quick shows nothing", 900 * time.Millisecond, ""},
		{"what is slow counts the seconds", 2500 * time.Millisecond, "\r\x1b[Kwaiting (1 s)\r\x1b[Kwaiting (2 s)\r\x1b[K"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				stop := make(chan struct{})
				time.AfterFunc(test.takes, func() { close(stop) })
				showProgress(&out, func() string { return "waiting" }, stop)
				if out.String() != test.want {
					t.Errorf("printed %q, want %q", out.String(), test.want)
				}
			})
		})
	}
}

func TestNoProgressWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	(&tool{err: &out}).progress("waiting")()
	if out.Len() != 0 || isTerminal(&out) {
		t.Errorf("a buffer passes for a terminal and got %q", out.String())
	}
}
