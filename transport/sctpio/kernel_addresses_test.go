package sctpio

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ishidawataru/sctp"

	"github.com/netquorum/netquorum/lab/nstest"
)

// How associations begin, and with which addresses.
func TestKernelAddresses(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	t.Run("dialling", testDial)
	t.Run("listening", testListen)
	t.Run("paths", testPaths)
}

func testDial(t *testing.T) {
	l := listenFar(t, Control(), far...)
	port := l.port
	dial := func(ctx context.Context, to *sctp.SCTPAddr) (time.Duration, error) {
		start := time.Now()
		c, err := Dial(ctx, Addr(0, near...), to, Control())
		if err == nil {
			c.Close()
		}
		return time.Since(start), err
	}
	if took, err := dial(t.Context(), Addr(port+1, far...)); !errors.Is(err, syscall.ECONNREFUSED) || took > time.Second {
		t.Errorf("nobody listening: %v after %v", err, took)
	}
	if took, err := dial(t.Context(), Addr(port, lost, far[1])); err != nil || took > time.Second {
		t.Errorf("the first address is dead: %v after %v", err, took)
	}
	if took, err := dial(t.Context(), Addr(port, far[0], lost)); err != nil || took > time.Second {
		t.Errorf("the second address is dead: %v after %v", err, took)
	}
	// Frames to the lost one go out and nobody answers.
	nstest.Sh(t, "ip neigh replace "+lost.String()+" lladdr 02:00:00:00:00:77 dev path0")
	if took, err := dial(t.Context(), Addr(port, lost)); !errors.Is(err, syscall.ETIMEDOUT) || took > 6*time.Second {
		t.Errorf("silence: %v after %v", err, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if took, err := dial(ctx, Addr(port, lost)); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("silence with a deadline: %v after %v", err, took)
	}
	if _, err := dial(ctx, Addr(port, far...)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if _, err := Dial(t.Context(), Addr(0, lost), Addr(port, far...), Control()); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("from an address that is not ours: %v", err)
	}
	var names []string
	o := Control()
	o.Socket = func(network, address string, c syscall.RawConn) error {
		names = append(names, network+" "+address)
		return errors.New("not today")
	}
	if _, err := Dial(t.Context(), Addr(0, near...), Addr(port, far...), o); err == nil || !strings.Contains(err.Error(), "not today") || len(names) != 1 || names[0] != "sctp4 10.0.0.1/10.1.0.1:0" {
		t.Errorf("%v, %q", err, names)
	}
}

func testListen(t *testing.T) {
	l := listenFar(t, Control(), far[0])
	reaches := func(want bool, ip netip.Addr) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		from := near
		if ip.Is6() {
			from = near6
		}
		c, err := Dial(ctx, Addr(0, from...), Addr(l.port, ip), Control())
		if err == nil {
			c.Close()
		}
		if (err == nil) != want {
			t.Errorf("calling %v: %v", ip, err)
		}
	}
	if _, err := Listen(Addr(l.port, near...), Control()); err != nil {
		t.Errorf("the same port in another namespace: %v", err)
	}
	reaches(true, far[0])
	reaches(false, far[1])
	if err := l.SetAddrs(far[0], far[1], far6[0]); err != nil {
		t.Fatal(err)
	}
	reaches(true, far[1])
	reaches(true, far6[0])
	if err := l.SetAddrs(far[1]); err != nil {
		t.Fatal(err)
	}
	reaches(false, far[0])
	reaches(true, far[1])
	if got := l.Addr().String(); got != Addr(l.port, far[1]).String() {
		t.Errorf("it listens at %s", got)
	}
	if err := l.SetAddrs(); err == nil {
		t.Error("it listens nowhere, or everywhere")
	}

	// Associations keep what they have, and a new listener gets the port.
	c, err := Dial(t.Context(), Addr(0, near...), Addr(l.port, far[1]), Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var a *Conn // those of before wait, too, although they have ended
	l.SetDeadline(time.Now().Add(10 * time.Second))
	for a == nil || a.remote.Port != c.local.Port {
		if a, err = l.AcceptSCTP(); err != nil {
			t.Fatal(err)
		}
		defer a.Close()
	}
	l.Close()
	listenFarAt(t, Addr(l.port, far...), Control())
	go a.Write([]byte("still here"))
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

func testPaths(t *testing.T) {
	events := make(chan Event, 1000)
	o := Control()
	o.Observe = func(e Event) { events <- e }
	here, there := pair(t, o, near, far)
	for _, c := range []*Conn{here, there} {
		go io.Copy(io.Discard, c) // events come where it is read
	}
	states := func() string {
		list, err := here.Paths()
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, p := range list {
			word := p.Remote.Addr().String() + " " + p.State.String()
			if p.Primary {
				word += " primary"
			}
			if p.RTO <= 0 || p.MTU != 1500 || p.Remote.Port() != uint16(here.remote.Port) {
				t.Fatalf("%+v", p)
			}
			words = append(words, word)
		}
		return strings.Join(words, ", ")
	}
	is := func(want string) {
		t.Helper()
		got := ""
		defer func() {
			if t.Failed() {
				t.Logf("paths: %s", got)
			}
		}()
		await(t, want, func() bool { got = states(); return got == want })
	}
	seen := func(k Kind, remote netip.Addr) {
		t.Helper()
		for {
			if e := within(t, k.String(), events); e.Kind == k && (e.Remote.Addr() == remote || k == AssociationUp) {
				return
			}
		}
	}
	is("10.0.0.2 active primary, 10.1.0.2 active")
	seen(AssociationUp, netip.Addr{})
	if err := here.SetPrimary(far[1]); err != nil {
		t.Fatal(err)
	}
	is("10.0.0.2 active, 10.1.0.2 active primary")
	nstest.Sh(t, "ip netns exec far ip link set path1 down")
	seen(PathFailing, far[1])
	seen(PathUnreachable, far[1])
	is("10.0.0.2 active, 10.1.0.2 unreachable primary")
	nstest.Sh(t, "ip netns exec far ip link set path1 up")
	seen(PathAvailable, far[1])
	is("10.0.0.2 active, 10.1.0.2 active primary")
	if err := here.SetPrimary(lost); err == nil {
		t.Error("an address that the peer does not have became primary")
	}
}
