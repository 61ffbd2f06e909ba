package netapply_test

import (
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
