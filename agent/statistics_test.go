package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/statistics"
)

const statisticsConfig = `
kind: Cluster
name: lab
spec: {mac: "02:00:00:00:00:01"}
---
kind: FilerGroup
name: g
spec: {}
---
kind: Filer
name: filer1
spec:
  group: g
  interfaces: [{name: eth0}, {name: data0, parent: eth0}, {name: mgmt0, parent: eth0, addresses: [192.0.2.1/24]}]
---
kind: Filer
name: filer2
spec:
  group: g
  interfaces: [{name: eth0}, {name: data0, parent: eth0}, {name: mgmt0, parent: eth0, addresses: [192.0.2.2/24]}]
---
kind: VirtualServer
name: vsvra
spec: {group: g, addresses: [{alias: data0, instance: 0, prefix: 10.1.0.1/24}]}
---
kind: VirtualServer
name: vsvrb
spec: {group: g, addresses: [{alias: data0, instance: 0, prefix: 10.1.0.2/24}]}
`

func statisticsTestConfig(t *testing.T) netquorum.Config {
	t.Helper()
	docs, err := netquorum.ParseDocuments("statistics", []byte(statisticsConfig))
	if err != nil {
		t.Fatal(err)
	}
	c, problems := netquorum.Config{}.Change(docs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

// A countingKernel has counted 5 packets for vsvra.
type countingKernel struct {
	ensured atomic.Int64
	err     error
}

func (k *countingKernel) Ensure(statistics.Counted, time.Time) (bool, error) {
	k.ensured.Add(1)
	return true, k.err
}

func (k *countingKernel) Traffic() ([]statistics.AddressTraffic, error) {
	five := statistics.Flow{In: statistics.Count{Packets: 5, Bytes: 500}}
	return []statistics.AddressTraffic{{
		Address: netip.MustParseAddr("10.1.0.1"), Owner: netquorum.Key{Kind: netquorum.KindVirtualServer, Name: "vsvra"},
		Flows: map[statistics.Meter]statistics.Flow{statistics.IP: five},
	}}, k.err
}

func (k *countingKernel) Sockets(context.Context, statistics.Counted) (map[statistics.Owner]*statistics.Sockets, error) {
	return nil, k.err
}

func TestOnlyWhatWasHereIsInTheStatistics(t *testing.T) {
	c := statisticsTestConfig(t)
	f := newFollower(nil, time.Now, slog.New(slog.DiscardHandler))
	f.hosting = []string{"vsvrb"}
	k := &countingKernel{}
	tr := newTraffic(Config{Traffic: k, Now: time.Now, Log: f.log}, f)
	if _, err := tr.sampler.Follow(statistics.CountedOf(c)); err != nil {
		t.Fatal(err)
	}
	got := tr.local(t.Context(), c, "filer1", "")
	a, b := got["VirtualServer/vsvra"], got["VirtualServer/vsvrb"]
	if a.Hosts || a.Traffic == nil || a.Traffic.IP.In.Packets != 5 || len(a.Addresses) != 1 || a.Sockets != nil {
		t.Errorf("a server that was here: %+v", a)
	}
	if !b.Hosts || b.Traffic == nil || b.Traffic.IP != (api.Flow{}) || b.Sockets == nil {
		t.Errorf("a server that is here and has done nothing: %+v", b)
	}
	f.hosting = nil
	if got = tr.local(t.Context(), c, "filer1", ""); len(got) != 1 {
		t.Errorf("nothing is hosted: %+v, want only the server that was here", got)
	}
	if got = tr.local(t.Context(), c, "filer1", "VSVRB"); len(got) != 0 {
		t.Errorf("one that never was here: %+v", got)
	}
}

func TestWhatIsUnknownIsNotZero(t *testing.T) {
	c := statisticsTestConfig(t)
	f := newFollower(nil, time.Now, slog.New(slog.DiscardHandler))
	f.hosting = []string{"vsvra"}
	tr := newTraffic(Config{Traffic: &countingKernel{err: errors.New("the kernel has no nftables")}, Now: time.Now, Log: f.log}, f)
	_, _ = tr.sampler.Follow(statistics.CountedOf(c))
	own := tr.local(t.Context(), c, "filer1", "vsvra")
	st := gatherStatistics(c, "vsvra", map[string]localStatistics{"filer1": own}, map[string]error{"filer2": api.ErrUnreachable})
	if len(st.Servers) != 1 || len(st.Servers[0].Filers) != 2 {
		t.Fatalf("got %+v", st)
	}
	here, there := st.Servers[0].Filers[0], st.Servers[0].Filers[1]
	if here.Traffic != nil || here.Unknown != "the kernel has no nftables" || here.SocketsUnknown == "" || here.Sockets != nil {
		t.Errorf("of a kernel that cannot count: %+v", here)
	}
	if there.Traffic != nil || !strings.Contains(there.Unknown, "filer2 does not answer") {
		t.Errorf("of a filer that does not answer: %+v", there)
	}
	if sum := tr.summary(t.Context(), c, "filer1"); len(sum) != 0 {
		t.Errorf("status shows %+v", sum)
	}
}

func TestCountersFollowTheConfigurationOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := statisticsTestConfig(t)
		f := newFollower(nil, time.Now, slog.New(slog.DiscardHandler))
		var newest atomic.Uint64
		newest.Store(7)
		f.goal = func() (goal, bool) {
			return goal{config: c, filer: "filer1", network: netquorum.Revision(newest.Load())}, true
		}
		k := &countingKernel{}
		tr := newTraffic(Config{Traffic: k, Now: time.Now, Log: f.log}, f)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tr.Run(ctx) }()
		pass := func(network netquorum.Revision) {
			newest.Store(uint64(network))
			f.mu.Lock()
			close(f.passed)
			f.passed = make(chan struct{})
			f.mu.Unlock()
			synctest.Wait()
		}
		synctest.Wait()
		for range 10 {
			pass(7) // leases come and go, servers move
		}
		if k.ensured.Load() != 1 {
			t.Errorf("the counters were looked at %d times for one configuration, want once", k.ensured.Load())
		}
		pass(8)
		if k.ensured.Load() != 2 {
			t.Errorf("a new configuration was followed %d times, want once", k.ensured.Load()-1)
		}
		time.Sleep(checkTraffic + time.Second)
		synctest.Wait()
		if k.ensured.Load() != 3 {
			t.Errorf("without any reason the counters were looked at %d times in %v, want once", k.ensured.Load()-2, checkTraffic)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestElsewhereSaysWhere(t *testing.T) {
	for host, want := range map[string]string{
		"":       "vsvra is on no filer now",
		"filer2": "vsvra is on filer2, not on this filer (filer1)",
		"filer1": "not here yet",
	} {
		err := elsewhere("vsvra", "filer1", host)
		if !errors.Is(err, api.ErrElsewhere) || !strings.Contains(err.Error(), want) {
			t.Errorf("on %q: %v, want %q", host, err, want)
		}
	}
	if _, err := findServer(statisticsTestConfig(t), "nobody"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("a server that does not exist: %v", err)
	}
}
