package transport_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
	"github.com/netquorum/netquorum/transport/transporttest"
)

// A tape keeps what its side of a connection says.
type tape struct {
	net.Conn
	mu   sync.Mutex
	said bytes.Buffer
}

func (r *tape) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.said.Write(p)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

func (r *tape) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.said.Bytes())
}

// A victim is a filer of a cluster that a mallory attacks, with another filer
// whose link must not suffer.
type victim struct {
	t      *testing.T
	filer  *transporttest.Filer
	honest net.Conn
	good   tls.Certificate // with which mallory is a member
	dial   func() net.Conn // one more carrier of the kind that is attacked
	leak   func()
	rest   time.Duration // after which no more carriers of the honest link come
	// late says that connections are seen late, or never if they end at once, and
	// that the honest link may get a new carrier at any time: on a slow machine.
	late bool
}

// newVictim makes a victim that is attacked by TCP.
func newVictim(t *testing.T) *victim {
	v := newVictimWith(t, func(*transport.Config) {})
	v.rest = 50 * time.Millisecond
	v.dial = func() net.Conn {
		t.Helper()
		raw, err := net.Dial("tcp", v.filer.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		return raw
	}
	return v
}

func newVictimWith(t *testing.T, set func(*transport.Config)) *victim {
	t.Helper()
	c := transporttest.New(t, 2, func(cfg *transport.Config) { cfg.HandshakeTimeout = time.Second }, set)
	serveEcho(t, c.Filers[1])
	conn, err := c.Filers[0].Open(within(t, 20*time.Second), c.Filers[1].ID, echo, link.Control)
	if err != nil {
		t.Fatal(err)
	}
	ours := newForge(t, c.Authority)
	v := &victim{t: t, filer: c.Filers[1], honest: conn,
		good: ours.issue(t, nil, "netquorum:filer:mallory", "netquorum:cluster:"+ours.id)}
	mustSay(t, conn, "before")
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	v.leak = func() {
		t.Helper()
		transporttest.Eventually(t, "nothing is left of the attack", func() bool {
			return v.filer.Stats().HalfOpen == 0 && runtime.NumGoroutine() <= goroutines+2 && openFiles(t) <= files+2
		})
		mustSay(t, conn, "after")
	}
	return v
}

func (v *victim) refused() (n uint64) {
	for _, k := range v.filer.Stats().Refused {
		n += k
	}
	return n
}

// linked reports whether mallory has got a link.
func (v *victim) linked() bool {
	return slices.ContainsFunc(v.filer.Links(), func(l transport.LinkStatus) bool { return l.Filer == "mallory" && l.Up })
}

// settled waits until the honest filer has all its carriers, and returns how many
// connections have been established.
func (v *victim) settled() (n uint64) {
	v.t.Helper()
	since := time.Now()
	transporttest.Eventually(v.t, "the honest link to have its carriers", func() bool {
		if now := v.filer.Stats().Established; now != n {
			n, since = now, time.Now()
		}
		return time.Since(since) > v.rest
	})
	return n
}

// record returns what a member says in a good handshake, and the ends of its
// writes.
func (v *victim) record() []byte {
	v.t.Helper()
	raw := &tape{Conn: v.dial()}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocolLink}, Certificates: []tls.Certificate{v.good}})
	if err := conn.Handshake(); err != nil {
		v.t.Fatal(err)
	}
	return raw.bytes()
}

// What a member said in a handshake opens nothing when it is said again: the keys
// of each handshake are new.
func TestAReplayedHandshakeIsRefused(t *testing.T) { newVictim(t).replayed(t) }

func (v *victim) replayed(t *testing.T) {
	established := v.settled()
	said := v.record()
	transporttest.Eventually(t, "the recorded one is through", func() bool { return v.filer.Stats().Established == established+1 })
	before := v.refused()
	for range 20 {
		raw := v.dial()
		if _, err := raw.Write(said); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, raw)
		raw.Close()
	}
	transporttest.Eventually(t, "all to be refused", func() bool { return v.refused() == before+20 })
	s := v.filer.Stats()
	if !v.late && s.Established != established+1 || s.Refused[transport.BrokenTLS] != 20 || v.linked() {
		t.Errorf("%d established, refused: %v", s.Established, s.Refused)
	}
	v.leak()
}

// A handshake that ends anywhere leaves nothing behind, whether the caller hangs
// up or falls silent.
func TestATruncatedHandshakeLeavesNothing(t *testing.T) { newVictim(t).truncated(t) }

func (v *victim) truncated(t *testing.T) {
	said := v.record()
	established := v.settled()
	rnd := rand.New(rand.NewPCG(1, 2))
	var silent []net.Conn
	before := v.refused()
	const n = 60
	for i := range n {
		raw := v.dial()
		if _, err := raw.Write(said[:rnd.IntN(len(said)-1)]); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			raw.Close()
		} else {
			silent = append(silent, raw)
		}
	}
	transporttest.Eventually(t, "all to be refused", func() bool {
		return v.refused() == before+n || v.late && v.refused() >= before+n/2 && v.filer.Stats().HalfOpen == 0
	})
	for _, raw := range silent {
		raw.Close()
	}
	s := v.filer.Stats()
	if s.Refused[transport.TimedOut] == 0 || s.Refused[transport.HungUp] == 0 || !v.late && s.Established != established || v.linked() {
		t.Errorf("%d established, refused: %v", s.Established, s.Refused)
	}
	v.leak()
}

// A member that has gone mad says what no version says. Its connection ends, and
// nothing else does.
func TestMalformedFramesOfAMemberEndItsConnectionOnly(t *testing.T) { newVictim(t).malformed(t) }

func (v *victim) malformed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	frame := func(kind byte, n uint32, body ...byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, n), kind), body...)
	}
	tests := map[string][]byte{
		"noise":                              noise,
		"a frame of 4 GiB":                   frame(1, 0xffffffff, noise...),
		"a frame of nothing":                 frame(0, 0),
		"a hello that is too long":           frame(1, 60<<10, noise...),
		"data before a hello":                frame(2, 1+16+4, make([]byte, 20)...),
		"a frame of an unknown kind":         frame(200, 5, 1, 2, 3, 4),
		"a hello of another filer":           frame(1, 1+18+8, append([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, []byte("filer-1!")...)...),
		"a hello that ends within":           frame(1, 40, 0, 1),
		"nothing at all, for a whole second": nil,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			raw := v.dial()
			defer raw.Close()
			conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocolLink}, Certificates: []tls.Certificate{v.good}})
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(text); err != nil {
				t.Logf("hung up on before all was said: %v", err)
				return
			}
			// The filer may say its own hello first; then it must hang up.
			if _, err := io.Copy(io.Discard, conn); err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Fatal("the connection was not ended")
				}
			}
			mustSay(t, v.honest, "meanwhile")
		})
	}
	v.leak()
}

// Random changes to a good beginning: whatever a stranger or a member says, the
// filer stays up and forgets it.
func TestRandomNoiseOnThePortLeavesNothing(t *testing.T) { newVictim(t).noisy(t) }

func (v *victim) noisy(t *testing.T) {
	said := v.record()
	established := v.settled()
	rnd := rand.New(rand.NewPCG(5, 6))
	var silent []net.Conn
	for i := range 200 {
		text := bytes.Clone(said[:1+rnd.IntN(len(said)-1)])
		for range 1 + rnd.IntN(8) {
			text[rnd.IntN(len(text))] ^= byte(1 + rnd.IntN(255))
		}
		raw := v.dial()
		_, _ = raw.Write(text)
		if i%4 == 0 {
			silent = append(silent, raw) // the filer has to end it
			continue
		}
		raw.Close()
	}
	transporttest.Eventually(t, "the filer to hang up on all", func() bool { return v.filer.Stats().HalfOpen == 0 })
	for _, raw := range silent {
		raw.Close()
	}
	v.leak()
	if s := v.filer.Stats(); s.Established != established || v.linked() {
		t.Errorf("%d established: %s", s.Established, fmt.Sprint(s.Refused))
	}
}
