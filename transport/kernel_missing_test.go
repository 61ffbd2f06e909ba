package transport_test

import (
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/sctpio"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// An address that is configured and not in the kernel costs its path, not SCTP;
// when it is there, the associations have it soon. Messages flow meanwhile.
func TestKernelAssociationsWithoutAnAddress(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	if err := sctpio.Supported(); err != nil {
		t.Skipf("%v; run with -exec test/vm/vm-exec", err)
	}
	const unset, set = "addr del", "addr add"
	twoCables(t)
	nstest.Sh(t, "ip netns exec far ip addr del 10.2.0.2/24 dev west")
	c, near, far, _ := newFilersOnCables(t, func(cfg *transport.Config) { cfg.SCTP = true })
	out := newPost(t, near, far, "test-out/1", 5*time.Millisecond)
	back := newPost(t, far, near, "test-back/1", 5*time.Millisecond)

	// by reports whether a filer has associations, with the paths to the one list of
	// addresses up and those to the other not.
	by := func(f *transporttest.Filer, to netquorum.FilerID, up, down []string) bool {
		l := f.Links()[0]
		var lives, fails []string
		for _, p := range l.Paths {
			switch {
			case p.State == "up" && p.Failure == "":
				lives = append(lives, p.Remote)
			case p.State != "up" && p.Failure != "":
				fails = append(fails, p.Remote)
			default:
				return false
			}
		}
		return l.Kind == "sctp" && f.Stats().Open == 2 && slices.Equal(lives, up) && slices.Equal(fails, down)
	}
	await := func(what string, up, down []string) {
		t.Helper()
		seen := func() bool {
			ofNear, ofFar := []string{}, []string{}
			for _, list := range [][]string{up, down} {
				for _, net := range list {
					ofNear, ofFar = append(ofNear, "10."+net+".0.1"), append(ofFar, "10."+net+".0.2")
				}
			}
			n := len(up)
			return by(near, far.ID, some(ofFar[:n]), some(ofFar[n:])) && by(far, near.ID, some(ofNear[:n]), some(ofNear[n:]))
		}
		defer func() {
			if t.Failed() {
				for _, f := range c.Filers {
					t.Logf("%s: %+v", f.ID, f.Links()[0])
				}
			}
		}()
		transporttest.Eventually(t, what, seen)
		sofar := out.count() + back.count()
		transporttest.Eventually(t, "messages", func() bool { return out.count()+back.count() > sofar+50 })
		t.Logf("%s: longest silence %v", what, max(out.longest(), back.longest()).Round(time.Millisecond))
	}
	await("associations without the far filer's second address", []string{"1"}, []string{"2"})
	nstest.Sh(t, "ip netns exec far ip addr add 10.2.0.2/24 dev west")
	far.Readdress()
	await("both paths", []string{"1", "2"}, nil)

	for _, step := range []struct {
		what, in, address, cable string
		filer                    *transporttest.Filer
		left, gone               string
	}{
		{"the near filer's first address", "", "10.1.0.1/24", "east", near, "2", "1"},
		{"the far filer's first address", "ip netns exec far ", "10.1.0.2/24", "east", far, "2", "1"},
		{"the near filer's second address", "", "10.2.0.1/24", "west", near, "1", "2"},
	} {
		change := func(verb string) { nstest.Sh(t, step.in+"ip "+verb+" "+step.address+" dev "+step.cable) }
		change(unset)
		step.filer.Readdress()
		await("without "+step.what, []string{step.left}, []string{step.gone})
		change(set)
		step.filer.Readdress()
		await("both paths again, after "+step.what, []string{"1", "2"}, nil)
	}

	// Nobody tells the endpoint of it: dialling finds out.
	nstest.Sh(t, "ip addr del 10.2.0.1/24 dev west")
	near.Renew()
	await("new associations without an address that nobody said has gone", []string{"1"}, []string{"2"})
	t.Logf("%d messages", out.end()+back.end())
}

// some is nil for an empty list.
func some(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return list
}
