package failover

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum"
)

func TestPlaceOneServer(t *testing.T) {
	all := []netquorum.Candidate{{Filer: "f1"}, {Filer: "f2"}, {Filer: "f3"}}
	live, gone, doubt := Filer{Standing: Live}, Filer{Standing: Gone}, Filer{Standing: Doubtful}
	settled := func(r netquorum.Revision) Filer { return Filer{Standing: Live, Settled: r} }
	on := func(f string) netquorum.Placement { return netquorum.Placement{Filer: f, Epoch: 4} }
	left := func(f string) netquorum.Placement { return netquorum.Placement{Leaving: f, Epoch: 4} }
	lacks := func(f string) []netquorum.Candidate {
		out := []netquorum.Candidate{}
		for _, c := range all {
			if c.Filer == f {
				c.Missing = []netquorum.InterfaceName{"data9"}
			}
			out = append(out, c)
		}
		return out
	}
	for _, test := range []struct {
		name       string
		now        netquorum.Placement
		candidates []netquorum.Candidate
		filers     map[string]Filer
		want       netquorum.Placement
	}{
		{"a new server goes to the first live filer", on(""), all, map[string]Filer{"f1": live, "f2": live}, on("f1")},
		{"the first filer is passed over when it lacks an alias", on(""), lacks("f1"), map[string]Filer{"f1": live, "f2": live}, on("f2")},
		{"a filer that never reported is not chosen", on(""), all, map[string]Filer{"f3": live}, on("f3")},
		{"a server stays although an earlier filer is back", on("f2"), all, map[string]Filer{"f1": live, "f2": live}, on("f2")},
		{"nothing moves while the host's lease may still run", on("f1"), all, map[string]Filer{"f1": doubt, "f2": live}, on("f1")},
		{"a host unknown to a new leader is in doubt", on("f1"), all, map[string]Filer{"f2": live}, on("f1")},
		{"a server leaves a filer that is gone at once", on("f1"), all, map[string]Filer{"f1": gone, "f2": live}, on("f2")},
		{"with nobody to go to it is placed nowhere", on("f1"), all, map[string]Filer{"f1": gone, "f2": doubt}, on("")},
		{"a live host that lost an alias is left first", on("f1"), lacks("f1"), map[string]Filer{"f1": live, "f2": live}, left("f1")},
		{"a live host that left the group is left first", on("f0"), all, map[string]Filer{"f0": live, "f2": live}, left("f0")},
		{"the new host waits for the old one to follow", left("f1"), lacks("f1"), map[string]Filer{"f1": settled(6), "f2": live}, left("f1")},
		{"the new host is named when the old one has followed", left("f1"), lacks("f1"), map[string]Filer{"f1": settled(7), "f2": live}, on("f2")},
		{"the new host is named when the old one is gone", left("f1"), lacks("f1"), map[string]Filer{"f1": gone, "f2": live}, on("f2")},
		{"the new host waits while the old one is in doubt", left("f1"), lacks("f1"), map[string]Filer{"f1": doubt, "f2": live}, left("f1")},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := place(test.now, 7, test.candidates, nil, test.filers)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
