package partner_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/partner"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// A cluster of one filer: an endpoint that answers partners, and a book.
type cluster struct {
	*partner.Manager
	id       string
	filer    netquorum.FilerID
	endpoint *transport.Endpoint

	mu       sync.Mutex
	partners map[string]partner.Known
	secrets  map[string]partner.Shared
}

func (c *cluster) Partner(name string) (partner.Known, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.partners[strings.ToLower(name)]
	return k, ok
}

func (c *cluster) Secret(id string) (partner.Shared, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.secrets[id]
	return s, ok
}

// knows changes what the cluster knows, as a transaction would.
func (c *cluster) knows(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	c.Recheck()
}

func newCluster(t testing.TB, name string) *cluster {
	t.Helper()
	a, err := transport.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{id: a.ClusterID, filer: netquorum.FilerID(name + "-1"), partners: map[string]partner.Known{}, secrets: map[string]partner.Shared{}}
	c.serve(t, a, name)
	return c
}

// beside is another filer of a cluster, which knows the same.
func beside(t testing.TB, c *cluster, filer netquorum.FilerID) *cluster {
	t.Helper()
	a, err := transport.NewAuthority("beside") // partners do not look at it
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &cluster{id: c.id, filer: filer, partners: maps.Clone(c.partners), secrets: maps.Clone(c.secrets)}
	b.serve(t, a, "beside")
	return b
}

func (c *cluster) serve(t testing.TB, a *transport.Authority, name string) {
	t.Helper()
	identity, err := a.Issue(c.filer, name)
	if err != nil {
		t.Fatal(err)
	}
	c.endpoint, err = transport.Listen(transport.Config{Listen: "127.0.0.1:0", Identity: func() *transport.Identity { return identity }, Resolver: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	c.Manager = partner.NewManager(partner.Config{Cluster: c.id, Filer: c.filer, Book: c, Dial: c.endpoint.DialPartner})
	c.endpoint.ServeStrangers(transport.ServicePartner, c.Answer)
	t.Cleanup(func() {
		c.Manager.Close()
		c.endpoint.Close()
	})
}

type nowhere struct{}

func (nowhere) Endpoints(netquorum.FilerID) []string { return nil }

// secret makes a secret that both know; use makes it the one in use at the first.
func share(east, west *cluster, use bool) string {
	s := transport.NewPartnerSecret()
	shared := partner.Shared{ID: s.ID(), Key: s.Key(), Partner: "west"}
	east.knows(func() {
		east.secrets[s.ID()] = shared
		if use {
			k := east.partners["west"]
			k.Use = shared
			east.partners["west"] = k
		}
	})
	shared.Partner = "east"
	west.knows(func() { west.secrets[s.ID()] = shared })
	return s.ID()
}

// direct lets east call west without a relay.
func direct(east, west *cluster) {
	east.knows(func() {
		east.partners["west"] = partner.Known{Name: "west", Endpoints: []string{west.endpoint.Addr().String()}}
	})
	west.knows(func() { west.partners["east"] = partner.Known{Name: "east"} })
	share(east, west, true)
}

// pair makes two clusters that share a secret; east calls west over relays.
func pair(t testing.TB, paths int) (east, west *cluster, relays []*transporttest.Relay) {
	east, west = newCluster(t, "east"), newCluster(t, "west")
	known := partner.Known{Name: "west"}
	for range paths {
		r := transporttest.NewRelay(t, west.endpoint.Addr().String())
		relays = append(relays, r)
		known.Endpoints = append(known.Endpoints, r.Addr)
	}
	east.knows(func() { east.partners["west"] = known })
	west.knows(func() { west.partners["east"] = partner.Known{Name: "east"} })
	share(east, west, true)
	return east, west, relays
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// stream opens a stream from east to west and accepts it.
func stream(t testing.TB, east, west *cluster, service string) (from, to *partner.Stream) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	type accepted struct {
		s   *partner.Stream
		err error
	}
	got := make(chan accepted, 1)
	go func() {
		s, err := west.Accept(ctx, service, "")
		got <- accepted{s, err}
	}()
	from, err := east.Open(ctx, "West", service)
	if err != nil {
		t.Fatal(err)
	}
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if a.s.Partner != "east" || from.Partner != "west" {
		t.Errorf("the stream is from %q to %q", a.s.Partner, from.Partner)
	}
	t.Cleanup(func() { from.Close(); a.s.Close() })
	return from, a.s
}

func awaits(t testing.TB, what string, holds func() error) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
	}
}

func carriers(c *cluster) int {
	n := 0
	for _, l := range c.Links() {
		n += len(l.Carriers)
	}
	return n
}

// 256 MiB, and the path that carries them falls silent in the middle.
func TestAStreamOutlivesItsPath(t *testing.T) {
	east, west, relays := pair(t, 2)
	from, to := stream(t, east, west, "mirror")
	awaits(t, "both paths are there", func() error {
		if n := carriers(east); n != 2 {
			return fmt.Errorf("%d carriers", n)
		}
		return nil
	})
	const size = 256 << 20
	sent, halfway := make(chan hash.Hash, 1), make(chan struct{})
	go func() {
		h := sha256.New()
		src := rand.NewChaCha8([32]byte{1})
		buf := make([]byte, 256<<10)
		for n := 0; n < size; n += len(buf) {
			_, _ = src.Read(buf)
			h.Write(buf)
			if _, err := from.Write(buf); err != nil {
				t.Errorf("writing after %d bytes: %v", n, err)
				break
			}
			if n == size/2 {
				close(halfway)
			}
		}
		if err := from.CloseWrite(); err != nil {
			t.Errorf("ending: %v", err)
		}
		sent <- h
	}()
	go func() {
		<-halfway
		relays[0].Freeze()
	}()
	start := time.Now()
	h := sha256.New()
	n, err := io.Copy(h, to)
	if err != nil || n != size {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	t.Logf("%d MiB in %v, with the switch", size>>20, time.Since(start).Round(time.Millisecond))
	if want := (<-sent).Sum(nil); !bytes.Equal(h.Sum(nil), want) {
		t.Error("what arrived is not what was sent")
	}
	switches := uint64(0)
	for _, l := range east.Links() {
		switches += l.Switches
	}
	if switches == 0 {
		t.Error("the path was cut, and nothing went another way")
	}
}

// A reader that stops holds its writer up, and no other stream.
func TestAReaderThatStopsHoldsUpItsOwnStreamOnly(t *testing.T) {
	east, west, _ := pair(t, 1)
	slow, _ := stream(t, east, west, "slow")
	quick, reads := stream(t, east, west, "quick")
	wrote := 0
	_ = slow.SetWriteDeadline(time.Now().Add(time.Second))
	for {
		n, err := slow.Write(make([]byte, 1<<20))
		wrote += n
		if err != nil {
			break
		}
		if wrote > 64<<20 {
			t.Fatal("64 MiB were written that nobody reads")
		}
	}
	go func() { _, _ = quick.Write(make([]byte, 4<<20)) }()
	_ = reads.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(reads, make([]byte, 4<<20)); err != nil {
		t.Errorf("the other stream: %v", err)
	}
	t.Logf("the writer was held up after %d MiB", wrote>>20)
}

// Secrets are changed under a stream: added, used, the old one removed.
func TestSecretsAreChangedUnderAStream(t *testing.T) {
	east, west, _ := pair(t, 2)
	from, to := stream(t, east, west, "mirror")
	say := func(text string) {
		t.Helper()
		_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := from.Write([]byte(text)); err != nil {
			t.Fatalf("writing %q: %v", text, err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
			t.Fatalf("read %q, %v; want %q", got, err, text)
		}
	}
	say("before")
	k, _ := east.Partner("west")
	old := k.Use.ID
	share(east, west, false)
	say("added")
	share(east, west, true)
	say("used")
	both := func(what string) {
		awaits(t, what, func() error {
			if n := carriers(east); n != 2 {
				return fmt.Errorf("%d carriers", n)
			}
			return nil
		})
	}
	both("both paths are proved anew")
	for _, c := range []*cluster{west, east} {
		c.knows(func() { delete(c.secrets, old) })
	}
	say("removed")
	both("both paths are there still")
	say("after")
}

// A secret that is removed cuts what it has proved, and is not accepted again.
func TestARemovedSecretCutsItsLinks(t *testing.T) {
	east, west, _ := pair(t, 1)
	stream(t, east, west, "mirror")
	west.knows(func() { clear(west.secrets) })
	awaits(t, "the link has no carrier", func() error {
		if n := carriers(west); n != 0 {
			return fmt.Errorf("%d carriers", n)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if s, err := east.Open(ctx, "west", "mirror"); err == nil {
		t.Errorf("opened %v with a removed secret", s)
	}
	awaits(t, "the refusals are counted", func() error {
		if west.endpoint.Stats().Refused[transport.NotProven] == 0 {
			return errors.New("none")
		}
		return nil
	})
}

// A deleted partner's streams end at once.
func TestADeletedPartnersStreamsEnd(t *testing.T) {
	east, west, _ := pair(t, 1)
	from, to := stream(t, east, west, "mirror")
	west.knows(func() { clear(west.partners); clear(west.secrets) })
	for name, s := range map[string]*partner.Stream{"east": from, "west": to} {
		_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s reads %v", name, err)
		}
	}
}

func TestOpeningWaitsForTheServiceAndSaysWhatIsWrong(t *testing.T) {
	east, west, _ := pair(t, 1)
	tests := []struct {
		name    string
		partner string
		change  func()
		want    error
	}{
		{"nobody accepts the service", "west", func() {}, partner.ErrNotServed},
		{"no partner of the name", "south", func() {}, partner.ErrUnknown},
		{"no secret in use", "north", func() { east.partners["north"] = partner.Known{Name: "north", Endpoints: []string{"127.0.0.1:1"}} }, partner.ErrNoSecret},
		{"no endpoint", "far", func() { east.partners["far"] = partner.Known{Name: "far"} }, partner.ErrNoEndpoint},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			east.knows(tc.change)
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer cancel()
			if _, err := east.Open(ctx, tc.partner, "mirror"); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	// The called opens a stream as well, over the link that the other side keeps.
	stream(t, east, west, "there")
	ctx := within(t, 10*time.Second)
	go func() {
		if s, err := west.Open(ctx, "east", "back"); err == nil {
			_, _ = s.Write([]byte("hello"))
			s.Close()
		}
	}()
	s, err := east.Accept(ctx, "back", "west")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
}
