package netapply_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/netquorum/netquorum/netapply"
)

// TestKernelObservedMeanwhile applies while others look at the same kernel, as
// the status of a filer does.
func TestKernelObservedMeanwhile(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	stop := make(chan struct{})
	var watchers sync.WaitGroup
	for range 2 {
		watchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := k.Observe(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	c := example(t, "single-nic.yaml")
	for i := range 50 {
		hosts := [][]string{{"files", "media"}, nil, {"media"}}[i%3]
		d := want(t, c, "filer1", hosts...)
		if i%10 == 9 {
			d = netapply.Desired{}
		}
		if r := mustApply(t, k, d); r.Rounds > 2 {
			t.Errorf("pass %d took %d rounds: a step failed because somebody looked", i, r.Rounds)
		}
	}
	close(stop)
	watchers.Wait()
}

// TestKernelBatch carries out more steps at once than fit in one batch, some of
// which cannot succeed: each has its own outcome, with the kernel's words.
func TestKernelBatch(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	if _, err := k.Observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	steps := []netapply.Step{netapply.SetLink{Name: "eth0", Up: new(true)}}
	for i := range 300 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(i%200 + 1)}), 16)
		steps = append(steps, netapply.AddAddress{Address: netapply.Address{Link: "eth0", Prefix: p}})
		if i%100 == 50 {
			steps = append(steps,
				netapply.AddRoute{Route: netapply.Route{Table: netapply.MainTable, To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("198.51.100.1"), Link: "eth0"}},
				netapply.AddAddress{Address: netapply.Address{Link: "nowhere", Prefix: p}})
		}
	}
	for i, err := range k.Do(t.Context(), steps...) {
		var says string
		switch s := steps[i].(type) {
		case netapply.AddRoute:
			says = "Nexthop has invalid gateway"
		case netapply.AddAddress:
			if s.Address.Link == "nowhere" {
				says = "there is no link nowhere"
			}
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", steps[i], err, says)
		}
	}
	if n := len(ipAddresses(t)["eth0"]); n != 300 {
		t.Errorf("%d addresses, want 300", n)
	}
}
