package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// A rotation is led by leaders that change, over filers that are away now and
// then and restart with what is on their disk. At no instant may there be two
// members that refuse each other's certificates.
func TestFilersAlwaysTrustEachOtherWhileTheAuthorityIsChanged(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := &rotationWalk{t: t, seed: seed, doc: &netquorum.Authority{Phase: netquorum.AuthorityTrust, Current: "a0"}, disks: map[string]*holding{}}
		for i := range 3 + 2*rnd.IntN(2) {
			name := fmt.Sprintf("f%d", i+1)
			w.members = append(w.members, name)
			w.disks[name] = &holding{Current: "a0", Uses: "a0"}
		}
		w.leader = w.members[0]
		for step := 0; w.doc.Open(); step++ {
			if step > 3000 {
				t.Fatalf("seed %d: the change does not end: %+v, %v", seed, w.doc, w.held())
			}
			w.step(rnd)
			w.check()
		}
		for name, d := range w.disks {
			for s := keyStepOf(w.doc, *d); s != keyKeep; s = keyStepOf(w.doc, *d) {
				w.apply(d, s)
			}
			if *d != (holding{Current: w.doc.Current, Uses: w.doc.Current}) {
				t.Fatalf("seed %d: %s ends with %+v, the cluster with %s", seed, name, *d, w.doc.Current)
			}
		}
	}
}

type rotationWalk struct {
	t       *testing.T
	seed    uint64
	doc     *netquorum.Authority
	members []string
	disks   map[string]*holding
	leader  string
	made    int
}

func (w *rotationWalk) held() map[string]holding {
	out := map[string]holding{}
	for name, d := range w.disks {
		out[name] = *d
	}
	return out
}

// step lets one thing happen: a new leader, a move of the leader with only some
// filers within reach, or a step of one filer.
func (w *rotationWalk) step(rnd *rand.Rand) {
	some := w.members[rnd.IntN(len(w.members))]
	switch rnd.IntN(4) {
	case 0:
		w.leader = some
	case 1, 2:
		move := nextAuthorityMove(w.doc, w.members, w.held(), w.leader)
		switch {
		case move.Make:
			w.made++
			w.doc = w.doc.Clone()
			w.doc.Next = fmt.Sprintf("a%d", w.made)
			if rnd.IntN(3) > 0 { // or the power goes before it is on disk
				w.disks[w.leader].Next = w.doc.Next
			}
		case move.Commit != nil:
			w.doc = move.Commit
		default:
			for _, name := range move.Give {
				if rnd.IntN(2) == 0 {
					w.disks[name].Next = w.doc.Next
				}
			}
		}
	case 3:
		w.apply(w.disks[some], keyStepOf(w.doc, *w.disks[some]))
	}
}

func (w *rotationWalk) apply(d *holding, s keyStep) {
	switch s {
	case keyUse:
		d.Uses = d.Next
	case keyRetire:
		if d.Uses != d.Next {
			w.t.Fatalf("seed %d: an authority is retired that is in use: %+v", w.seed, d)
		}
		d.Current, d.Next = d.Next, ""
	case keyForget:
		if d.Uses == d.Next {
			w.t.Fatalf("seed %d: an authority is forgotten that is in use: %+v", w.seed, d)
		}
		d.Next = ""
	}
}

func (w *rotationWalk) check() {
	for a, x := range w.disks {
		for b, y := range w.disks {
			if !x.trusts(y.Uses) {
				w.t.Fatalf("seed %d, phase %s: %s (%+v) refuses %s (%+v)", w.seed, w.doc.Phase, a, *x, b, *y)
			}
		}
	}
}

// A filer that is away holds the change up, and is no longer waited for when
// somebody says so.
func TestAnAwaitedFilerIsNamedAndCanBeLeftOut(t *testing.T) {
	doc := &netquorum.Authority{Phase: netquorum.AuthorityTrust, Current: "a", Next: "b"}
	held := map[string]holding{"f1": {Current: "a", Next: "b", Uses: "a"}, "f2": {Current: "a", Next: "b", Uses: "a"}}
	m := nextAuthorityMove(doc, []string{"f1", "f2", "f3"}, held, "f1")
	if m.Commit != nil || !slices.Equal(m.Awaited, []string{"f3"}) || !slices.Equal(m.Give, []string{"f3"}) {
		t.Errorf("with f3 away: %+v", m)
	}
	doc.Without = []string{"F3"}
	if m = nextAuthorityMove(doc, []string{"f1", "f2", "f3"}, held, "f1"); m.Commit == nil || m.Commit.Phase != netquorum.AuthorityUse {
		t.Errorf("without f3: %+v", m)
	}
}

func rotated(t *testing.T, fs []*testFiler, from string) api.Authority {
	t.Helper()
	var last api.Authority
	for _, f := range fs {
		eventually(t, f.name+" sees the change of the authority done", func(ctx context.Context) error {
			a, err := f.client.Authority(ctx)
			switch {
			case err != nil:
				return err
			case a.Open() || a.Fingerprint == from:
				return fmt.Errorf("phase %s, waiting for %v", a.Phase, a.Awaited)
			}
			for _, x := range a.Filers {
				if x.Shows != a.Fingerprint || !slices.Equal(x.Trusts, []string{a.Fingerprint}) {
					return fmt.Errorf("%s shows %s and trusts %v", x.Name, x.Shows, x.Trusts)
				}
			}
			last = a
			return nil
		})
	}
	return last
}

// The authority is changed under a cluster that goes on writing, with a filer
// restarted on the way; then somebody joins.
func TestTheAuthorityIsChangedWithoutAPause(t *testing.T) {
	fs := form(t)
	ctx := t.Context()
	before, err := fs[0].client.Authority(ctx)
	if err != nil || before.Open() || before.Made == nil || len(before.Filers) != 3 {
		t.Fatalf("authority: %+v, %v", before, err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := fs[0].client.Apply(ctx, api.ApplyRequest{Puts: []api.Put{{Document: netquorum.Document{
				Kind: netquorum.KindRecord, Name: "n", Spec: &netquorum.Record{Data: fmt.Appendf(nil, "%d", i)}}}}}); err != nil {
				done <- fmt.Errorf("write %d: %w", i, err)
				return
			}
		}
	}()
	if _, err := fs[1].client.RotateAuthority(ctx, api.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	after := rotated(t, fs, before.Fingerprint)
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if after.ClusterID != before.ClusterID {
		t.Errorf("the cluster's id was %s and is %s", before.ClusterID, after.ClusterID)
	}
	fs[2].stop()
	fs[2].start()
	eventually(t, "f3 is back", func(ctx context.Context) error {
		_, err := fs[2].client.List(ctx, api.Linearizable)
		return err
	})
}

// A filer that was away comes back while it is waited for; the rotation waits. So
// it does for its leader, and the next leader leads it on.
func TestTheChangeOfTheAuthorityWaitsForAFilerThatIsAway(t *testing.T) {
	fs := form(t)
	ctx := t.Context()
	before, err := fs[0].client.Authority(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fs[2].stop()
	eventually(t, "two filers have a leader", func(ctx context.Context) error {
		_, err := fs[0].client.RotateAuthority(ctx, api.RotateRequest{})
		if errors.Is(err, api.ErrRefused) {
			return nil
		}
		return err
	})
	eventually(t, "only f3 is awaited, in status too", func(ctx context.Context) error {
		st, err := fs[0].client.Status(ctx)
		if err != nil || st.Authority == nil {
			return fmt.Errorf("%+v, %w", st.Authority, err)
		}
		if st.Authority.Phase != netquorum.AuthorityTrust || !slices.Equal(st.Authority.Awaited, []string{"f3"}) {
			return fmt.Errorf("phase %s waits for %v", st.Authority.Phase, st.Authority.Awaited)
		}
		return nil
	})
	leads := fs[0].status().Leader
	for _, f := range fs[:2] {
		if f.name == leads {
			f.stop()
		}
	}
	fs[2].start()
	eventually(t, "the next leader waits for the one before", func(ctx context.Context) error {
		a, err := fs[2].client.Authority(ctx)
		if err == nil && !slices.Equal(a.Awaited, []string{leads}) {
			err = fmt.Errorf("phase %s waits for %v", a.Phase, a.Awaited)
		}
		return err
	})
	for _, f := range fs[:2] {
		if f.name == leads {
			f.start()
		}
	}
	rotated(t, fs, before.Fingerprint)
}

// A filer that was revoked is cut off although its certificate is good, and is
// not heard even to be told so.
func TestARevokedFilerIsCutOffAtOnce(t *testing.T) {
	fs := form(t)
	ctx := t.Context()
	res, err := fs[0].client.RemoveFiler(ctx, api.RemoveRequest{Filer: "f3", Revoke: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs[:2] {
		eventually(t, f.name+" goes on without f3", func(ctx context.Context) error {
			st, err := f.client.Status(ctx)
			if err != nil || !st.Quorum || len(st.Filers) != 3 {
				return fmt.Errorf("quorum %t, %d filers, %w", st.Quorum, len(st.Filers), err)
			}
			for _, x := range st.Filers {
				if x.Name == "f3" && x.Role != api.RoleAbsent {
					return fmt.Errorf("f3 is %s", x.Role)
				}
			}
			return nil
		})
	}
	eventually(t, "f3 has lost the others", func(ctx context.Context) error {
		st, err := fs[2].client.Status(ctx)
		switch {
		case err == nil && st.State == api.StateUnconfigured:
			t.Fatal("f3 was told that it is out of the cluster: somebody has heard it")
		case err == nil && st.Quorum:
			err = errors.New("it has a quorum")
		}
		return err
	})
	a, err := fs[0].client.Authority(ctx)
	if err != nil || len(a.Revoked) != 1 || a.Revoked[0].ID != res.ID {
		t.Errorf("revoked: %+v, %v", a.Revoked, err)
	}
	if _, err := fs[0].client.RotateAuthority(ctx, api.RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	if a = rotated(t, fs[:2], a.Fingerprint); len(a.Revoked) != 0 {
		t.Errorf("still revoked after the change: %+v", a.Revoked)
	}
}

// A filer without which the authority was changed is refused when it is back, says
// what to do, and is a member again when that is done.
func TestAFilerWithoutWhichTheAuthorityWasChangedJoinsAgain(t *testing.T) {
	fs := form(t)
	ctx := t.Context()
	before, err := fs[0].client.Authority(ctx)
	if err != nil {
		t.Fatal(err)
	}
	old := fs[2].status()
	fs[2].stop()
	eventually(t, "the change of the authority begins without f3", func(ctx context.Context) error {
		_, err := fs[0].client.RotateAuthority(ctx, api.RotateRequest{Without: []string{"f3"}})
		if errors.Is(err, api.ErrRefused) {
			return nil
		}
		return err
	})
	eventually(t, "the change of the authority is done without f3", func(ctx context.Context) error {
		a, err := fs[0].client.Authority(ctx)
		if err == nil && (a.Open() || a.Fingerprint == before.Fingerprint) {
			err = fmt.Errorf("phase %s waits for %v", a.Phase, a.Awaited)
		}
		return err
	})

	fs[2].start()
	eventually(t, "f3 says what to do", func(context.Context) error {
		s := fs[2].status()
		for _, words := range []string{"the authority of test was changed without this filer", "netquorum token create --filer f3", "move " + fs[2].cfg.storeDir() + " away", "netquorum join --filer f3"} {
			if !strings.Contains(s.Message, words) {
				return fmt.Errorf("%q is not in %q (quorum %t)", words, s.Message, s.Quorum)
			}
		}
		return nil
	})
	if s := fs[0].status(); !s.Quorum || s.Message != "" {
		t.Errorf("f1: quorum %t, %q", s.Quorum, s.Message)
	}

	// What the message says.
	token, err := fs[0].client.CreateToken(ctx, api.TokenRequest{Filer: "f3"})
	if err != nil {
		t.Fatal(err)
	}
	fs[2].stop()
	if err := os.Rename(fs[2].cfg.storeDir(), fs[2].cfg.storeDir()+".old"); err != nil {
		t.Fatal(err)
	}
	fs[2].start()
	r, err := fs[2].client.Join(ctx, api.JoinRequest{Filer: "f3", Token: token.Token, Peer: fs[0].cfg.Listen})
	if err != nil {
		t.Fatalf("joining again: %v", err)
	}
	if i := slices.IndexFunc(old.Filers, func(f api.FilerStatus) bool { return f.Name == "f3" }); r.ID == old.Filers[i].ID {
		t.Error("it came back under its old id")
	}
	rotated(t, fs, before.Fingerprint)
	eventually(t, "f3 is a member", func(ctx context.Context) error {
		_, err := fs[2].client.List(ctx, api.Linearizable)
		return err
	})
	if s := fs[2].status(); !s.Quorum || s.Message != "" {
		t.Errorf("f3: quorum %t, %q", s.Quorum, s.Message)
	}
}
