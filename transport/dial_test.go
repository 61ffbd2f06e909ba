package transport_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// A switchboard stands in for the network: what is dialled goes where it says,
// and it remembers in which order addresses were tried.
type switchboard struct {
	mu    sync.Mutex
	to    map[string]func(ctx context.Context) (net.Conn, error)
	tried []string
}

func (s *switchboard) dial(ctx context.Context, _, address string) (net.Conn, error) {
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

func newSwitchboard(t *testing.T) (*switchboard, *transporttest.Cluster, *transporttest.Filer, *transporttest.Filer) {
	s := &switchboard{to: map[string]func(context.Context) (net.Conn, error){}}
	c := transporttest.New(t, 2, func(cfg *transport.Config) {
		cfg.DialContext = s.dial
		cfg.AttemptTimeout = attemptTimeout
		cfg.Stagger = 20 * time.Millisecond
	})
	serveEcho(t, c.Filers[1])
	return s, c, c.Filers[0], c.Filers[1]
}

func TestDialFindsTheAddressThatWorks(t *testing.T) {
	s, c, a, b := newSwitchboard(t)
	real := b.Addr().String()
	tests := []struct {
		name      string
		endpoints []string
		prepare   func()
		at        string
	}{
		{"the first one", []string{"one:1", "two:1"}, func() { s.connect("one:1", real) }, "one:1"},
		{"the second, when the first refuses", []string{"none:1", "two:1"}, func() { s.connect("two:1", real) }, "two:1"},
		{"the last, beside silent ones", []string{"s1:1", "s2:1", "s3:1", "four:1"}, func() {
			s.silent("s1:1")
			s.silent("s2:1")
			s.silent("s3:1")
			s.connect("four:1", real)
		}, "four:1"},
		{"one behind another filer's address", []string{"wrong:1", "five:1"}, func() {
			s.connect("wrong:1", a.Addr().String())
			serveEcho(t, a)
			s.connect("five:1", real)
		}, "five:1"},
		{"one without a port", []string{"six"}, func() { s.connect("six:7480", real) }, "six:7480"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.prepare()
			c.Route(b.ID, test.endpoints...)
			s.clear()
			start := time.Now()
			conn, err := a.Dial(within(t, 5*time.Second), b.ID, echo)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if took := time.Since(start); took > attemptTimeout/2 {
				t.Errorf("took %v", took)
			}
			mustSay(t, conn, test.at)
			if tried := s.clear(); tried[0] != transport.WithPort(test.endpoints[0]) || !slices.Contains(tried, test.at) {
				t.Errorf("tried %v, want %v in this order as far as %s", tried, test.endpoints, test.at)
			}
			again, err := a.Dial(within(t, 5*time.Second), b.ID, echo)
			if err != nil {
				t.Fatal(err)
			}
			again.Close()
			if tried := s.clear(); tried[0] != test.at {
				t.Errorf("the second time tried %v, want %s first", tried, test.at)
			}
		})
	}
}

func TestDialSaysWhatItTried(t *testing.T) {
	s, c, a, b := newSwitchboard(t)
	s.silent("dark:1")
	c.Route(b.ID, "none:1", "dark:1")
	_, err := a.Dial(within(t, 5*time.Second), b.ID, echo)
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
	if _, err := a.Dial(within(t, 5*time.Second), b.ID, echo); !errors.Is(err, transport.ErrNoEndpoints) {
		t.Errorf("without endpoints: %v", err)
	}
	if st := a.Stats(); st.Dials != 2 || st.DialsFailed != 2 || st.Attempts != 2 {
		t.Errorf("counted %+v", st)
	}
}

func TestDialEndsWithItsContextAndLeavesNothing(t *testing.T) {
	s, c, a, b := newSwitchboard(t)
	for _, address := range []string{"s1:1", "s2:1", "s3:1"} {
		s.silent(address)
	}
	c.Route(b.ID, "s1:1", "s2:1", "s3:1")
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := a.Dial(ctx, b.ID, echo)
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

// Both candidates answer at the same instant: one connection is returned, the
// other must not stay open.
func TestTheLoserOfADialIsClosed(t *testing.T) {
	s, c, a, b := newSwitchboard(t)
	var both sync.WaitGroup
	both.Add(2)
	for _, address := range []string{"one:1", "two:1"} {
		s.connect(address, b.Addr().String())
		plain := s.to[address]
		s.to[address] = func(ctx context.Context) (net.Conn, error) {
			both.Done()
			both.Wait()
			return plain(ctx)
		}
	}
	c.Route(b.ID, "one:1", "two:1")
	conn, err := a.Dial(within(t, 5*time.Second), b.ID, echo)
	if err != nil {
		t.Fatal(err)
	}
	mustSay(t, conn, "winner")
	transporttest.Eventually(t, "one connection to remain", func() bool {
		return a.Stats().Open == 1 && b.Stats().Open <= 1
	})
	conn.Close()
	transporttest.Eventually(t, "none to remain", func() bool {
		return a.Stats().Open == 0 && b.Stats().Open == 0
	})
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
