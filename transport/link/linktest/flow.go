package linktest

import (
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport/link"
)

// A flow is numbered messages in one direction at a steady rate. The receiver
// counts what is lost, twice or out of order, and notes the silences.
type flow struct {
	t    testing.TB
	s    *link.Stream
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
	sent uint64

	mu      sync.Mutex
	got     uint64
	last    time.Time
	longest time.Duration
}

const flowPeriod = 5 * time.Millisecond

// startFlow sends from A to B, or back.
func startFlow(t testing.TB, p *Pair, c link.Class, back bool) *flow {
	t.Helper()
	a, b := p.Streams(t, c)
	if back {
		a, b = b, a
	}
	f := &flow{t: t, s: a, stop: make(chan struct{}), last: time.Now()}
	t.Cleanup(f.halt)
	f.wg.Go(f.send)
	f.wg.Go(func() { f.receive(b) })
	return f
}

func (f *flow) send() {
	tick := time.NewTicker(flowPeriod)
	defer tick.Stop()
	defer f.s.CloseWrite()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		m := make([]byte, 200)
		binary.BigEndian.PutUint64(m, f.sent)
		if err := link.WriteMessage(f.s, m, len(m)); err != nil {
			f.t.Errorf("message %d: %v", f.sent, err)
			return
		}
		f.sent++
	}
}

func (f *flow) receive(s *link.Stream) {
	var buf []byte
	for {
		m, err := link.ReadMessage(s, buf, 200)
		if err == io.EOF {
			return
		}
		if err != nil {
			f.t.Errorf("after %d messages: %v", f.got, err)
			return
		}
		buf = m
		now := time.Now()
		f.mu.Lock()
		if n := binary.BigEndian.Uint64(m); n != f.got {
			f.t.Errorf("message %d came, want %d", n, f.got)
		}
		f.got++
		f.longest = max(f.longest, now.Sub(f.last))
		f.last = now
		f.mu.Unlock()
	}
}

// gap returns the longest silence since it was called last.
func (f *flow) gap() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := max(f.longest, time.Since(f.last))
	f.longest = 0
	return d
}

func (f *flow) received() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got
}

func (f *flow) halt() { f.once.Do(func() { close(f.stop) }) }

// end stops the flow and checks that all has arrived.
func (f *flow) end() {
	f.t.Helper()
	f.halt()
	f.wg.Wait()
	if f.got != f.sent {
		f.t.Errorf("%d messages of %d arrived", f.got, f.sent)
	}
}

// more waits until n more messages have come, or for a while.
func (f *flow) more(n uint64) {
	f.t.Helper()
	at := f.received() + n
	Eventually(f.t, "more messages", func() bool { return f.received() >= at })
}
