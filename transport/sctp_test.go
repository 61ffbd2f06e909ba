package transport

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum/transport/sctpio"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

var (
	twoNets = []netip.Prefix{netip.MustParsePrefix("10.1.1.1/24"), netip.MustParsePrefix("10.2.2.1/24")}
	peers   = []string{"10.1.1.2:7480", "10.2.2.2:7480"}
)

func TestAssociationsGoByTheAddressesThatThereAre(t *testing.T) {
	for _, test := range []struct {
		name     string
		own      []netip.Addr
		from, to string // of both paths; empty for none
	}{
		{"all", addrs("10.1.1.1", "10.2.2.1"), "10.1.1.1,10.2.2.1", "10.1.1.2:7480,10.2.2.2:7480"},
		{"one is missing", addrs("10.2.2.1"), "10.2.2.1", "10.2.2.2:7480"},
		{"one of no network of the others", addrs("10.9.9.1"), "10.9.9.1", "10.1.1.2:7480,10.2.2.2:7480"},
		{"none", nil, "", ""},
	} {
		var want []path
		if test.from != "" {
			want = []path{{sctp: true, from: test.from, remote: test.to}, {sctp: true, bulk: true, from: test.from, remote: test.to}}
		}
		if got := associations(test.own, twoNets, peers); !slices.Equal(got, want) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestPathsThatAnAssociationLacks(t *testing.T) {
	first := PathStatus{Remote: "10.1.1.2"}
	second := PathStatus{Remote: "10.2.2.2"}
	for _, test := range []struct {
		name  string
		have  []PathStatus
		bound []netip.Addr
		want  []string
	}{
		{"none", []PathStatus{first, second}, addrs("10.1.1.1", "10.2.2.1"), nil},
		{"the other's", []PathStatus{first}, addrs("10.1.1.1", "10.2.2.1"), []string{"10.2.2.1 > 10.2.2.2 sctp down: " + lacksRemote}},
		{"ours", []PathStatus{second}, addrs("10.2.2.1"), []string{"10.1.1.1 > 10.1.1.2 sctp down: " + lacksOwn}},
	} {
		var got []string
		for _, s := range missingPaths(twoNets, peers, test.have, test.bound) {
			got = append(got, s.Local+" > "+s.Remote+" "+s.Kind+" "+s.State+": "+s.Failure)
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s: %s", test.name, d)
		}
	}
}

// An association that the peer made is as good as one that this filer would make
// while its addresses are the same, and is replaced when one has come or gone.
func TestTendAssociationsOfThePeer(t *testing.T) {
	control := path{sctp: true, from: "10.1.1.1,10.2.2.1", remote: "10.1.1.2:7480,10.2.2.2:7480"}
	peers := held{sctp: true, from: control.from, since: ago(9000)}
	fewer := peers
	fewer.from = "10.1.1.1"
	ours := held{sctp: true, ours: true, path: control, since: ago(1000)}
	for _, test := range []struct {
		name string
		have []held
		dial []path
		drop []int
	}{
		{"of the same addresses", []held{peers}, nil, nil},
		{"an address was missing", []held{fewer}, []path{control}, nil},
		{"replaced", []held{fewer, ours}, nil, []int{0}},
	} {
		got := view{ping: 50 * time.Millisecond, first: true, wanted: []path{control}, have: test.have}.tend(noon)
		if !slices.Equal(got.dial, test.dial) || !slices.Equal(got.drop, test.drop) {
			t.Errorf("%s: dials %v, drops %v", test.name, got.dial, got.drop)
		}
	}
}

// A call that came before an address was added may be accepted after it.
func TestAddressesThatAPeerCalled(t *testing.T) {
	one, two := addrs("10.1.1.1"), addrs("10.1.1.1", "10.2.2.1")
	for _, test := range []struct {
		name    string
		changed time.Duration // ago
		local   []netip.Addr
		want    []netip.Addr
	}{
		{"long after the change", time.Hour, two, two},
		{"long after the change, one left out by its scope", time.Hour, one, two},
		{"right after the change, and of it", 0, two, two},
		{"right after the change, and of before", 0, one, one},
	} {
		s := &sctpPort{bound: two, before: one, changed: time.Now().Add(-test.changed)}
		if got := s.calledAt(sctpio.AddrPorts(sctpio.Addr(7480, test.local...))); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
