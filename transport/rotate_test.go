package transport_test

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// A keyed filer is one whose keyring changes under its endpoint.
type keyed struct {
	*transport.Endpoint
	dir  string
	ring atomic.Pointer[transport.Keyring]
}

func (k *keyed) step(t *testing.T, f func(*transport.Keyring, string) (*transport.Keyring, error)) {
	t.Helper()
	next, err := f(k.ring.Load(), k.dir)
	if err != nil {
		t.Fatal(err)
	}
	k.ring.Store(next)
	loaded, err := transport.LoadKeyring(k.dir)
	if err != nil {
		t.Fatalf("what is on disk: %v", err)
	}
	if loaded.Identity.Issuer() != next.Identity.Issuer() || loaded.Current.Fingerprint() != next.Current.Fingerprint() || (loaded.Next == nil) != (next.Next == nil) {
		t.Error("what is on disk is not what is in force")
	}
	k.Renew()
}

type book map[netquorum.FilerID][]string

func (b book) Endpoints(id netquorum.FilerID) []string { return b[id] }

func newKeyed(t *testing.T, a *transport.Authority, id netquorum.FilerID, at book) *keyed {
	t.Helper()
	identity, err := a.Issue(id, string(id))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := transport.NewKeyring(a, nil, identity)
	if err != nil {
		t.Fatal(err)
	}
	k := &keyed{dir: t.TempDir()}
	if err := ring.Save(k.dir); err != nil {
		t.Fatal(err)
	}
	k.ring.Store(ring)
	k.Endpoint, err = transport.Listen(transport.Config{Listen: "127.0.0.1:0", Resolver: at, Identity: func() *transport.Identity { return k.ring.Load().Identity }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	at[id] = []string{k.Addr().String()}
	return k
}

// carriedSince waits until every path of the filer's link to the other works by a
// carrier made after the instant, and by no other.
func carriedSince(t *testing.T, k *keyed, at time.Time) {
	t.Helper()
	transporttest.Eventually(t, "the carriers are replaced", func() bool {
		for _, l := range k.Links() {
			for _, p := range l.Paths {
				if p.State != string(link.Up) || !p.Since.After(at) {
					return false
				}
			}
			if len(l.Paths) == 0 || len(l.Carriers) != len(l.Paths) {
				return false
			}
		}
		return len(k.Links()) > 0
	})
}

// The authority is changed, and a certificate renewed, under a stream that goes
// on all the while; each carrier is replaced, and who kept to the old authority
// is not talked to any more.
func TestAStreamOutlivesTheAuthority(t *testing.T) {
	a, err := transport.NewAuthority("acme")
	if err != nil {
		t.Fatal(err)
	}
	at := book{}
	one, two, late := newKeyed(t, a, "filer-1", at), newKeyed(t, a, "filer-2", at), newKeyed(t, a, "filer-3", at)
	const service = transport.Service("echo/1")
	accepts := two.Service(service)
	go func() {
		for {
			c, err := accepts.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	ctx := within(t, 30*time.Second)
	stream, err := one.Open(ctx, "filer-2", service, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	said := 0
	echo := func(when string) {
		t.Helper()
		said++
		_ = stream.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := stream.Write([]byte{byte(said)}); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		var got [1]byte
		if _, err := io.ReadFull(stream, got[:]); err != nil || got[0] != byte(said) {
			t.Fatalf("%s: read %v, %v", when, got, err)
		}
	}
	echo("before")

	start := time.Now()
	one.step(t, (*transport.Keyring).Renew)
	echo("with a renewed certificate")
	carriedSince(t, one, start)
	echo("over carriers of the renewed certificate")

	next, err := a.Successor()
	if err != nil {
		t.Fatal(err)
	}
	if next.ClusterID != a.ClusterID || next.Fingerprint() == a.Fingerprint() {
		t.Errorf("the successor of %s in %s is %s in %s", a.Fingerprint(), a.ClusterID, next.Fingerprint(), next.ClusterID)
	}
	trust := func(k *transport.Keyring, dir string) (*transport.Keyring, error) { return k.Trust(dir, next) }
	one.step(t, trust)
	two.step(t, trust)
	echo("both trust both")
	one.step(t, (*transport.Keyring).Use)
	echo("one uses the next")
	start = time.Now()
	two.step(t, (*transport.Keyring).Use)
	echo("both use the next")
	carriedSince(t, one, start)
	for _, k := range []*keyed{one, two} {
		k.step(t, (*transport.Keyring).Retire)
		k.Recheck()
	}
	echo("the old one is retired")

	if _, err := late.Open(within(t, 5*time.Second), "filer-2", service, link.Control); err == nil {
		t.Error("who kept to the old authority is still talked to")
	}
	if _, err := one.Open(within(t, 5*time.Second), "filer-3", service, link.Control); err == nil {
		t.Error("who kept to the old authority is still called")
	}
}

// Who trusts an authority no longer cuts what rests on it, at once.
func TestAnAuthorityThatIsNotTrustedCarriesNothing(t *testing.T) {
	a, err := transport.NewAuthority("acme")
	if err != nil {
		t.Fatal(err)
	}
	at := book{}
	one, two := newKeyed(t, a, "filer-1", at), newKeyed(t, a, "filer-2", at)
	two.Service("echo/1")
	stream, err := one.Open(within(t, 10*time.Second), "filer-2", "echo/1", link.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	next, err := a.Successor()
	if err != nil {
		t.Fatal(err)
	}
	// Filer 2 goes through the whole change by itself.
	for _, step := range []func(*transport.Keyring, string) (*transport.Keyring, error){
		func(k *transport.Keyring, dir string) (*transport.Keyring, error) { return k.Trust(dir, next) },
		(*transport.Keyring).Use, (*transport.Keyring).Retire,
	} {
		two.step(t, step)
	}
	two.Recheck()
	transporttest.Eventually(t, "the link has no path that works", func() bool {
		for _, l := range two.Links() {
			if l.Up {
				return false
			}
		}
		return true
	})
	transporttest.Eventually(t, "both to say that one has missed a change of the authority", func() bool {
		for _, k := range []*keyed{one, two} {
			if l := k.Links(); len(l) != 1 || !l[0].Estranged || !strings.Contains(l[0].Paths[0].Failure, "missed a change of the authority") {
				return false
			}
		}
		return true
	})
}

// Whatever instant the power goes at, the keyring on disk is one that works.
func TestStepsOfAKeyringAreRefusedOutOfOrder(t *testing.T) {
	a, _ := transport.NewAuthority("acme")
	other, _ := transport.NewAuthority("acme")
	at := book{}
	k := newKeyed(t, a, "filer-1", at)
	ring := k.ring.Load()
	if _, err := ring.Use(k.dir); err == nil {
		t.Error("used a next authority that is not there")
	}
	if _, err := ring.Retire(k.dir); err == nil {
		t.Error("retired the only authority")
	}
	if _, err := ring.Trust(k.dir, other); !errors.Is(err, transport.ErrMismatched) {
		t.Errorf("trusting another cluster's authority: %v", err)
	}
	next, _ := a.Successor()
	again, _ := a.Successor()
	trusting, err := ring.Trust(k.dir, next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trusting.Retire(k.dir); err == nil {
		t.Error("retired an authority that is in use")
	}
	using, err := trusting.Use(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := using.Trust(k.dir, again); err == nil {
		t.Error("replaced a next authority that is in use")
	}
	if _, err := using.Forget(k.dir); err == nil {
		t.Error("forgot a next authority that is in use")
	}
	if loaded, err := transport.LoadKeyring(k.dir); err != nil || loaded.Issuer().Fingerprint() != next.Fingerprint() {
		t.Errorf("on disk after that: %v", err)
	}
}
