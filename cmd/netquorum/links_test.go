package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/netquorum/netquorum/api"
)

// pathsOut is a filer with a path that is cut, and another one that is gone.
func pathsOut() api.LinkReport {
	return api.LinkReport{Filer: "filer1", Links: []api.Link{
		{Filer: "filer2", ID: "b", State: api.LinkDegraded, Kind: "tcp", Reason: "the kernel has no SCTP", Since: before(3 * time.Hour), Switches: 3, Streams: 9,
			Sent: 1234567, Received: 98765432, Resent: 4321, Duplicates: 12,
			Paths: []api.LinkPath{
				{Kind: "tcp", Local: "10.1.1.1", Remote: "10.1.1.2", State: "down", Since: before(90 * time.Second), RoundTrip: 312, Uses: []string{"urgent"}, Sent: 5000, Received: 4000},
				{Kind: "tcp", Local: "10.2.2.1", Remote: "10.2.2.2", State: "up", Since: before(3 * time.Hour), RoundTrip: 1250, Uses: []string{"urgent", "control", "bulk"}, Sent: 1229567, Received: 98761432},
			}},
		{Filer: "filer3", ID: "c", State: api.LinkDown, Paths: []api.LinkPath{
			{Kind: "tcp", Local: "10.1.1.1", Remote: "10.1.1.3", State: "dialling", Failure: "connection refused"},
			{Kind: "tcp", Remote: "2001:db8:1:2:3:4:5:6", State: "dialling", Failure: "connect: no route to host"},
		}},
		{Filer: "filer4", ID: "d", State: api.LinkUp, Kind: "sctp", Since: before(time.Minute), Streams: 2, Paths: []api.LinkPath{
			{Kind: "sctp", Local: "10.1.1.1", Remote: "10.1.1.4", State: "up", RoundTrip: 1000, Uses: []string{"urgent", "control", "bulk"}},
			{Kind: "sctp", Local: "10.2.2.1", Remote: "10.2.2.4", State: "up", RoundTrip: 1000},
		}},
	}}
}

// longPaths is a filer whose addresses are as long as addresses can be, and so is
// a name and what is told of the paths.
func longPaths() api.LinkReport {
	const no = "connect: cannot assign requested address, and the other filer takes no call either"
	return api.LinkReport{Filer: "filer1", Links: []api.Link{
		{Filer: "filer2", ID: "b", State: api.LinkDegraded, Kind: "tcp", Since: before(49 * time.Hour), Switches: 123456, Streams: 9, Sent: 9_999_000, Received: 98765432, Resent: 9_999_000, Duplicates: 9_999_000,
			Reason: "no association: set SCTP_BINDX_ADD: cannot assign requested address, of which there are several here",
			Paths: []api.LinkPath{
				{Kind: "tcp", Local: "2001:db8:1111:2222:3333:4444:5555:6661", Remote: "2001:db8:1111:2222:3333:4444:5555:6662", State: "suspect", Since: before(90 * time.Second), RoundTrip: 123456, Uses: []string{"urgent", "control"}, Sent: 9_999_000, Received: 4000},
				{Kind: "tcp", Local: "fe80::a111:b222:c333:d444%vlan1234567.100", Remote: "fe80::a111:b222:c333:d445%vlan1234567.100", State: "up", Since: before(3 * time.Hour), RoundTrip: 1250, Uses: []string{"urgent", "control", "bulk"}, Sent: 1229567, Received: 98761432},
				{Kind: "tcp", Local: "10.1.1.1", Remote: "10.1.1.2", State: "dialling", Failure: no},
			}},
		{Filer: "filer3", ID: "c", State: api.LinkDown, Paths: []api.LinkPath{
			{Kind: "tcp", Remote: strings.Repeat("storage.", 11) + "example", State: "dialling", Failure: no},
		}},
	}}
}

// longNames is the same with a name that leaves the table no room beside it.
func longNames() api.LinkReport {
	r := longPaths()
	r.Links[0].Filer = strings.Repeat("filer-2-", 7) + "storage"
	return r
}

func TestLinkTables(t *testing.T) {
	r := pathsOut()
	for _, test := range []struct {
		name, golden string
		show         func(*tool) error
	}{
		{"all", "links", func(t *tool) error { return t.showLinks(r) }},
		{"one", "links-one", func(t *tool) error { return t.showLink(r.Links[0], testNow) }},
		{"one that is down", "links-down", func(t *tool) error { return t.showLink(r.Links[1], testNow) }},
		{"none", "links-none", func(t *tool) error { return t.showLinks(api.LinkReport{Filer: "filer1"}) }},
		{"all, long addresses", "links-long", func(t *tool) error { return t.showLinks(longPaths()) }},
		{"all, long names", "links-long-names", func(t *tool) error { return t.showLinks(longNames()) }},
		{"one, long addresses", "links-long-one", func(t *tool) error { return t.showLink(longPaths().Links[0], testNow) }},
		{"in status, long addresses", "links-long-status", func(t *tool) error {
			t.showAttention(api.Status{Filers: []api.FilerStatus{{Name: "filer1", Peers: longPaths().Links}, {Name: "filer2"}, {Name: "filer3"}}}, testNow)
			return nil
		}},
		{"in status", "links-status", func(t *tool) error {
			t.showAttention(api.Status{Filers: []api.FilerStatus{{Name: "filer1", Peers: r.Links}, {Name: "filer2", Peers: []api.Link{{Filer: "filer1", Paths: r.Links[0].Paths}}},
				{Name: "filer3", Role: api.RoleUnreachable}, {Name: "filer4"}}}, testNow)
			return nil
		}},
	} {
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

func TestBytesInFewCharacters(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 9999: "9999", 10_000: "10K", 9_999_499: "9999K", 9_999_500: "10M", 123_456_789: "123M", 1 << 63: "9223P"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is shown as %s, want %s", n, got, want)
		}
	}
}
