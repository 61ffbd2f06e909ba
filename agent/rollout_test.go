package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// A testProber says what its filer reaches.
type testProber struct {
	mu   sync.Mutex
	fail error
}

func (p *testProber) set(err error) { p.mu.Lock(); p.fail = err; p.mu.Unlock() }
func (p *testProber) get() error    { p.mu.Lock(); defer p.mu.Unlock(); return p.fail }

func (p *testProber) Peer(context.Context, netip.Addr, netip.AddrPort) error { return p.get() }
func (p *testProber) Gateway(context.Context, string, netip.Addr) error      { return p.get() }

// formWithProbers is form with links for a bond, and a prober for each filer.
func formWithProbers(t *testing.T) ([]*testFiler, map[string]*testProber) {
	t.Helper()
	probers := map[string]*testProber{}
	fs := formOf(t, func(f *testFiler) {
		p := &testProber{}
		probers[f.name], f.cfg.Prober = p, p
	})
	for _, f := range fs {
		f.kernel.AddPhysical("eth1", 1500, false)
	}
	hostOf(t, fs)
	return fs, probers
}

func moveTo(network string) string {
	text := ""
	for i := range 3 {
		text += fmt.Sprintf("---\nkind: Filer\nname: f%d\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [%s.%d/24]}]}\n", i+1, network, i+1)
	}
	return text
}

const bondAll = `
kind: FilerGroup
name: main
spec:
  interfaces: [{name: bond0, members: [eth0, eth1], bond: {mode: active-backup}}, {name: data0, parent: bond0}]
---
kind: Filer
name: f1
spec: {group: main, interfaces: [{name: mgmt0, parent: bond0, addresses: [10.1.1.1/24]}]}
---
kind: Filer
name: f2
spec: {group: main, interfaces: [{name: mgmt0, parent: bond0, addresses: [10.1.1.2/24]}]}
---
kind: Filer
name: f3
spec: {group: main, interfaces: [{name: mgmt0, parent: bond0, addresses: [10.1.1.3/24]}]}
`

// put applies documents through one filer.
func (f *testFiler) put(text string, o api.RolloutOptions, wait api.Wait) (api.ApplyResult, error) {
	f.t.Helper()
	r := api.ApplyRequest{Wait: wait, Rollout: o}
	for _, d := range parse(f.t, text) {
		r.Puts = append(r.Puts, api.Put{Document: d})
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 40*time.Second)
	defer cancel()
	return f.client.Apply(ctx, r)
}

func parentOf(f *testFiler, link string) string {
	o, err := f.kernel.Observe(context.Background())
	if err != nil {
		return err.Error()
	}
	for _, l := range o.Links {
		if l.Name == link {
			return l.Parent
		}
	}
	return ""
}

func phase(t *testing.T, f *testFiler, want netquorum.RolloutPhase) api.Rollout {
	t.Helper()
	var r api.Rollout
	eventually(t, "the rollout is "+string(want), func(ctx context.Context) (err error) {
		if r, err = f.client.Rollout(ctx); err == nil && r.Phase != want {
			err = fmt.Errorf("it is %s: %+v", r.Phase, r)
		}
		return err
	})
	return r
}

func TestAMovedManagementNetworkIsRolledOut(t *testing.T) {
	fs, _ := formWithProbers(t)
	r, err := fs[1].put(moveTo("10.9.9"), api.RolloutOptions{}, api.WaitApplied)
	if err != nil || r.Rollout != "rollout-1" {
		t.Fatalf("apply: %+v, %v", r, err)
	}
	for i, f := range fs {
		if has(f.kernel, fmt.Sprintf("10.1.1.%d/24", i+1)) || !has(f.kernel, fmt.Sprintf("10.9.9.%d/24", i+1)) {
			t.Errorf("%s after the rollout:\n%s", f.name, f.kernel)
		}
	}
	if got := phase(t, fs[2], netquorum.RolloutDone); got.Open || len(got.Steps) != 3 {
		t.Errorf("the rollout: %+v", got)
	}
	// The next one takes its place.
	if r, err := fs[0].put(moveTo("10.8.8"), api.RolloutOptions{}, api.WaitApplied); err != nil || r.Rollout != "rollout-2" {
		t.Fatalf("the second: %+v, %v", r, err)
	}
}

func TestABondUnderEverythingGoesFilerByFiler(t *testing.T) {
	fs, _ := formWithProbers(t)
	host := hostOf(t, fs)
	if _, err := fs[0].put(bondAll, api.RolloutOptions{}, api.WaitApplied); err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		if parentOf(f, "mgmt0") != "bond0" {
			t.Errorf("%s has mgmt0 on %q", f.name, parentOf(f, "mgmt0"))
		}
	}
	if now := hostOf(t, fs); now != host {
		t.Errorf("web is on %s after the rollout, it was on %s", now.name, host.name)
	}
}

func TestAFilerThatIsOutOfReachGoesBackAndTheRolloutStops(t *testing.T) {
	fs, probers := formWithProbers(t)
	leader := fs[0].status().Leader
	order := []string{}
	for _, f := range fs {
		if f.name != leader {
			order = append(order, f.name)
		}
	}
	bad := order[1]
	probers[bad].set(errors.New("the switch is wrong"))
	r, err := fs[0].put(bondAll, api.RolloutOptions{Timeout: api.Duration(2 * time.Second)}, api.WaitApplied)
	if !errors.Is(err, api.ErrRollout) || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "the switch is wrong") {
		t.Fatalf("apply: %+v, %v", r, err)
	}
	for _, f := range fs {
		want := "eth0"
		if f.name == order[0] {
			want = "bond0"
		}
		eventually(t, f.name+" has mgmt0 on "+want, func(context.Context) error {
			if got := parentOf(f, "mgmt0"); got != want {
				return fmt.Errorf("it is on %q", got)
			}
			return nil
		})
	}
	// What the rollout holds is not for others, and no other may be begun.
	if _, err := fs[1].put("kind: Filer\nname: f1\nspec: {group: main}\n", api.RolloutOptions{}, ""); !errors.Is(err, api.ErrRolloutOpen) || !strings.Contains(err.Error(), "rollout-1") {
		t.Errorf("a change of its document: %v", err)
	}
	if _, err := fs[1].put("kind: VirtualServer\nname: more\nspec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.8/24}]}\n", api.RolloutOptions{}, ""); err != nil {
		t.Errorf("a change beside it: %v", err)
	}
	if _, err := fs[1].client.SteerRollout(t.Context(), api.RolloutRequest{Action: api.RolloutConfirm}); !errors.Is(err, api.ErrRefused) {
		t.Errorf("confirming what waits for nobody: %v", err)
	}
	probers[bad].set(nil)
	if _, err := fs[1].client.SteerRollout(t.Context(), api.RolloutRequest{Action: api.RolloutResume}); err != nil {
		t.Fatal(err)
	}
	phase(t, fs[2], netquorum.RolloutDone)
	for _, f := range fs {
		if parentOf(f, "mgmt0") != "bond0" {
			t.Errorf("%s has mgmt0 on %q", f.name, parentOf(f, "mgmt0"))
		}
	}
}

func TestAnUnconfirmedChangeIsTakenBackAlthoughTheLeaderDies(t *testing.T) {
	fs, _ := formWithProbers(t)
	r, err := fs[0].put(moveTo("10.9.9"), api.RolloutOptions{Confirm: api.Duration(3 * time.Second)}, api.WaitApplied)
	if err != nil {
		t.Fatal(err)
	}
	if got := phase(t, fs[0], netquorum.RolloutConfirm); got.Deadline == nil {
		t.Errorf("no deadline: %+v", got)
	}
	if _, err := fs[1].put("kind: VirtualServer\nname: more\nspec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.8/24}]}\n", api.RolloutOptions{}, ""); err != nil {
		t.Errorf("a change beside it: %v", err)
	}
	leader := fs[0].status().Leader
	rest := []*testFiler{}
	for _, f := range fs {
		if f.name == leader {
			f.stop()
			continue
		}
		rest = append(rest, f)
	}
	got := phase(t, rest[0], netquorum.RolloutReverting)
	if !strings.Contains(got.Failure, "nobody confirmed") {
		t.Errorf("the reason: %+v", got)
	}
	for _, f := range fs {
		if f.name == leader {
			f.powerOn()
		}
	}
	phase(t, rest[0], netquorum.RolloutReverted)
	for i, f := range fs {
		eventually(t, f.name+" is as it was", func(context.Context) error {
			if !has(f.kernel, fmt.Sprintf("10.1.1.%d/24", i+1)) || has(f.kernel, fmt.Sprintf("10.9.9.%d/24", i+1)) {
				return errors.New(f.kernel.String())
			}
			return nil
		})
	}
	if _, err := rest[0].client.Get(t.Context(), netquorum.KindVirtualServer, "more", api.Linearizable); err != nil {
		t.Errorf("what was changed since revision %d is gone: %v", r.Revision, err)
	}
}

func TestAConfirmedChangeStays(t *testing.T) {
	fs, _ := formWithProbers(t)
	if _, err := fs[0].put(moveTo("10.9.9"), api.RolloutOptions{Confirm: api.Duration(time.Minute)}, api.WaitApplied); err != nil {
		t.Fatal(err)
	}
	if !has(fs[0].kernel, "10.1.1.1/24") {
		t.Error("the earlier address went before anybody confirmed")
	}
	if _, err := fs[1].client.SteerRollout(t.Context(), api.RolloutRequest{Action: api.RolloutConfirm}); err != nil {
		t.Fatal(err)
	}
	phase(t, fs[0], netquorum.RolloutDone)
	eventually(t, "the earlier address goes", func(context.Context) error {
		if has(fs[0].kernel, "10.1.1.1/24") {
			return errors.New("it is there")
		}
		return nil
	})
}

func TestAChangeThatCouldStrandTheQuorumHasToBeForced(t *testing.T) {
	fs, _ := formWithProbers(t)
	away := fs[2]
	if s := fs[0].status(); s.Leader == away.name {
		away = fs[1]
	}
	away.stop()
	if _, err := fs[0].put(bondAll, api.RolloutOptions{}, ""); !errors.Is(err, api.ErrUnsafe) || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("with one of three away: %v", err)
	}
	torn := "kind: Filer\nname: f1\nspec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.7.7.1/24]}]}\n"
	if _, err := fs[0].put(torn, api.RolloutOptions{}, ""); err != nil {
		t.Errorf("one address may move while a filer is away: %v", err)
	}
	// The filer that is away knows the old addresses only: they stay until it
	// has been back.
	eventually(t, "the rollout waits for "+away.name, func(ctx context.Context) error {
		r, err := fs[0].client.Rollout(ctx)
		if err == nil && (r.Phase != netquorum.RolloutFilers || !strings.Contains(r.Waiting, away.name)) {
			err = fmt.Errorf("%s, waiting: %q", r.Phase, r.Waiting)
		}
		return err
	})
	if !has(fs[0].kernel, "10.1.1.1/24") || !has(fs[0].kernel, "10.7.7.1/24") {
		t.Errorf("f1 does not have both addresses:\n%s", fs[0].kernel)
	}
	away.powerOn()
	phase(t, fs[0], netquorum.RolloutDone)
}
