package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/netquorum/netquorum/api"
)

// mirrorRate is what a mirror sends in a second, as long as it is not held up.
const mirrorRate = 64 << 20

// A mirror sends pseudo-random bytes from a process of munich-1 to one of
// berlin-1, until it is told to end, and compares what was sent with what arrived.
type mirror struct {
	p          *partnership
	from, to   api.Stream
	end        chan struct{}
	wrote      chan error // the ends of the two sides
	read       chan error
	sent, came hash.Hash // of that side until it has ended
	sentBytes  int64

	mu      sync.Mutex
	arrived int64
	last    time.Time
	gap     time.Duration
}

// pair opens a stream of a service from munich-1 to berlin-1.
func (p *partnership) pair(service string) (from, to api.Stream) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience())
	defer cancel()
	type accepted struct {
		st   api.Stream
		from string
		err  error
	}
	got := make(chan accepted, 1)
	go func() {
		st, from, err := p.client("berlin-1").AcceptStream(ctx, service, "munich")
		got <- accepted{st, from, err}
	}()
	from, err := p.client("munich-1").OpenStream(ctx, "berlin", service)
	p.must(err)
	a := <-got
	p.must(a.err)
	if a.from != "munich" {
		p.t.Errorf("the stream is from %q", a.from)
	}
	p.t.Cleanup(func() { from.Close(); a.st.Close() })
	return from, a.st
}

// mirror begins one that sends so many bytes in a second.
func (p *partnership) mirror(service string, rate int64) *mirror {
	p.t.Helper()
	m := &mirror{
		p: p, end: make(chan struct{}), wrote: make(chan error, 1), read: make(chan error, 1),
		sent: sha256.New(), came: sha256.New(), last: time.Now(),
	}
	m.from, m.to = p.pair(service)
	go func() { m.wrote <- m.send(rate) }()
	go func() { m.read <- m.receive() }()
	return m
}

func (m *mirror) send(rate int64) error {
	source := rand.NewChaCha8([32]byte([]byte("the same bytes in every run, OK?")))
	buf := make([]byte, 256<<10)
	start, tick := time.Now(), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for {
		for m.sentBytes < rate*int64(time.Since(start))/int64(time.Second) {
			_, _ = source.Read(buf)
			m.sent.Write(buf)
			n, err := m.from.Write(buf)
			if m.sentBytes += int64(n); err != nil {
				return err
			}
			select {
			case <-m.end: // a mirror that was held up has much to catch up with
				return m.from.CloseWrite()
			default:
			}
		}
		select {
		case <-tick.C:
		case <-m.end:
			return m.from.CloseWrite()
		}
	}
}

func (m *mirror) receive() error {
	buf := make([]byte, 256<<10)
	for {
		n, err := m.to.Read(buf)
		m.came.Write(buf[:n])
		m.note(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (m *mirror) note(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.gap = max(m.gap, now.Sub(m.last))
	m.last, m.arrived = now, m.arrived+int64(n)
}

// reset begins a time of which longest tells the longest gap in what arrives.
func (m *mirror) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gap, m.last = 0, time.Now()
}

// longest is the longest time since the reset in which nothing arrived, and
// begins anew.
func (m *mirror) longest() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	gap := max(m.gap, time.Since(m.last))
	m.gap = 0
	return gap
}

// more returns a check that so much more than now has arrived.
func (m *mirror) more(n int64) func() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := m.arrived + n
	return func() error {
		select {
		case err := <-m.wrote:
			m.p.t.Fatalf("the writer has ended: %v", err)
		case err := <-m.read:
			m.p.t.Fatalf("the reader has ended: %v", err)
		default:
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.arrived < want {
			return fmt.Errorf("%d bytes of %d have arrived", m.arrived, want)
		}
		return nil
	}
}

// flows waits until a second's worth and more has arrived.
func (m *mirror) flows() {
	m.p.t.Helper()
	m.p.await("the mirror goes on", patience(), m.more(8<<20))
}

// finish ends the mirror, and returns how many bytes arrived. Every one must have,
// once and in order.
func (m *mirror) finish() int64 {
	m.p.t.Helper()
	close(m.end)
	m.p.must(m.ended("writer", m.wrote))
	m.p.must(m.ended("reader", m.read))
	if m.arrived != m.sentBytes || [32]byte(m.came.Sum(nil)) != [32]byte(m.sent.Sum(nil)) {
		m.p.t.Errorf("%d bytes arrived, %d were sent, and they are not the same", m.arrived, m.sentBytes)
	}
	m.p.must(m.to.Close())
	m.p.must(m.from.Close())
	return m.arrived
}

var errGoesOn = errors.New("it goes on")

// ended waits for the end of one side, and returns how it ended.
func (m *mirror) ended(side string, end chan error) error {
	m.p.t.Helper()
	select {
	case err := <-end:
		if err != nil {
			err = fmt.Errorf("the mirror's %s: %w", side, err)
		}
		return err
	case <-time.After(patience()):
		return fmt.Errorf("the mirror's %s: %w", side, errGoesOn)
	}
}
