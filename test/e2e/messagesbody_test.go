package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages/client"
)

// largeBody is the size of the largest body that must not need memory, and
// moreMemory what it may need for all that.
const (
	largeBody  = 64 << 20
	moreMemory = 40_000 // kB
)

// content is a large body that anybody can make again.
func content(number int) io.Reader {
	key := [32]byte{byte(number), byte(number >> 8)}
	return io.LimitReader(rand.NewChaCha8(key), largeBody)
}

// sum reads a body to its end.
func sum(r io.Reader) (size int64, sum [sha256.Size]byte, err error) {
	h := sha256.New()
	size, err = io.CopyBuffer(h, r, make([]byte, 64<<10))
	return size, [sha256.Size]byte(h.Sum(nil)), err
}

// A carriage is a sender of large bodies, and a program on another filer that
// sums up what it gets.
type carriage struct {
	c                *cluster
	sender, receiver string
	client           *client.Client

	mu    sync.Mutex
	calls map[int]int // of the handler with a whole body, by number
}

func newCarriage(c *cluster, sender, receiver string) *carriage {
	c.t.Helper()
	b := &carriage{c: c, sender: sender, receiver: receiver, client: client.New(client.Config{Socket: c.socket(sender), Name: "carrier"}), calls: map[int]int{}}
	c.t.Cleanup(b.client.Close)
	consumer := client.New(client.Config{Socket: c.socket(receiver)})
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Serve(ctx, "body", 2, b.handle) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			c.t.Error(err)
		}
		consumer.Close()
	})
	return b
}

// handle sees a body that is whole, always: what it sees is what was sent.
func (b *carriage) handle(ctx context.Context, m *client.Incoming) ([]byte, error) {
	number, err := strconv.Atoi(m.Stream)
	if err != nil {
		return nil, err
	}
	r, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	size, got, err := sum(r)
	_, want, _ := sum(content(number))
	if err != nil || size != largeBody || got != want {
		b.c.t.Errorf("body %d: %d bytes with the sum %x, want %x: %v", number, size, got, want, err)
	}
	b.mu.Lock()
	b.calls[number]++
	b.mu.Unlock()
	return fmt.Append(nil, number), nil
}

// send sends a body under its number, which nobody else has.
func (b *carriage) send(number int) *client.Sent {
	return b.client.Go(b.c.t.Context(), client.Message{
		To: api.MessageTarget{Service: "body", Filer: b.receiver}, Stream: fmt.Sprint(number), Bulk: true,
		Open: func() (io.ReadCloser, int64, error) { return io.NopCloser(content(number)), largeBody, nil },
	}, nil)
}

// arrived waits for the end of a body.
func (b *carriage) arrived(number int, s *client.Sent) {
	t := b.c.t
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience()):
		t.Fatalf("body %d has not arrived after %v", number, patience())
	}
	if done, err := s.Result(); err != nil || !bytes.Equal(done.Answer, fmt.Append(nil, number)) {
		t.Errorf("body %d ended with %q, %v", number, done.Answer, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls[number] != 1 { // the receiver's daemon is never killed
		t.Errorf("body %d was handled %d times", number, b.calls[number])
	}
}

// A body of 64 MiB whose sender's daemon is killed while it takes it in, and while
// it sends it, is handled once and whole. Neither daemon holds it in memory.
func TestLabALargeBodyIsWholeOrNotThere(t *testing.T) {
	kills := 5
	if longMessages {
		kills = 50
	}
	rng := seeded(t)
	c := formed(t, "single-nic")
	b := newCarriage(c, "filer1", "filer2")
	memory := map[string]*memory{}
	for _, f := range []string{b.sender, b.receiver} {
		memory[f] = c.memory(f)
	}
	began := time.Now()
	b.arrived(0, b.send(0))
	takes := time.Since(began)
	alone := []int{memory[b.sender].grown(), memory[b.receiver].grown()}

	var before []int // bodies that were killed before they were on disk
	for n := 1; n <= kills; n++ {
		s := b.send(n)
		// Each part of the way has its share of the kills.
		<-time.After(takes*time.Duration(n-1)/time.Duration(kills) + time.Duration(rng.Int64N(int64(takes)/int64(kills))))
		memory[b.sender].grown()
		c.must(c.KillDaemon(b.sender))
		select {
		case <-s.Durable():
		default:
			before = append(before, n)
		}
		c.must(c.StartDaemon(b.sender))
		b.arrived(n, s)
	}
	t.Logf("a body took %v; killed %d times, %d of them before the body was on disk; to carry one undisturbed the sender needed %.1f MB and the receiver %.1f MB above idle, and with the kills at most %.1f MB and %.1f MB",
		takes.Round(time.Millisecond), kills, len(before), mb(alone[0]), mb(alone[1]), mb(memory[b.sender].grown()), mb(memory[b.receiver].grown()))
	for f, m := range memory {
		c.await(f+" keeps no body", patience(), func() error {
			files, err := os.ReadDir(filepath.Join(c.Disk(f), "netquorum", "messages", "spool"))
			if err == nil && len(files) > 0 {
				err = fmt.Errorf("%d files are in its spool", len(files))
			}
			return err
		})
		if m.most > moreMemory {
			t.Errorf("%s needed %d kB more than when idle; %d are allowed", f, m.most, moreMemory)
		}
	}
}

func mb(kb int) float64 { return float64(kb) / 1000 }

// memory is what a filer's daemon needs above what it needed at first. A daemon
// that was started again is compared with the first.
type memory struct {
	c     *cluster
	filer string
	idle  int
	most  int
}

// memory begins to watch a daemon.
func (c *cluster) memory(filer string) *memory {
	c.t.Helper()
	// 5 sets the peak back to what is in use now: see proc_pid_clear_refs(5).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.node(filer).Daemon), []byte("5"), 0); err != nil {
		c.t.Fatal(err)
	}
	m := &memory{c: c, filer: filer}
	m.idle = m.read("VmRSS")
	return m
}

// grown returns by how many kB the daemon's peak was above idle at most.
func (m *memory) grown() int {
	m.c.t.Helper()
	m.most = max(m.most, m.read("VmHWM")-m.idle)
	return m.most
}

func (m *memory) read(what string) (kb int) {
	m.c.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.c.node(m.filer).Daemon))
	if err != nil {
		m.c.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == what+":" {
			kb, err = strconv.Atoi(f[1])
			if err == nil {
				return kb
			}
		}
	}
	m.c.t.Fatalf("no %s in:\n%s", what, b)
	return 0
}

// Bodies that are on their way do not delay small messages: those do not wait for
// the end of any.
func TestLabBulkDoesNotDelayControl(t *testing.T) {
	bodies := 2
	if longMessages {
		bodies = 30
	}
	c := formed(t, "single-nic")
	b := newCarriage(c, "filer1", "filer2")
	p := newPost(c, b.sender)
	p.serve(b.receiver, "small")
	pings := 0
	ping := func() time.Duration {
		began := time.Now()
		pings++
		p.send(api.MessageTarget{Service: "small", Filer: b.receiver}, "s", false)
		select {
		case <-p.sent[len(p.sent)-1].Done():
		case <-time.After(patience()):
			t.Fatalf("a small message takes longer than %v", patience())
		}
		return time.Since(began)
	}
	var idle, busy []time.Duration
	ping() // opens the streams
	for range 200 {
		idle = append(idle, ping())
	}
	began := time.Now()
	var sent []*client.Sent
	for n := range bodies {
		sent = append(sent, b.send(n))
	}
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		for _, s := range sent {
			<-s.Done()
		}
	}()
	for going := true; going; {
		busy = append(busy, ping())
		select {
		case <-carried:
			going = false
		default:
		}
	}
	took := time.Since(began)
	for n, s := range sent {
		b.arrived(n, s)
	}
	p.completed()
	slices.Sort(idle)
	slices.Sort(busy)
	at := func(d []time.Duration, part float64) time.Duration {
		return d[int(part*float64(len(d)-1))].Round(10 * time.Microsecond)
	}
	t.Logf("a small message took %v at the median and %v at the 99th percentile of %d; beside %d bodies of 64 MiB, which took %v, %v and %v of %d: %.1f times and %.1f times",
		at(idle, 0.5), at(idle, 0.99), len(idle), bodies, took.Round(time.Millisecond), at(busy, 0.5), at(busy, 0.99), len(busy),
		float64(at(busy, 0.5))/float64(at(idle, 0.5)), float64(at(busy, 0.99))/float64(at(idle, 0.99)))
	if at(busy, 0.5) > took/time.Duration(4*bodies) {
		t.Errorf("a small message took %v at the median while a body took %v", at(busy, 0.5), took/time.Duration(bodies))
	}
}
