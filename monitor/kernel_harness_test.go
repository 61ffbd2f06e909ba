package monitor_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/netquorum/netquorum/lab"
	"github.com/netquorum/netquorum/lab/nstest"
	"github.com/netquorum/netquorum/monitor"
)

// inNamespace is nstest.Enter for tests that need features of the kernel.
func inNamespace(t testing.TB, features ...lab.Feature) bool {
	t.Helper()
	if !nstest.Within(t) {
		if missing, err := lab.Missing(features...); err != nil || len(missing) > 0 {
			t.Skipf("this kernel lacks %v (%v); run with -exec test/vm/vm-exec", missing, err)
		}
	}
	return nstest.Enter(t)
}

func sh(t testing.TB, script string) string {
	t.Helper()
	return nstest.Sh(t, script)
}

// A running monitor of the real kernel.
type running struct {
	*monitor.Monitor
	t    *testing.T
	stop func()
}

func start(t *testing.T, m *monitor.Monitor) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stopped := false
	r := &running{Monitor: m, t: t}
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	t.Cleanup(r.stop)
	return r
}

// kernelMonitor watches this namespace's kernel.
func kernelMonitor(t *testing.T, p monitor.Plan) *running {
	t.Helper()
	m := monitor.New(monitor.Options{Source: &monitor.Netlink{}, Probe: func() monitor.Prober { return monitor.NewPackets(nil) }})
	m.Configure(p)
	return start(t, m)
}

// await waits until the snapshot is as it should be.
func (r *running) await(what string, limit time.Duration, ok func(monitor.Snapshot) bool) monitor.Snapshot {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if s := r.Snapshot(); ok(s) {
			return s
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	s := r.Snapshot()
	for _, i := range s.Interfaces {
		r.t.Logf("%+v", i)
	}
	for _, f := range s.Findings {
		r.t.Logf("%v", f)
	}
	r.t.Fatalf("waited %v in vain until %s", limit, what)
	return s
}

func (r *running) awaitState(name string, want monitor.State, limit time.Duration) monitor.Interface {
	r.t.Helper()
	return r.await(name+" is "+string(want), limit, func(s monitor.Snapshot) bool { return s.Interface(name).State == want }).Interface(name)
}

func (r *running) awaitFinding(on string, code monitor.FindingCode, limit time.Duration) monitor.Finding {
	r.t.Helper()
	var found monitor.Finding
	r.await("there is a finding "+string(code)+" on "+on, limit, func(s monitor.Snapshot) bool {
		i := slices.IndexFunc(s.Findings, func(f monitor.Finding) bool { return f.Interface == on && f.Code == code })
		if i >= 0 {
			found = s.Findings[i]
		}
		return i >= 0
	})
	return found
}

// quick is a timing for tests that wait for repairs.
var quick = monitor.Timing{Interval: 100 * time.Millisecond, Fault: 600 * time.Millisecond, Repair: time.Second, LinkRepair: 500 * time.Millisecond}
