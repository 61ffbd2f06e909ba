package failover

import (
	"testing"

	"github.com/netquorum/netquorum"
)

func TestServersLeaveADrainingFilerAndReturnHome(t *testing.T) {
	all := []netquorum.Candidate{{Filer: "f1"}, {Filer: "f2"}, {Filer: "f3"}}
	live, gone := Filer{Standing: Live, Settled: 9}, Filer{Standing: Gone}
	drains := Filer{Standing: Live, Settled: 9, Draining: true}
	on := func(f string) netquorum.Placement { return netquorum.Placement{Filer: f} }
	left := func(f string) netquorum.Placement { return netquorum.Placement{Leaving: f} }
	for _, c := range []struct {
		name   string
		now    netquorum.Placement
		home   string
		filers map[string]Filer
		want   netquorum.Placement
	}{
		{"it leaves", on("f1"), "", map[string]Filer{"f1": drains, "f2": live}, left("f1")},
		{"it goes where nothing drains", left("f1"), "", map[string]Filer{"f1": drains, "f2": drains, "f3": live}, on("f3")},
		{"it stays when there is nobody else", on("f1"), "", map[string]Filer{"f1": drains, "f2": gone}, on("f1")},
		{"it goes back where it came from when nobody else is left", left("f1"), "", map[string]Filer{"f1": drains, "f2": gone}, on("f1")},
		{"it leaves for home", on("f2"), "f1", map[string]Filer{"f1": live, "f2": live}, left("f2")},
		{"it arrives at home, not at the first", left("f2"), "f3", map[string]Filer{"f1": live, "f2": live, "f3": live}, on("f3")},
		{"it is at home", on("f1"), "f1", map[string]Filer{"f1": live, "f2": live}, on("f1")},
		{"home is not there", on("f2"), "f1", map[string]Filer{"f1": gone, "f2": live}, on("f2")},
		{"home drains", on("f2"), "f1", map[string]Filer{"f1": drains, "f2": live}, on("f2")},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := Wishes{Home: func(string) string { return c.home }}
			next := place(c.now, 7, all, nil, c.filers)
			if got := w.homeward("web", c.now, next, all, nil, c.filers); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
