package transport_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// A switchboard stands in for the network: what is dialled goes where it says,
// and it remembers in which order addresses were tried.
type switchboard struct {
	mu    sync.Mutex
	to    map[string]func(ctx context.Context) (net.Conn, error)
	tried []string
}

func (s *switchboard) dial(ctx context.Context, _ netip.Addr, address string) (net.Conn, error) {
	s.mu.Lock()
	s.tried = append(s.tried, address)
	to := s.to[address]
	s.mu.Unlock()
	if to == nil {
		return nil, syscall.ECONNREFUSED
	}
	return to(ctx)
}

func (s *switchboard) connect(address, target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to[address] = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", target)
	}
}

// silent makes an address swallow what is sent to it.
func (s *switchboard) silent(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to[address] = func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

func (s *switchboard) clear() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	tried := s.tried
	s.tried = nil
	return tried
}

// attemptTimeout is long beside what a dial may take when one candidate works.
const attemptTimeout = 2 * time.Second

func newSwitchboard(t *testing.T, set ...func(*transport.Config)) (*switchboard, *transporttest.Cluster, *transporttest.Filer, *transporttest.Filer) {
	s := &switchboard{to: map[string]func(context.Context) (net.Conn, error){}}
	c := transporttest.New(t, 2, append(set, func(cfg *transport.Config) {
		cfg.Dial = s.dial
		cfg.AttemptTimeout = attemptTimeout
		cfg.Stagger = 20 * time.Millisecond
	})...)
	c.Route(c.Filers[0].ID) // only the first calls
	serveEcho(t, c.Filers[1])
	return s, c, c.Filers[0], c.Filers[1]
}

func TestOpenFindsThePathThatWorks(t *testing.T) {
	tests := []struct {
		name      string
		endpoints []string
		prepare   func(s *switchboard, a *transporttest.Filer, real string)
		at        string
	}{
		{"the first one", []string{"one:1", "two:1"}, func(s *switchboard, _ *transporttest.Filer, real string) { s.connect("one:1", real) }, "one:1"},
		{"the second, when the first refuses", []string{"none:1", "two:1"}, func(s *switchboard, _ *transporttest.Filer, real string) { s.connect("two:1", real) }, "two:1"},
		{"the last, beside silent ones", []string{"s1:1", "s2:1", "s3:1", "four:1"}, func(s *switchboard, _ *transporttest.Filer, real string) {
			s.silent("s1:1")
			s.silent("s2:1")
			s.silent("s3:1")
			s.connect("four:1", real)
		}, "four:1"},
		{"one behind another filer's address", []string{"wrong:1", "five:1"}, func(s *switchboard, a *transporttest.Filer, real string) {
			s.connect("wrong:1", a.Addr().String())
			s.connect("five:1", real)
		}, "five:1"},
		{"one without a port", []string{"six"}, func(s *switchboard, _ *transporttest.Filer, real string) { s.connect("six:7480", real) }, "six:7480"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, c, a, b := newSwitchboard(t)
			test.prepare(s, a, b.Addr().String())
			c.Route(b.ID, test.endpoints...)
			start := time.Now()
			conn, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > attemptTimeout/2 {
				t.Errorf("took %v", took)
			}
			mustSay(t, conn, test.at)
			if tried := s.clear(); tried[0] != transport.WithPort(test.endpoints[0]) || !slices.Contains(tried, test.at) {
				t.Errorf("tried %v, want %v in this order as far as %s", tried, test.endpoints, test.at)
			}
			again, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
			if err != nil {
				t.Fatal(err)
			}
			mustSay(t, again, "by the same link")
			if tried := s.clear(); slices.Contains(tried, test.at) {
				t.Errorf("the second time dialled %v although there is a link", tried)
			}
		})
	}
}

// Addresses that are no paths are tried while there is no other, and are left when
// there is.
func TestSpareAddressesServeUntilAPathWorks(t *testing.T) {
	s, c, a, b := newSwitchboard(t, func(cfg *transport.Config) {
		cfg.Spare = func(id netquorum.FilerID) []string { return []string{"spare:1"} }
	})
	s.connect("spare:1", b.Addr().String())
	c.Route(b.ID, "path:1")
	conn, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "by the spare address")
	s.connect("path:1", b.Addr().String())
	a.Wake()
	transporttest.Eventually(t, "the carrier of the path to be the only one", func() bool {
		ps := pathsOf(a, b.ID)
		return len(ps) == 1 && ps[0].Dialled == "path:1" && ps[0].State == "up"
	})
	mustSay(t, conn, "by the path")
}

// pathsOf are the paths of the link to a filer.
func pathsOf(f *transporttest.Filer, to netquorum.FilerID) []transport.PathStatus {
	for _, l := range f.Links() {
		if l.Filer == to {
			return l.Paths
		}
	}
	return nil
}

func TestOpenSaysWhatItTried(t *testing.T) {
	s, c, a, b := newSwitchboard(t)
	s.silent("dark:1")
	c.Route(b.ID, "none:1", "dark:1")
	_, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control)
	var failed *transport.DialError
	if !errors.As(err, &failed) || len(failed.Attempts) != 2 {
		t.Fatalf("got %v, want a DialError with two attempts", err)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not unwrap to both causes", err)
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("%v is no failed dial for package net", err)
	}
	for _, part := range []string{string(b.ID), string(echo), "none:1", "dark:1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	c.Route(b.ID)
	if _, err := a.Open(within(t, 5*time.Second), b.ID, echo, link.Control); !errors.Is(err, transport.ErrNoEndpoints) {
		t.Errorf("without endpoints: %v", err)
	}
	if st := a.Stats(); st.Dials != 2 || st.DialsFailed != 2 || st.Attempts != 2 {
		t.Errorf("counted %+v", st)
	}
}

func TestOpenEndsWithItsContextAndLeavesNothing(t *testing.T) {
	s, c, a, b := newSwitchboard(t)
	for _, address := range []string{"s1:1", "s2:1", "s3:1"} {
		s.silent(address)
	}
	c.Route(b.ID, "s1:1", "s2:1", "s3:1")
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := a.Open(ctx, b.ID, echo, link.Control)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no time-out for net.Error", err)
	}
	if took := time.Since(start); took > attemptTimeout/2 {
		t.Errorf("took %v", took)
	}
	settled(t, before)
}

func TestWithPort(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.1.2":      "10.1.1.2:7480",
		"10.1.1.2:99":   "10.1.1.2:99",
		"fe80::1":       "[fe80::1]:7480",
		"[fe80::1]":     "[fe80::1]:7480",
		"[fe80::1]:99":  "[fe80::1]:99",
		"fe80::1%mgmt0": "[fe80::1%mgmt0]:7480",
		"filer1":        "filer1:7480",
	} {
		if got := transport.WithPort(in); got != want {
			t.Errorf("WithPort(%q) = %q, want %q", in, got, want)
		}
	}
}
