package transport_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

const echo transport.Service = "test-echo/1"

// serveEcho answers every line with itself until the listener is closed.
func serveEcho(t testing.TB, f *transporttest.Filer) {
	t.Helper()
	l := f.Service(echo)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// say sends a line and returns the answer or the error.
func say(c net.Conn, line string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func mustSay(t testing.TB, c net.Conn, line string) {
	t.Helper()
	got, err := say(c, line)
	if err != nil || got != line {
		t.Fatalf("said %q, heard %q, %v", line, got, err)
	}
}

// settled fails the test unless the number of goroutines comes back to what it
// was, give or take what the test's own runtime needs.
func settled(t testing.TB, before int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 64<<10)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
		<-time.After(time.Millisecond)
	}
}

func TestFilersTalkAndKnowEachOther(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	accepted := make(chan net.Conn, 1)
	l := b.Service(echo)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	conn, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server := <-accepted
	defer server.Close()
	if id := transport.PeerOf(conn); id != b.ID || conn.RemoteAddr().String() != string(b.ID) {
		t.Errorf("the caller sees %q at %v", id, conn.RemoteAddr())
	}
	if id := transport.PeerOf(server); id != a.ID || server.RemoteAddr().String() != string(a.ID) {
		t.Errorf("the called sees %q at %v", id, server.RemoteAddr())
	}
	if id := transport.PeerOf(&net.UnixConn{}); id != "" {
		t.Errorf("a bare connection has the peer %q", id)
	}
	if l != b.Service(echo) {
		t.Error("asking again for a service makes another listener")
	}
}

func TestAServiceIsWithdrawnAndOfferedAgain(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	ctx := within(t, 10*time.Second)
	if _, err := a.Open(ctx, b.ID, echo, link.Control); !errors.Is(err, transport.ErrNotServed) {
		t.Fatalf("a service that nobody offers: %v", err)
	}
	l := b.Service(echo)
	queued, err := a.Open(ctx, b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a closed listener: %v", err)
	}
	if _, err := say(queued, "anyone?"); err == nil {
		t.Error("a stream that was never accepted outlives its service")
	}
	if _, err := a.Open(ctx, b.ID, echo, link.Control); !errors.Is(err, transport.ErrNotServed) {
		t.Errorf("after the service was withdrawn: %v", err)
	}
	serveEcho(t, b)
	conn, err := a.Open(ctx, b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "back again")
}

func TestStreamsThatNobodyAcceptsAreTurnedAway(t *testing.T) {
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	b.Service(echo)
	refused := 0
	for range 70 {
		if _, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control); errors.Is(err, transport.ErrNotServed) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Stats().Refused[transport.NotAccepted]; refused != 6 || n != 6 {
		t.Errorf("%d of 70 were refused, %d counted; want 6", refused, n)
	}
}

func TestAFilerIsServedFromWhenItHasAnIdentity(t *testing.T) {
	var identity atomic.Pointer[transport.Identity]
	c := transporttest.New(t, 1)
	a := c.Filers[0]
	b := c.Add(t, "late", func(cfg *transport.Config) { cfg.Identity = identity.Load })
	serveEcho(t, a)
	serveEcho(t, b)
	ctx := within(t, 10*time.Second)
	if _, err := a.Open(ctx, b.ID, echo, link.Control); !errors.Is(err, transport.ErrNotServed) {
		t.Errorf("calling a filer without identity: %v", err)
	}
	transporttest.Eventually(t, "the refusal to be counted", func() bool {
		return b.Stats().Refused[transport.NotInCluster] == 1
	})
	if _, err := b.Open(ctx, a.ID, echo, link.Control); !errors.Is(err, transport.ErrNotInCluster) {
		t.Errorf("a filer without identity calls: %v", err)
	}
	identity.Store(b.Identity)
	for _, pair := range [][2]*transporttest.Filer{{a, b}, {b, a}} {
		conn, err := pair[0].Open(ctx, pair[1].ID, echo, link.Control)
		if err != nil {
			t.Fatal(err)
		}
		mustSay(t, conn, "hello")
	}
}

func TestARemovedFilerIsCutOffInBothDirections(t *testing.T) {
	c := transporttest.New(t, 3)
	a, b, removed := c.Filers[0], c.Filers[1], c.Filers[2]
	for _, f := range c.Filers {
		serveEcho(t, f)
	}
	ctx := within(t, 10*time.Second)
	dial := func(from, to *transporttest.Filer) net.Conn {
		conn, err := from.Open(ctx, to.ID, echo, link.Control)
		if err != nil {
			t.Fatal(err)
		}
		mustSay(t, conn, "hello")
		return conn
	}
	out, in, kept := dial(a, removed), dial(removed, a), dial(a, b)
	c.Remove(removed.ID)
	if _, err := say(out, "still there?"); err == nil {
		t.Error("the connection to the removed filer is open")
	}
	if _, err := say(in, "still there?"); err == nil {
		t.Error("the connection from the removed filer is open")
	}
	mustSay(t, kept, "unharmed")
	var peer *transport.PeerError
	if _, err := a.Open(ctx, removed.ID, echo, link.Control); !errors.As(err, &peer) || peer.Reason != transport.NotAllowed {
		t.Errorf("calling the removed filer: %v", err)
	}
	start := time.Now()
	_, err := removed.Open(ctx, a.ID, echo, link.Control)
	if err == nil {
		t.Error("the removed filer is served")
	}
	t.Log(time.Since(start), err)
	transporttest.Eventually(t, "the refusal to be counted", func() bool {
		return a.Stats().Refused[transport.NotAllowed] >= 1
	})
}

func TestCloseEndsEverythingThatWasStarted(t *testing.T) {
	before := runtime.NumGoroutine()
	c := transporttest.New(t, 2)
	a, b := c.Filers[0], c.Filers[1]
	serveEcho(t, b)
	ctx := within(t, 10*time.Second)
	conn, err := a.Open(ctx, b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "hello")
	silent, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	transporttest.Eventually(t, "the silent connection to be half-open", func() bool { return b.Stats().HalfOpen == 1 })
	l := b.Service("another/1")
	start := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := say(conn, "gone?"); err == nil {
		t.Error("a connection outlives its endpoint")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := b.Service("late/1").Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a service asked for after Close: %v", err)
	}
	if _, err := b.Open(ctx, a.ID, echo, link.Control); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial after Close: %v", err)
	}
	a.Close()
	settled(t, before)
	if s := b.Stats(); s.Open != 0 || s.HalfOpen != 0 {
		t.Errorf("still in the books: %+v", s)
	}
}

func TestListenNeedsToKnowWhoAndWhere(t *testing.T) {
	if _, err := transport.Listen(transport.Config{Listen: "127.0.0.1:0"}); err == nil {
		t.Error("Listen without Identity and Resolver succeeds")
	}
	none := func() *transport.Identity { return nil }
	if _, err := transport.Listen(transport.Config{Listen: "256.0.0.1:0", Identity: none, Resolver: &transporttest.Cluster{}}); err == nil {
		t.Error("Listen on an address that cannot be succeeds")
	}
}

func TestTheWildcardServesBothFamilies(t *testing.T) {
	c := transporttest.New(t, 1)
	b := c.Add(t, "wild", func(cfg *transport.Config) { cfg.Listen = ":0" })
	serveEcho(t, b)
	_, port, err := net.SplitHostPort(b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "::1"} {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			t.Logf("no %s on this machine", host)
			continue
		} else {
			l.Close()
		}
		c.Route(b.ID, net.JoinHostPort(host, port))
		conn, err := c.Filers[0].Open(within(t, 5*time.Second), b.ID, echo, link.Control)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		mustSay(t, conn, host)
		conn.Close()
	}
}
