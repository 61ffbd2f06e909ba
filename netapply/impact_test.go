package netapply_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// impacts prints impacts, one a line.
func impacts(list []netapply.Impact) []string {
	var out []string
	for _, i := range list {
		for_ := "instant"
		if i.Lasting {
			for_ = "lasting"
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %v %v %v %s", for_, i.Links, i.Addresses, i.Servers, firstCommand(i.Step))))
	}
	return out
}

func firstCommand(s netapply.Step) string {
	first, _, _ := strings.Cut(s.String(), " &&")
	return first
}

// TestImpacts says who loses traffic, and how long, for changes of all sorts.
func TestImpacts(t *testing.T) {
	const alone = `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth1}`
	for _, tt := range []struct {
		name          string
		before, after string
		server        bool // is there after, too
		impacts       []string
	}{
		{"nothing", alone, alone, true, nil},
		{"an address more", alone, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24, 10.1.1.3/24]}, {name: data0, parent: eth1}`, true, nil},
		{"another address", alone, `{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]}, {name: data0, parent: eth1}`, true, []string{
			"lasting [mgmt0] [10.1.1.2/24] [] ip addr del 10.1.1.2/24 dev mgmt0",
		}},
		{"the same address in a wider subnet", alone, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/16]}, {name: data0, parent: eth1}`, true, nil},
		{"the server leaves", alone, alone, false, []string{
			"lasting [data0-a] [10.2.2.1/24] [VirtualServer/a] ip link del data0-a",
		}},
		{"the alias of the server on another card", alone, `{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth2}`, true, []string{
			"instant [data0-a] [10.2.2.1/24] [VirtualServer/a] ip link set data0-a down",
		}},
		{"jumbo frames on the card", alone, `{name: eth1, mtu: 9000}, ` + alone, true, []string{
			"instant [data0 data0-a] [10.2.2.1/24] [VirtualServer/a] ip link set eth1 mtu 9000",
		}},
		{"a second member for a bond interrupts nobody",
			`{name: bond0, members: [eth0]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth1}`,
			`{name: bond0, members: [eth0, eth2]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth1}`, true, nil},
		{"nor does taking it out",
			`{name: bond0, members: [eth0, eth2]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth1}`,
			`{name: bond0, members: [eth2]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: eth1}`, true, nil},
		{"another mode needs an empty bond",
			`{name: bond0, members: [eth0, eth2]}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: bond0}`,
			`{name: bond0, members: [eth0, eth2], bond: {mode: active-backup}}, {name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}, {name: data0, parent: bond0}`, true, []string{
				"instant [data0 mgmt0 data0-a] [10.1.1.2/24 10.2.2.1/24] [VirtualServer/a] ip link set eth2 nomaster",
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := fakekernel.New("eth0", "eth1", "eth2")
			mustApply(t, k, want(t, single(t, tt.before, onData0), "filer1", "a"))
			d := want(t, single(t, tt.after, onData0), "filer1")
			if tt.server {
				d = want(t, single(t, tt.after, onData0), "filer1", "a")
			}
			have, err := k.Observe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			steps, _ := netapply.Plan(d, have)
			if diff := cmp.Diff(tt.impacts, impacts(netapply.Impacts(have, steps))); diff != "" {
				t.Errorf("(-want +got):\n%s\nof the plan:\n%s", diff, lines(steps))
			}
		})
	}
}

// A card without carrier has nothing to lose, and what somebody else has put
// on one has.
func TestImpactsOnOthers(t *testing.T) {
	have := netapply.Observed{
		Links: []netapply.ObservedLink{
			{Link: netapply.Link{Name: "eth0"}, Index: 2, Up: true, Carrier: true},
			{Link: netapply.Link{Name: "eth1"}, Index: 3, Up: true},
			{Link: netapply.Link{Name: "vm7", Kind: netapply.Macvlan, Parent: "eth0"}, Index: 4, Up: true, Carrier: true},
		},
		Addresses: []netapply.ObservedAddress{{Link: "eth1", Prefix: prefix("192.0.2.1/24")}, {Link: "eth0", Prefix: prefix("192.0.2.2/24")}},
	}
	down := func(link string) netapply.Step { return netapply.SetLink{Name: link, Up: new(false)} }
	if got := impacts(netapply.Impacts(have, []netapply.Step{down("eth1")})); got != nil {
		t.Errorf("without carrier: %q", got)
	}
	expected := []string{"lasting [eth0 vm7] [192.0.2.2/24] [] ip link set eth0 down"}
	if diff := cmp.Diff(expected, impacts(netapply.Impacts(have, []netapply.Step{down("eth0")}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	restart := []netapply.Step{restarts{down("eth0"), "eth0"}}
	expected = []string{"instant [eth0 vm7] [192.0.2.2/24] [] ip link set eth0 down"}
	if diff := cmp.Diff(expected, impacts(netapply.Impacts(have, restart))); diff != "" {
		t.Errorf("a step that says what it interrupts (-want +got):\n%s", diff)
	}
}

// restarts is a step of another file's.
type restarts struct {
	netapply.Step
	link string
}

func (r restarts) Interrupts() []string { return []string{r.link} }
