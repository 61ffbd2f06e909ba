package netapply_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	netquorum "github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// hits reports whether a denial is about a packet.
func hits(d netapply.Denial, p netquorum.Packet) bool {
	return (len(d.Traffic) == 0 || slices.ContainsFunc(d.Traffic, func(t netquorum.Ports) bool {
		return t.Protocol == p.Protocol && t.Low <= p.Port && p.Port <= t.High
	})) && (len(d.From) == 0 || slices.ContainsFunc(d.From, func(n netip.Prefix) bool { return n.Contains(p.From) }))
}

// TestDenialsAreWhatTheRulesTakeAway compares, for pairs of random policies, what
// a change is said to turn away with what becomes of packets before and after.
func TestDenialsAreWhatTheRulesTakeAway(t *testing.T) {
	d := &drawer{rng: rand.New(rand.NewPCG(walkSeed(t), 5))}
	base := guardedConfig(t)
	taken, quiet := 0, 0
	for range 300 {
		change := netapply.SetAccess{Old: wantOf(t, d.policies(t, base), "a", "b").Access, New: wantOf(t, d.policies(t, base), "a", "b").Access}
		if d.chance(0.1) {
			change.Old = change.New
		}
		for _, to := range []string{"10.1.1.2", "10.2.2.1", "10.2.2.2", "2001:db8:2::1"} {
			said := change.Denials(netip.MustParseAddr(to))
			for from := range strings.FieldsSeq("10.1.1.9 10.2.2.77 10.2.3.1 192.0.2.1 2001:db8::9 2001:db8:7::1 2001:dead::1") {
				p := netquorum.Packet{To: netip.MustParseAddr(to), From: netip.MustParseAddr(from)}
				if p.To.Is4() != p.From.Is4() {
					continue
				}
				for _, p.Protocol = range []string{"tcp", "udp", "sctp", "gre"} {
					for _, p.Port = range []uint16{22, 80, 111, 138, 161, 2049, 7000, 7480, 8000, 8001, 10000} {
						if p.Protocol == "gre" {
							p.Port = 0
						}
						if change.Old != nil && filtered(change.Old, p) == netquorum.Deny || change.New == nil || filtered(change.New, p) == netquorum.Allow {
							continue
						}
						taken++
						if !slices.ContainsFunc(said, func(d netapply.Denial) bool { return hits(d, p) }) {
							t.Fatalf("%+v is turned away from now on, and of that nothing is said: %v\n%s", p, said, strings.Join(change.Lines(), "\n"))
						}
					}
				}
			}
			if len(said) == 0 {
				quiet++
			}
			if change.Old == change.New && len(said) > 0 {
				t.Fatalf("nothing changes, and yet: %v", said)
			}
		}
	}
	if taken < 1000 || quiet < 30 {
		t.Errorf("the draw is lopsided: %d packets turned away, %d addresses with nothing lost", taken, quiet)
	}
}

// TestAPlanSaysWhomAPolicyTurnsAway applies stricter policies to a filer that
// hosts a server, and looser ones.
func TestAPlanSaysWhomAPolicyTurnsAway(t *testing.T) {
	policy := func(spec string) netapply.Desired {
		return wantOf(t, single(t, guardedFiler, strings.Replace(onData0, "spec: {", "spec: {access: clients, ", 1), "kind: Access\nname: clients\nspec: "+spec), "a")
	}
	const anything, files = `{default: allow}`, `{default: deny, rules: [{action: allow, applications: [nfs, ssh]}]}`
	for _, tt := range []struct {
		name, before, after string
		want                []string
	}{
		{"only files", anything, files, []string{"lasting [data0-a] [10.2.2.1/24] [VirtualServer/a] everything else (Access/clients default)"}},
		{"anything again", files, anything, nil},
		{"no more ssh", files, `{default: deny, rules: [{action: allow, applications: [nfs]}]}`,
			[]string{"lasting [data0-a] [10.2.2.1/24] [VirtualServer/a] everything else (Access/clients default)"}},
		{"ssh from one network only", anything, `{default: allow, rules: [{action: allow, applications: [ssh], from: [10.0.0.0/8]}, {action: deny, applications: [ssh]}]}`,
			[]string{"lasting [data0-a] [10.2.2.1/24] [VirtualServer/a] tcp/22 (Access/clients rules[1])"}},
		{"said in another way", files, `{default: deny, rules: [{action: allow, applications: [ssh]}, {action: allow, applications: [nfs]}]}`, nil},
		{"a network less", anything, `{default: allow, rules: [{action: deny, from: [192.0.2.0/24]}]}`,
			[]string{"lasting [data0-a] [10.2.2.1/24] [VirtualServer/a] everything from 192.0.2.0/24 (Access/clients rules[0])"}},
	} {
		k := fakekernel.New("eth0", "eth1")
		apply(t, k, policy(tt.before))
		have, err := k.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		steps, _ := netapply.Plan(policy(tt.after), have)
		var got []string
		for _, i := range netapply.Impacts(have, steps) {
			for _, d := range i.Denials {
				for_ := "instant"
				if i.Lasting {
					for_ = "lasting"
				}
				got = append(got, fmt.Sprint(for_, " ", i.Links, " ", i.Addresses, " ", i.Servers, " ", d))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}
