package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/netapply"
	"github.com/netquorum/netquorum/netapply/fakekernel"
)

// A testFiler is one agent in this process: real store, transport and sockets
// on the loopback, and a kernel in memory that outlives the daemon.
type testFiler struct {
	t      *testing.T
	name   string
	cfg    Config
	kernel *fakekernel.Kernel
	client *api.Client
	stop   func()
}

func newTestFiler(t *testing.T, name string, with ...func(*testFiler)) *testFiler {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	// A socket's path has 107 bytes at most, fewer than some test names.
	sockets, err := os.MkdirTemp("", "nq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	f := &testFiler{t: t, name: name, cfg: Config{
		DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(sockets, name), Listen: address, Advertise: []string{address},
		// Slow enough for a busy machine under the race detector.
		Heartbeat: 400 * time.Millisecond, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: testLevel()})),
		Version: "test", Features: []netapply.Feature{{Name: netapply.FeatureMacvlan, Present: true}, {Name: netapply.FeatureVRF, Detail: "not in this kernel"}},
	}}
	for _, set := range with {
		set(f)
	}
	f.client = api.NewClient(f.cfg.Socket)
	t.Cleanup(f.client.Close)
	f.powerOn()
	return f
}

// powerOn starts the filer with a kernel that knows nothing.
func (f *testFiler) powerOn() {
	f.kernel = fakekernel.New("eth0")
	f.cfg.Kernel = f.kernel
	f.start()
}

// start starts the daemon.
func (f *testFiler) start() {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, f.cfg) }()
	stopped := false
	f.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("%s ended with: %v", f.name, err)
		}
	}
	f.t.Cleanup(func() { f.stop() })
	eventually(f.t, f.name+" answers on its socket", func(ctx context.Context) error {
		_, err := f.client.Version(ctx)
		return err
	})
}

func (f *testFiler) status() api.Status {
	f.t.Helper()
	s, err := f.client.Status(f.t.Context())
	if err != nil {
		f.t.Fatalf("status of %s: %v", f.name, err)
	}
	return s
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %v", what, err)
		case <-ticker.C:
		}
	}
}

func parse(t *testing.T, yaml string) []netquorum.Document {
	t.Helper()
	docs, err := netquorum.ParseDocuments("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

const testCluster = `
kind: Cluster
name: test
spec: {mac: "00:07:34:04:12:0e"}
---
kind: FilerGroup
name: main
spec:
  interfaces: [{name: data0, parent: eth0}]
---
kind: Filer
name: f1
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.1/24]}]}
---
kind: Filer
name: f2
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.2/24]}]}
---
kind: Filer
name: f3
spec: {group: main, interfaces: [{name: mgmt0, parent: eth0, addresses: [10.1.1.3/24]}]}
---
kind: VirtualServer
name: web
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}
`

// form makes a cluster of f1, f2 and f3.
func form(t *testing.T) []*testFiler { t.Helper(); return formOf(t) }

func formOf(t *testing.T, with ...func(*testFiler)) []*testFiler {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fs := []*testFiler{newTestFiler(t, "f1", with...), newTestFiler(t, "f2", with...), newTestFiler(t, "f3", with...)}
	if _, err := fs[0].client.Init(ctx, api.InitRequest{Filer: "f1", Documents: parse(t, testCluster)}); err != nil {
		t.Fatalf("init: %v", err)
	}
	for _, f := range fs[1:] {
		token, err := fs[0].client.CreateToken(ctx, api.TokenRequest{Filer: f.name})
		if err != nil {
			t.Fatalf("token for %s: %v", f.name, err)
		}
		if _, err := f.client.Join(ctx, api.JoinRequest{Filer: f.name, Token: token.Token, Peer: fs[0].cfg.Listen}); err != nil {
			t.Fatalf("join of %s: %v", f.name, err)
		}
	}
	return fs
}

// hostOf waits until exactly one filer's kernel has web's address, and returns
// that filer.
func hostOf(t *testing.T, fs []*testFiler) *testFiler {
	t.Helper()
	var host *testFiler
	eventually(t, "one filer has web's address", func(context.Context) error {
		hosts := []string{}
		for _, f := range fs {
			if has(f.kernel, "10.2.2.1/24") {
				host, hosts = f, append(hosts, f.name)
			}
		}
		if len(hosts) != 1 {
			return fmt.Errorf("it is on %v", hosts)
		}
		return nil
	})
	return host
}

func has(k *fakekernel.Kernel, prefix string) bool {
	o, err := k.Observe(context.Background())
	if err != nil {
		return false
	}
	for _, a := range o.Addresses {
		if a.Prefix.String() == prefix {
			return true
		}
	}
	return false
}

func TestThreeFilersHoldOneConfigurationAndTheirKernelsFollow(t *testing.T) {
	fs := form(t)
	ctx := t.Context()
	for i, f := range fs {
		eventually(t, f.name+" has its mgmt address", func(context.Context) error {
			if !has(f.kernel, fmt.Sprintf("10.1.1.%d/24", i+1)) {
				return errors.New(f.kernel.String())
			}
			return nil
		})
	}
	host := hostOf(t, fs)

	// A change through a filer that does not lead, and everybody follows.
	docs := parse(t, `
kind: VirtualServer
name: web
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}, {alias: data0, instance: 1, prefix: 10.2.3.1/24}]}`)
	follower := fs[0]
	if s := follower.status(); s.Leader == follower.name {
		follower = fs[1]
	}
	r, err := follower.client.Apply(ctx, api.ApplyRequest{Puts: []api.Put{{Document: docs[0]}}, Wait: api.WaitApplied})
	if err != nil {
		t.Fatalf("apply on %s: %v", follower.name, err)
	}
	if !has(host.kernel, "10.2.3.1/24") {
		t.Errorf("apply --wait applied returned, and %s lacks the new address:\n%s", host.name, host.kernel)
	}

	s := fs[2].status()
	hashes := map[string]bool{}
	for _, f := range s.Filers {
		hashes[f.StateHash] = true
		if f.Applied < r.Revision {
			t.Errorf("%s follows revision %d, want %d", f.Name, f.Applied, r.Revision)
		}
	}
	if len(hashes) != 1 {
		t.Errorf("the filers have different states at one revision: %+v", s.Filers)
	}

	// Applying the same again writes nothing anywhere.
	before := host.kernel.Writes()
	again, err := follower.client.Apply(ctx, api.ApplyRequest{Puts: []api.Put{{Document: docs[0]}}, Wait: api.WaitApplied})
	if err != nil || again.Changed != 0 {
		t.Fatalf("applying again: %d changed, %v", again.Changed, err)
	}
	if n := host.kernel.Writes() - before; n != 0 {
		t.Errorf("applying again wrote to the kernel %d times", n)
	}
}

func TestADeadFilersServerMovesAndIsGoneWhenItComesBack(t *testing.T) {
	fs := form(t)
	host := hostOf(t, fs)
	host.stop()
	rest := []*testFiler{}
	for _, f := range fs {
		if f != host {
			rest = append(rest, f)
		}
	}
	next := hostOf(t, rest)
	host.powerOn()
	eventually(t, host.name+" follows again", func(context.Context) error {
		for _, f := range host.status().Filers {
			if f.Name == host.name && f.Lease != nil && f.Lease.Held && f.Applied == f.Committed && f.Applied > 0 {
				return nil
			}
		}
		return errors.New("it does not")
	})
	if has(host.kernel, "10.2.2.1/24") {
		t.Errorf("%s took web back while it is hosted by %s", host.name, next.name)
	}
}

func TestARestartedDaemonDoesNotDisturbWhatItHosts(t *testing.T) {
	fs := form(t)
	host := hostOf(t, fs)
	writes := host.kernel.Writes()
	host.stop()
	host.start()
	eventually(t, "the restarted daemon holds a lease", func(context.Context) error {
		for _, f := range host.status().Filers {
			if f.Name == host.name && f.Lease != nil && f.Lease.Held {
				return nil
			}
		}
		return errors.New("it does not")
	})
	if !has(host.kernel, "10.2.2.1/24") {
		t.Errorf("%s lost web's address by a restart of its daemon", host.name)
	}
	if n := host.kernel.Writes() - writes; n != 0 {
		t.Errorf("the restart wrote to the kernel %d times", n)
	}
}

func TestPowerCycleOfAllFilersBootsFromTheCache(t *testing.T) {
	fs := form(t)
	hostOf(t, fs)
	for _, f := range fs {
		f.stop()
	}
	// One alone: no quorum, and yet its network is there.
	fs[0].powerOn()
	eventually(t, "f1 is configured without the others", func(context.Context) error {
		if !has(fs[0].kernel, "10.1.1.1/24") {
			return errors.New("it has no mgmt address")
		}
		return nil
	})
	if s := fs[0].status(); s.Quorum || s.State != api.StateBooting && s.State != api.StateRunning {
		t.Errorf("status of a lone filer: %+v", s)
	}
	if has(fs[0].kernel, "10.2.2.1/24") {
		t.Error("a filer without a quorum hosts a virtual server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	_, err := fs[0].client.Apply(ctx, api.ApplyRequest{Deletes: []api.Delete{{Kind: netquorum.KindVirtualServer, Name: "web"}}})
	cancel()
	if got := api.ExitCode(err); got != api.ExitUnreachable {
		t.Errorf("a write without a quorum: exit code %d (%v), want %d", got, err, api.ExitUnreachable)
	}
	fs[1].powerOn()
	fs[2].powerOn()
	hostOf(t, fs)
}

func TestATokenIsGoodForOneFilerOnly(t *testing.T) {
	f1 := newTestFiler(t, "f1")
	ctx := t.Context()
	if _, err := f1.client.Init(ctx, api.InitRequest{Filer: "f1", Documents: parse(t, testCluster)}); err != nil {
		t.Fatal(err)
	}
	token, err := f1.client.CreateToken(ctx, api.TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	f2, f3 := newTestFiler(t, "f2"), newTestFiler(t, "f3")
	join := func(f *testFiler, name, token string) error {
		_, err := f.client.Join(ctx, api.JoinRequest{Filer: name, Token: token, Peer: f1.cfg.Listen})
		return err
	}
	if err := join(f2, "F1", token.Token); !errors.Is(err, api.ErrExists) {
		t.Errorf("a join under a taken name: %v, want %v", err, api.ErrExists)
	}
	if err := join(f2, "f2", token.Token); err != nil {
		t.Fatalf("join of f2: %v", err)
	}
	if err := join(f3, "f3", token.Token); !errors.Is(err, api.ErrToken) {
		t.Errorf("a second join with one token: %v, want %v", err, api.ErrToken)
	}
	if err := join(f3, "f3", strings.Replace(token.Token, "nqt-", "nqt-a", 1)); err == nil {
		t.Error("a token that nobody made let a filer in")
	}
	if err := join(f2, "f2", token.Token); !errors.Is(err, api.ErrConfigured) {
		t.Errorf("a join of a filer that is in a cluster: %v, want %v", err, api.ErrConfigured)
	}
}

func TestAFilerThatLostItsLogIsNotLetBackUnderItsOldId(t *testing.T) {
	fs := form(t)
	hostOf(t, fs)
	old := fs[2].status()
	fs[2].stop()
	if err := os.Rename(filepath.Join(fs[2].cfg.DataDir, "store"), filepath.Join(fs[2].cfg.DataDir, "lost")); err != nil {
		t.Fatal(err)
	}
	fs[2].start()
	eventually(t, "the filer says what to do", func(context.Context) error {
		if s := fs[2].status(); s.State != api.StateUnconfigured || !strings.Contains(s.Message, "netquorum token create --filer f3") {
			return fmt.Errorf("it is %s: %q", s.State, s.Message)
		}
		return nil
	})
	if !has(fs[2].kernel, "10.1.1.3/24") {
		t.Error("a filer without its log lost its mgmt address")
	}
	token, err := fs[0].client.CreateToken(t.Context(), api.TokenRequest{Filer: "f3"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := fs[2].client.Join(t.Context(), api.JoinRequest{Filer: "f3", Token: token.Token, Peer: fs[0].cfg.Listen})
	if err != nil {
		t.Fatalf("joining again: %v", err)
	}
	for _, f := range old.Filers {
		if f.Name == "f3" && f.ID == r.ID {
			t.Error("it came back under its old id")
		}
	}
}

func TestAConfigurationThatAKernelCannotHaveIsRefusedBeforeItIsCommitted(t *testing.T) {
	f1 := newTestFiler(t, "f1")
	ctx := t.Context()
	if _, err := f1.client.Init(ctx, api.InitRequest{Filer: "f1", Documents: parse(t, testCluster)}); err != nil {
		t.Fatal(err)
	}
	before := f1.status().Commit
	docs := parse(t, `
kind: Routes
name: out
spec: {vrf: true, routes: [{to: default, via: 10.2.2.254}]}
---
kind: VirtualServer
name: web
spec: {group: main, routes: out, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.1/24}]}`)
	_, err := f1.client.Apply(ctx, api.ApplyRequest{Puts: []api.Put{{Document: docs[0]}, {Document: docs[1]}}})
	if !errors.Is(err, api.ErrUnsupported) || !strings.Contains(err.Error(), "vrf") || !strings.Contains(err.Error(), "f1") {
		t.Errorf("a VRF on a kernel without it: %v", err)
	}
	if after := f1.status().Commit; after < before || f1.hasRoutes() {
		t.Errorf("the refused documents are in the configuration")
	}
}

func (f *testFiler) hasRoutes() bool {
	_, err := f.client.Get(f.t.Context(), netquorum.KindRoutes, "out", api.Linearizable)
	return err == nil
}

func TestDryRunShowsWhatEachFilerWouldDo(t *testing.T) {
	fs := form(t)
	host := hostOf(t, fs)
	docs := parse(t, `
kind: VirtualServer
name: web
spec: {group: main, addresses: [{alias: data0, instance: 0, prefix: 10.2.2.9/24}]}`)
	r, err := fs[1].client.Apply(t.Context(), api.ApplyRequest{Puts: []api.Put{{Document: docs[0]}}, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, plan := range r.Plans {
		text := strings.Join(plan.Steps, "\n")
		if adds := strings.Contains(text, "ip addr add 10.2.2.9/24"); adds != (name == host.name) {
			t.Errorf("the plan of %s (the host is %s):\n%s%s", name, host.name, text, plan.Unknown)
		}
		lasting := slices.ContainsFunc(plan.Impacts, func(i api.Impact) bool { return i.Lasting && len(i.Servers) == 1 && i.Servers[0].Name == "web" })
		if lasting != (name == host.name) {
			t.Errorf("%s says of the address that goes (the host is %s): %+v", name, host.name, plan.Impacts)
		}
	}
	if len(r.Plans) != 3 || len(r.Changes) != 1 {
		t.Errorf("%d plans and %d changes, want 3 and 1", len(r.Plans), len(r.Changes))
	}
	if has(host.kernel, "10.2.2.9/24") {
		t.Error("a dry run changed the kernel")
	}
	// Without a transaction: what is to be done now.
	r, err = fs[1].client.Apply(t.Context(), api.ApplyRequest{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, plan := range r.Plans {
		if len(plan.Steps) > 0 || plan.Unknown != "" {
			t.Errorf("%s would do %q, %s", name, plan.Steps, plan.Unknown)
		}
	}
	if len(r.Plans) != 3 || len(r.Changes) != 0 {
		t.Errorf("%d plans and %d changes without a transaction, want 3 and 0", len(r.Plans), len(r.Changes))
	}
}

func TestAFilerThatWasReplacedHostsNothingAndKeepsItsInterfaces(t *testing.T) {
	fs := form(t)
	old := hostOf(t, fs)
	token, err := fs[0].client.CreateToken(t.Context(), api.TokenRequest{Filer: old.name})
	if err != nil {
		t.Fatal(err)
	}
	next := newTestFiler(t, old.name)
	peer := fs[0]
	if peer == old {
		peer = fs[1]
	}
	if _, err := next.client.Join(t.Context(), api.JoinRequest{Filer: old.name, Token: token.Token, Peer: peer.cfg.Listen}); err != nil {
		t.Fatalf("the replacement's join: %v", err)
	}
	eventually(t, "the replaced filer is in no cluster and hosts nothing", func(context.Context) error {
		if s := old.status(); s.State != api.StateUnconfigured || has(old.kernel, "10.2.2.1/24") {
			return fmt.Errorf("it is %s:\n%s", s.State, old.kernel)
		}
		return nil
	})
	if mgmt := "10.1.1." + strings.TrimPrefix(old.name, "f") + "/24"; !has(old.kernel, mgmt) {
		t.Errorf("the replaced filer lost its address %s, by which it could be joined again", mgmt)
	}
	rest := []*testFiler{next}
	for _, f := range fs {
		if f != old {
			rest = append(rest, f)
		}
	}
	hostOf(t, rest)
}

// testLevel is how much the agents of these tests say.
func testLevel() slog.Level {
	if testing.Verbose() {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
