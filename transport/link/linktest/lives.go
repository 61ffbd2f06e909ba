package linktest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/link/memlink"
)

func comeAndGo(t *testing.T, k Kind) {
	p := NewPair(t, k, 3, quick)
	f, g := startFlow(t, p, link.Control, false), startFlow(t, p, link.Bulk, true)
	f.more(10)
	carriers := map[int]*link.Carrier{}
	for i := range 12 {
		path := (i + 1) % 3
		switch i % 4 {
		case 3:
			if err := carriers[path].Close(); err != nil { // by its owner
				t.Error(err)
			}
		default:
			p.Paths[path].Break() // by a reset
		}
		f.more(5)
		var err error
		if carriers[path], err = Join(t.Context(), p.A, p.B, p.Paths[path], path); err != nil {
			t.Fatal(err)
		}
		g.more(5)
	}
	for path := range p.Paths { // none at all for a moment
		p.Paths[path].Break()
	}
	Eventually(t, "all carriers to be gone", func() bool {
		return len(p.A.Status().Carriers)+len(p.B.Status().Carriers) == 0
	})
	if err := p.Attach(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	f.more(10)
	f.end()
	g.end()
}

func silentPeer(t *testing.T, k Kind) {
	const patience = 600 * time.Millisecond
	p := NewPair(t, k, 2, func(c *link.Config) { c.Patience, c.GiveUp = patience, patience/2 })
	a, b := p.Streams(t, link.Control)
	start := time.Now()
	for _, path := range p.Paths {
		path.Cut(memlink.Both)
	}
	for _, s := range []*link.Stream{a, b} {
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, link.ErrPeerLost) || !errors.Is(err, link.ErrSilent) {
			t.Errorf("%v", err)
		}
	}
	if took := time.Since(start); took < patience-100*time.Millisecond || took > k.bound(patience+100*time.Millisecond, time.Second) {
		t.Errorf("it took %v, patience is %v", took, patience)
	}
	for _, path := range p.Paths {
		path.Heal()
	}
}

func halfOpen(t *testing.T, k Kind) {
	p := NewPair(t, k, 1, func(c *link.Config) { c.GiveUp = 300 * time.Millisecond })
	f := startFlow(t, p, link.Control, false)
	// One that never says hello.
	mute, other, err := p.Paths[0].Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.A.Attach(ctx, mute, link.Path{Kind: k.Name}); err == nil {
		t.Error("a mute connection was attached")
	}
	if took := time.Since(start); took > k.bound(100*time.Millisecond, time.Second) {
		t.Errorf("it took %v to refuse it", took)
	}
	// One that talks like nobody of us.
	strange, other, err := p.Paths[0].Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go io.WriteString(other, "GET / HTTP/1.1\r\n\r\n")
	if _, err := p.A.Attach(t.Context(), strange, link.Path{Kind: k.Name}); !errors.Is(err, link.ErrProtocol) {
		t.Errorf("a strange connection: %v", err)
	}
	if err := p.A.Err(); err != nil {
		t.Errorf("the link has ended: %v", err)
	}
	// A carrier whose peer has vanished is closed, and replaced by a new one.
	p.Paths[0].Cut(memlink.Both)
	Eventually(t, "the carrier to be given up", func() bool {
		return len(p.A.Status().Carriers)+len(p.B.Status().Carriers) == 0
	})
	p.Paths[0].Heal()
	if err := p.Attach(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	f.more(10)
	f.end()
}

func incarnations(t *testing.T, k Kind) {
	p := NewPair(t, k, 2)
	a, _ := p.Streams(t, link.Control)
	old := p.B
	t.Cleanup(func() { old.Close() })
	// The process b starts anew; a does not know yet that the old one is dead.
	na, nb := p.New()
	t.Cleanup(func() { na.Close(); nb.Close() })
	if _, err := Join(t.Context(), p.A, nb, p.Paths[0], 0); !errors.Is(err, link.ErrOtherIncarnation) {
		t.Errorf("%v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, link.ErrPeerLost) || !errors.Is(err, link.ErrOtherIncarnation) {
		t.Errorf("a stream to the old process: %v", err)
	}
	if err := nb.Err(); err != nil {
		t.Errorf("the new process has ended its link: %v", err)
	}
	// The old one's carriers, if any still arrive, do not harm.
	if _, err := Join(t.Context(), na, nb, p.Paths[0], 0); err != nil {
		t.Fatal(err)
	}
	s, err := na.Open(t.Context(), Echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), old, na, p.Paths[1], 1); !errors.Is(err, link.ErrOtherIncarnation) {
		t.Errorf("%v", err)
	}
	if err := na.Err(); err != nil {
		t.Errorf("a late carrier of the old process has ended the link: %v", err)
	}
	io.WriteString(s, "still here")
	if _, err := io.ReadFull(s, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	other := link.New(link.Config{Local: "mallory", Peer: "b"})
	defer other.Close()
	if _, err := Join(t.Context(), other, nb, p.Paths[1], 1); err == nil {
		t.Error("another filer was attached")
	}
}

func goodbye(t *testing.T, k Kind) {
	changes := make(chan struct{}, 100)
	p := NewPair(t, k, 2, func(c *link.Config) {
		c.Changed = func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	})
	a, b := p.Streams(t, link.Control)
	io.WriteString(b, "last words")
	Eventually(t, "the words to arrive", func() bool { return p.A.Status().Carriers[0].Received > 100 })
	p.B.End(errors.New("an upgrade"))
	<-p.A.Done()
	if err := p.A.Err(); !errors.Is(err, link.ErrPeerLost) {
		t.Errorf("%v", err)
	}
	if got, err := io.ReadAll(a); !errors.Is(err, link.ErrPeerLost) || (len(got) > 0 && string(got) != "last words") {
		t.Errorf("%q, %v", got, err)
	}
	<-changes
	if len(p.A.Status().Carriers) > 0 {
		Eventually(t, "the carriers to be closed", func() bool { return len(p.A.Status().Carriers) == 0 })
	}
}
