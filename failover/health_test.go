package failover

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/netquorum/netquorum"
)

// A server needs data0 and data1; the filers report how these are.
func TestPlaceByHealth(t *testing.T) {
	needs := []netquorum.InterfaceName{"data0", "data1"}
	all := []netquorum.Candidate{{Filer: "f1"}, {Filer: "f2"}, {Filer: "f3"}}
	filer := func(alias netquorum.InterfaceName, h Health) Filer {
		return Filer{Standing: Live, Settled: 7, Aliases: map[netquorum.InterfaceName]Health{alias: h}}
	}
	sound, failed, recovering := Filer{Standing: Live, Settled: 7}, filer("data1", Failed), filer("data0", Recovering)
	on := func(f string) netquorum.Placement { return netquorum.Placement{Filer: f, Epoch: 4} }
	left := func(f string) netquorum.Placement { return netquorum.Placement{Leaving: f, Epoch: 4} }
	for _, test := range []struct {
		name   string
		now    netquorum.Placement
		filers map[string]Filer
		want   netquorum.Placement
	}{
		{"one failed alias of several is enough to leave", on("f1"), map[string]Filer{"f1": failed, "f2": sound}, left("f1")},
		{"an alias that the server does not need is none of its business", on("f1"), map[string]Filer{"f1": filer("data7", Failed), "f2": sound}, on("f1")},
		{"with every filer failed it stays", on("f1"), map[string]Filer{"f1": failed, "f2": failed, "f3": failed}, on("f1")},
		{"it stays when the others are gone or in doubt", on("f1"), map[string]Filer{"f1": failed, "f2": {Standing: Gone}, "f3": {}}, on("f1")},
		{"a recovering host keeps it", on("f1"), map[string]Filer{"f1": recovering, "f2": sound}, on("f1")},
		{"a recovered host does not get it back", on("f2"), map[string]Filer{"f1": sound, "f2": sound}, on("f2")},
		{"a failed host loses it to a recovering one, if there is no better", on("f1"), map[string]Filer{"f1": failed, "f2": recovering}, left("f1")},
		{"a sound filer is chosen before a recovering one", left("f1"), map[string]Filer{"f1": failed, "f2": recovering, "f3": sound}, on("f3")},
		{"of two sound ones the first is", left("f1"), map[string]Filer{"f1": failed, "f2": sound, "f3": sound}, on("f2")},
		{"the old host must have followed first", left("f1"), map[string]Filer{"f1": {Standing: Live, Settled: 6}, "f2": sound}, left("f1")},
		{"with all failed meanwhile, the first takes it", left("f2"), map[string]Filer{"f1": failed, "f2": failed}, on("f1")},
		{"a new server is placed although every filer failed", on(""), map[string]Filer{"f1": failed, "f2": failed}, on("f1")},
		{"a new server goes to a sound filer", on(""), map[string]Filer{"f1": failed, "f2": sound}, on("f2")},
		{"a host in doubt is not left for its health", on("f1"), map[string]Filer{"f1": {Aliases: failed.Aliases}, "f2": sound}, on("f1")},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := place(test.now, 7, all, needs, test.filers)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever two filers report, in whatever order, a server that is moved because
// of health moves to a filer that was better at that moment: no pair of reports
// makes it go round and round.
func TestPlaceByHealthComesToRest(t *testing.T) {
	healths := []Health{Sound, Recovering, Failed}
	all := []netquorum.Candidate{{Filer: "f1"}, {Filer: "f2"}, {Filer: "f3"}}
	for _, a := range healths {
		for _, b := range healths {
			for _, c := range healths {
				filers := map[string]Filer{}
				for name, h := range map[string]Health{"f1": a, "f2": b, "f3": c} {
					filers[name] = Filer{Standing: Live, Settled: 9, Aliases: map[netquorum.InterfaceName]Health{"data0": h}}
				}
				for _, host := range []string{"", "f1", "f2", "f3"} {
					now := netquorum.Placement{Filer: host}
					for range 3 {
						now = place(now, 9, all, []netquorum.InterfaceName{"data0"}, filers)
					}
					if next := place(now, 9, all, []netquorum.InterfaceName{"data0"}, filers); next != now || now.Filer == "" {
						t.Errorf("f1 %d, f2 %d, f3 %d, from %q: went on from %+v to %+v", a, b, c, host, now, next)
					}
				}
			}
		}
	}
}
