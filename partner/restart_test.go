package partner_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/netquorum/netquorum/partner"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// replace makes the partner's process end without a word, and another one of the same
// filer take its place.
func (c *cluster) replace(t *testing.T, relays []*transporttest.Relay) {
	t.Helper()
	old := c.Manager
	t.Cleanup(old.Close)
	c.Manager = partner.NewManager(partner.Config{Cluster: c.id, Filer: c.filer, Book: c, Dial: c.endpoint.DialPartner})
	c.endpoint.ServeStrangers(transport.ServicePartner, c.Answer)
	for _, r := range relays {
		r.Cut()
	}
}

// A stream to a process that is gone ends as soon as the filer runs another one,
// and new streams go there.
func TestAPartnersProcessIsReplaced(t *testing.T) {
	east, west, relays := pair(t, 2)
	from, _ := stream(t, east, west, "mirror")
	start := time.Now()
	west.replace(t, relays)
	_ = from.SetReadDeadline(start.Add(20 * time.Second))
	if _, err := from.Read(make([]byte, 1)); !errors.Is(err, partner.ErrRestarted) || !errors.Is(err, link.ErrPeerLost) {
		t.Errorf("the old stream reads %v", err)
	}
	again, to := stream(t, east, west, "mirror")
	t.Logf("there was a new stream after %v", time.Since(start).Round(time.Millisecond))
	if _, err := again.Write([]byte("again")); err != nil {
		t.Error(err)
	}
	again.Close()
	if got, err := io.ReadAll(to); err != nil || string(got) != "again" {
		t.Errorf("read %q, %v", got, err)
	}
}

// Of several filers, the first of the endpoints on which the service is accepted
// gets the stream; one that has fallen silent is not waited for.
func TestAFilerThatDoesNotAnswerIsNotWaitedFor(t *testing.T) {
	east, west, relays := pair(t, 1)
	second := beside(t, west, "a-west-2") // before west-1, by its name
	r := transporttest.NewRelay(t, second.endpoint.Addr().String())
	east.knows(func() {
		k := east.partners["west"]
		k.Endpoints = append(k.Endpoints, r.Addr)
		east.partners["west"] = k
	})
	stream(t, east, second, "there")
	awaits(t, "both filers are within reach", func() error {
		if n := len(east.Links()); n != 2 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	accepted := make(chan string, 8)
	for _, w := range []*cluster{west, second} {
		go func() {
			for {
				st, err := w.Accept(t.Context(), "first", "")
				if err != nil {
					return
				}
				st.Close()
				accepted <- string(w.filer)
			}
		}()
	}
	open := func() string {
		t.Helper()
		ctx := within(t, 8*time.Second)
		s, err := east.Open(ctx, "west", "first")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		select {
		case filer := <-accepted:
			return filer
		case <-ctx.Done():
			t.Fatal("nobody has accepted the stream")
			return ""
		}
	}
	awaits(t, "the first endpoint's filer gets the stream", func() error {
		if got := open(); got != "west-1" {
			return errors.New(got)
		}
		return nil
	})
	for range 3 {
		if got := open(); got != "west-1" {
			t.Errorf("the stream went to %s, which is the second endpoint", got)
		}
	}
	relays[0].Freeze()
	if got := open(); got != "a-west-2" {
		t.Errorf("the stream went to %s", got)
	}
}

// A cluster that is not the one which the Partner document names is cut and not
// heard again, and both sides can say why.
func TestAnotherClusterIsCutAndCounted(t *testing.T) {
	east, west, _ := pair(t, 1)
	stream(t, east, west, "mirror")
	pin := func(id string) {
		west.knows(func() {
			for at, s := range west.secrets {
				s.Cluster = id
				west.secrets[at] = s
			}
		})
	}
	pin(west.id)
	awaits(t, "the caller knows why it is not heard", func() error {
		for _, p := range east.Problems("West") {
			if errors.Is(p.Err, partner.ErrItself) || errors.Is(p.Err, partner.ErrNotExpected) {
				return nil
			}
		}
		return fmt.Errorf("it knows %v", east.Problems("west"))
	})
	if west.endpoint.Stats().Refused[transport.OtherCluster] == 0 {
		t.Errorf("counted: %v", west.endpoint.Stats().Refused)
	}
	pin(east.id)
	awaits(t, "the right one is heard", func() error {
		if n, p := carriers(east), east.Problems("west"); n != 1 || len(p) != 0 {
			return fmt.Errorf("%d carriers, %v", n, p)
		}
		return nil
	})
}

// A secret that is tried in vain interrupts nothing; what is wrong is told until
// the one that works is in use again.
func TestASecretTriedInVainIsToldOf(t *testing.T) {
	east, west, _ := pair(t, 1)
	stream(t, east, west, "mirror")
	k, _ := east.Partner("west")
	wrong := transport.NewPartnerSecret()
	use := func(s partner.Shared) {
		east.knows(func() {
			known := east.partners["west"]
			known.Use = s
			east.partners["west"] = known
		})
	}
	use(partner.Shared{ID: wrong.ID(), Key: wrong.Key(), Partner: "west"})
	awaits(t, "the refusal is told", func() error {
		p := east.Problems("west")
		if len(p) != 1 || !errors.Is(p[0].Err, partner.ErrRefused) || !strings.Contains(p[0].Err.Error(), wrong.ID()) {
			return fmt.Errorf("%v", p)
		}
		return nil
	})
	if n := carriers(east); n != 1 {
		t.Errorf("%d carriers by the secret that works", n)
	}
	use(k.Use)
	awaits(t, "nothing is told any more", func() error {
		if p := east.Problems("west"); len(p) != 0 {
			return fmt.Errorf("%v", p)
		}
		return nil
	})
}
