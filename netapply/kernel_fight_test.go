package netapply_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum/netapply"
)

// TestKernelFight has another process set an MTU in a loop, as fast as it can,
// while events wake us. It is not fought for ever, and the other address is
// held meanwhile; when it stops the MTU is put right.
func TestKernelFight(t *testing.T) {
	if !inNamespace(t, netapply.FeatureMacvlan) {
		return
	}
	cards(t, "eth0")
	k := openKernel(t)
	d := want(t, example(t, "single-nic.yaml"), "filer1", "files")
	ctx, cancel := context.WithCancel(t.Context())
	wake := netapply.Watch(ctx, nil)
	a := netapply.Applier{Kernel: k}
	if r, err := a.Apply(t.Context(), d); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	good := settledState(t, k, d)
	var mended atomic.Int64
	var worst atomic.Pointer[netapply.Drift]
	var follower sync.WaitGroup
	follower.Go(func() {
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case _, open := <-wake:
				if !open {
					return
				}
			case <-again.C:
			}
			r, err := a.Apply(context.Background(), d)
			if err != nil {
				t.Error(err)
			}
			for _, s := range r.Steps {
				if strings.Contains(s.String(), "mgmt0 mtu") {
					mended.Add(1)
				}
			}
			if len(r.Drifts) > 0 {
				worst.Store(&r.Drifts[0])
			}
		}
	})
	fighter := exec.Command("ip", "-force", "-batch", "-")
	in, err := fighter.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := fighter.Start(); err != nil {
		t.Fatal(err)
	}
	changes := 0
	for begin := time.Now(); time.Since(begin) < 3*time.Second; changes++ {
		if _, err := fmt.Fprintf(in, "link set mgmt0 mtu %d\n", 1300+changes%2); err != nil {
			t.Fatal(err)
		}
	}
	in.Close()
	_ = fighter.Wait()
	n, w := mended.Load(), worst.Load()
	t.Logf("%d changes, put right %d times: %+v", changes, n, w)
	// A pass that finds a change may see the next in each of its rounds.
	if n > 40 {
		t.Errorf("put right %d times in three seconds: fought for ever", n)
	}
	if w == nil || w.Object != "link mgmt0" || !w.Fight() {
		t.Fatalf("reported as %+v, want a fight for link mgmt0", w)
	}
	eventually(t, "peace", 20*time.Second, func() bool { return settledState(t, k, d) == good })
	cancel()
	follower.Wait()
}

// TestKernelWatchOverflow loses events and expects to be told to look again, and
// to hear of what comes after.
func TestKernelWatchOverflow(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cards(t, "eth0")
	var said lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	wake := netapply.WatchOverflowing(ctx, slog.New(slog.NewTextHandler(&said, nil)), func() {
		var b strings.Builder
		for i := range 500 {
			fmt.Fprintf(&b, "addr add 10.0.%d.%d/32 dev eth0\n", i/250, i%250+1)
		}
		batch(t, b.String())
	})
	awaitWake(t, wake, "an overflow")
	if !strings.Contains(said.String(), "lost events") {
		t.Fatalf("nothing was lost: %s", said.String())
	}
	// The new subscription works, and a burst is still a few wake-ups only.
	eventually(t, "quiet", 10*time.Second, func() bool {
		select {
		case <-wake:
			return false
		case <-time.After(500 * time.Millisecond):
			return true
		}
	})
	run(t, "ip", "addr", "add", "10.9.9.9/32", "dev", "eth0")
	awaitWake(t, wake, "a change after the overflow")
	cancel()
	for range wake {
	}
}

// lockedBuffer is a buffer that several may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
