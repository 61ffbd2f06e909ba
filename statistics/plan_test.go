package statistics

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netquorum/netquorum"
)

// complete is a table that has all that is wanted.
func complete(want Counted) observed {
	have := observed{exists: true, chains: map[string]bool{}, sets: map[string]map[netip.Addr]claim{}}
	for _, l := range layout() {
		have.chains[l.chain.Name] = true
	}
	for _, s := range counterSets {
		have.sets[s.name()] = map[netip.Addr]claim{}
		for a, owner := range want {
			if a.Is4() == (s.family.suffix == "4") {
				have.sets[s.name()][a] = claim{owner, epoch}
			}
		}
	}
	return have
}

func TestPlanTouchesOnlyWhatDiffers(t *testing.T) {
	want := Counted{a4: vsvra, a6: vsvra, b4: vsvrb}
	if ch := plan(want, complete(want), epoch); !ch.none() {
		t.Errorf("nothing differs, but %+v is to be done", ch)
	}
	have := complete(want)
	delete(have.sets["udp4_in"], b4)
	ch := plan(want, have, epoch)
	if ch.table || len(ch.chains) > 0 || len(ch.sets) != 1 || len(ch.sets[0].remove) > 0 ||
		len(ch.sets[0].add) != 1 || ch.sets[0].add[0].address != b4 {
		t.Errorf("one counter is missing, but %+v is to be done", ch)
	}
	// Names of one server in other letters are the same server.
	if ch := plan(Counted{a4: {Kind: vsvra.Kind, Name: "VSVRA"}, a6: vsvra, b4: vsvrb}, complete(want), epoch); !ch.none() {
		t.Errorf("only the case of a name differs, but %+v is to be done", ch)
	}
	ch = plan(want, observed{}, epoch)
	if !ch.table || len(ch.sets) != len(counterSets) || len(ch.chains) != len(layout()) {
		t.Errorf("for an empty kernel: table %v, %d sets, %d chains", ch.table, len(ch.sets), len(ch.chains))
	}
}

func TestPlanBeginsAnewForANewOwner(t *testing.T) {
	ch := plan(Counted{a4: vsvrb}, complete(Counted{a4: vsvra}), epoch.Add(time.Hour))
	if len(ch.sets) != len(counterSets)/2 {
		t.Errorf("%d sets change, want those of IPv4", len(ch.sets))
	}
	for _, s := range ch.sets {
		if len(s.remove) != 1 || len(s.add) != 1 || s.add[0].claim != (claim{vsvrb, epoch.Add(time.Hour)}) {
			t.Errorf("%s: remove %v, add %v", s.set.name(), s.remove, s.add)
		}
	}
}

func TestClaimsAreReadAsWritten(t *testing.T) {
	for _, c := range []claim{{vsvra, epoch}, {Owner{Kind: netquorum.KindService, Name: "db-1"}, time.Unix(0, 0).UTC()}} {
		if got, ok := parseClaim(c.text()); !ok || got != c {
			t.Errorf("%q is read as %+v, %v", c.text(), got, ok)
		}
	}
	for _, text := range []string{"", "x", "VirtualServer/vsvra", "VirtualServer 5", "/vsvra 5", "VirtualServer/ 5", "VirtualServer/vsvra now"} {
		if c, ok := parseClaim(text); ok {
			t.Errorf("%q is taken for %+v", text, c)
		}
	}
}

// A fakeKernel counts how often it is looked at.
type fakeKernel struct {
	looks int
	delay time.Duration
	err   error
}

func (*fakeKernel) Ensure(Counted, time.Time) (bool, error) { return true, nil }

func (k *fakeKernel) Traffic() ([]AddressTraffic, error) {
	k.looks++
	return nil, k.err
}

func (k *fakeKernel) Sockets(ctx context.Context, _ Counted) (map[Owner]*Sockets, error) {
	select {
	case <-time.After(k.delay):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestManyWhoAskMakeOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{delay: 200 * time.Millisecond, err: errors.New("no nftables")}
		s := NewSampler(k, time.Now)
		if _, err := s.Sample(t.Context()); !errors.Is(err, errNotYet) {
			t.Errorf("before there is a configuration: %v", err)
		}
		if _, err := s.Follow(Counted{}); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			go s.Sample(t.Context())
		}
		time.Sleep(900 * time.Millisecond)
		got, err := s.Sample(t.Context())
		if err != nil || k.looks != 1 {
			t.Errorf("%d looks (%v), want 1", k.looks, err)
		}
		if got.TrafficErr == nil || got.SocketsErr != nil {
			t.Errorf("traffic: %v, sockets: %v; want only the traffic to be unknown", got.TrafficErr, got.SocketsErr)
		}
		time.Sleep(time.Second)
		k.delay = time.Hour
		began := time.Now()
		if got, err = s.Sample(t.Context()); err != nil || !errors.Is(got.SocketsErr, context.DeadlineExceeded) {
			t.Errorf("with a kernel that takes an hour: %v, %v", got.SocketsErr, err)
		}
		if took := time.Since(began); took > patience || k.looks != 2 {
			t.Errorf("the second look took %v, want at most %v; %d looks", took, patience, k.looks)
		}
	})
}
