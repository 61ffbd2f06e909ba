package transport

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPathsGoFromTheSameNetwork(t *testing.T) {
	prefixes := func(s ...string) (out []netip.Prefix) {
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	tests := []struct {
		name    string
		own     []netip.Prefix
		remotes []string
		want    []string // local > remote
	}{
		{"nothing known", nil, nil, nil},
		{"no own address", nil, []string{"10.1.1.2:7480"}, []string{"* > 10.1.1.2:7480"}},
		{"one network each", prefixes("10.1.1.1/24", "10.2.2.1/24"), []string{"10.1.1.2:1", "10.2.2.2:1"},
			[]string{"10.1.1.1 > 10.1.1.2:1", "10.2.2.1 > 10.2.2.2:1"}},
		{"the other's order", prefixes("10.1.1.1/24", "10.2.2.1/24"), []string{"10.2.2.2:1", "10.1.1.2:1"},
			[]string{"10.2.2.1 > 10.2.2.2:1", "10.1.1.1 > 10.1.1.2:1"}},
		{"behind a router", prefixes("10.1.1.1/24"), []string{"10.9.1.2:1"}, []string{"* > 10.9.1.2:1"}},
		{"a network within a network", prefixes("10.0.0.1/8", "10.1.1.1/24"), []string{"10.1.1.2:1", "10.7.7.7:1"},
			[]string{"10.1.1.1 > 10.1.1.2:1", "10.0.0.1 > 10.7.7.7:1"}},
		{"two own addresses in one network", prefixes("10.1.1.1/24", "10.1.1.9/24"), []string{"10.1.1.2:1"}, []string{"10.1.1.1 > 10.1.1.2:1"}},
		{"IPv6", prefixes("2001:db8::1/64"), []string{"[2001:db8::2]:1", "[fe80::2%eth0]:1"},
			[]string{"2001:db8::1 > [2001:db8::2]:1", "* > [fe80::2%eth0]:1"}},
		{"IPv4 in IPv6", prefixes("10.1.1.1/24"), []string{"[::ffff:10.1.1.2]:1"}, []string{"10.1.1.1 > [::ffff:10.1.1.2]:1"}},
		{"a name", prefixes("10.1.1.1/24"), []string{"filer2"}, []string{"* > filer2:7480"}},
		{"the same twice", nil, []string{"10.1.1.2", "10.1.1.2:7480"}, []string{"* > 10.1.1.2:7480"}},
		{"too many", nil, []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"},
			[]string{"* > a:7480", "* > b:7480", "* > c:7480", "* > d:7480", "* > e:7480", "* > f:7480", "* > g:7480", "* > h:7480"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, p := range pathsTo(test.own, test.remotes) {
				local := "*"
				if p.local.IsValid() {
					local = p.local.String()
				}
				got = append(got, local+" > "+p.remote)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBackOffGrowsToTwoSecondsAndIsJittered(t *testing.T) {
	last := time.Duration(0)
	for failures := 1; failures < 40; failures++ {
		most, least := backOff(failures, 0), backOff(failures, 1)
		if most < last || most > 2*time.Second || least != most/2 {
			t.Errorf("after %d failures %v to %v, before it %v", failures, least, most, last)
		}
		last = most
	}
	if first := backOff(1, 0); first != 100*time.Millisecond {
		t.Errorf("after one failure %v", first)
	}
	if last != 2*time.Second {
		t.Errorf("never reaches two seconds: %v", last)
	}
}
