package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages/client"
)

// longMessages is set for the long forms of the tests of messages.
var longMessages = os.Getenv("NQ_MESSAGES_LONG") != ""

// seeded makes a test's choices; NQ_SEED has it make the same ones again.
func seeded(t *testing.T) *rand.Rand {
	s := newSeed()
	t.Logf("NQ_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// A call is one call of a handler for a message.
type call struct {
	api.IncomingMessage
	filer string
	over  connection
	at    time.Time
	n     int // of its stream: what the sender counted
}

// A connection is one between a consumer and its daemon, known by the channel that
// is closed when it ends.
type connection <-chan struct{}

// A post is one sender on a filer, and the consumers that handle what it sends,
// all through the sockets of real daemons. A stream's messages say in their bodies
// which of it they are, from 1 on.
type post struct {
	c      *cluster
	sender string // the filer
	client *client.Client
	takes  time.Duration // how long a handler works

	mu     sync.Mutex
	counts map[string]int // messages sent, by stream
	sent   []*client.Sent
	calls  map[string][]call // by id
	last   map[string]call   // by stream
	again  int               // calls that were repeated
	twice  []call            // of them, those on another filer
	// used has the connections over which a service's messages came.
	used map[string]map[connection]bool
}

// sentAs is the name that the sender's completions are kept under.
const sentAs = "mxa"

func newPost(c *cluster, sender string) *post {
	c.t.Helper()
	p := &post{
		c: c, sender: sender, client: client.New(client.Config{Socket: c.socket(sender), Name: sentAs, KeepCompletions: true}),
		counts: map[string]int{}, calls: map[string][]call{}, last: map[string]call{},
		used: map[string]map[connection]bool{},
	}
	c.t.Cleanup(p.client.Close)
	return p
}

// send sends the next message of a stream.
func (p *post) send(to api.MessageTarget, stream string, bulk bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[stream]++
	p.sent = append(p.sent, p.client.Go(p.c.t.Context(), client.Message{
		To: to, Stream: stream, Bulk: bulk, Body: []byte(strconv.Itoa(p.counts[stream])),
	}, nil))
}

// waiting is how many messages were sent and not handled yet.
func (p *post) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent) - len(p.calls)
}

// note is what every handler does. A stream's messages come in the order sent, and
// none is left out. When a connection has ended, those whose ends were not on disk
// come again, in that order too.
func (p *post) note(filer string, over connection, m api.IncomingMessage, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.c.t
	n, err := strconv.Atoi(string(body))
	now := call{m, filer, over, time.Now(), n}
	last := p.last[m.Stream]
	if err != nil || n > last.n+1 || n <= last.n && over == last.over {
		t.Errorf("stream %s: %s, its %dth, was handled after %s, the %dth", m.Stream, m.ID, n, last.ID, last.n)
	}
	if before := p.calls[m.ID]; before != nil {
		former := before[len(before)-1]
		p.again++
		if former.filer != filer {
			p.twice = append(p.twice, now)
		} else if former.over == over || !m.Redelivered {
			t.Errorf("%s was handled again by %s after %v, over another connection: %v; it says that it comes again: %v",
				m.ID, filer, now.at.Sub(former.at), former.over != over, m.Redelivered)
		}
	}
	p.last[m.Stream] = now
	p.calls[m.ID] = append(p.calls[m.ID], now)
	service := m.To.Service + " on " + filer
	if p.used[service] == nil {
		p.used[service] = map[connection]bool{}
	}
	p.used[service][over] = true
}

// serve handles a service's messages on a filer until the test ends; the answer is
// the filer's name.
func (p *post) serve(filer, service string) {
	p.c.t.Helper()
	consumer := client.New(client.Config{Socket: p.c.socket(filer)})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(p.c.t.Context())
	go func() {
		ended <- consumer.Serve(ctx, service, consumers, func(ctx context.Context, m *client.Incoming) ([]byte, error) {
			body, err := m.Body(ctx, 100)
			if err == nil {
				p.note(filer, ctx.Done(), m.IncomingMessage, body) // serving makes a context for each connection
				<-time.After(p.takes)
			}
			return []byte(filer), err
		})
	}()
	p.c.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			p.c.t.Errorf("%s stopped serving %s: %v", filer, service, err)
		}
		consumer.Close()
	})
}

// consumers is how many messages a program handles at a time.
const consumers = 64

// completed waits until every message has ended, and checks that it was handled,
// that it ended once, and that its completion says by whom. It returns how many the
// sender has given up at a host that it had lost: only those may be handled by two.
func (p *post) completed() (abandoned int) {
	t := p.c.t
	t.Helper()
	p.mu.Lock()
	sent := p.sent
	p.mu.Unlock()
	wait := time.NewTimer(patience())
	defer wait.Stop()
	for i, s := range sent {
		select {
		case <-s.Done():
		case <-wait.C:
			left, err := p.client.API().PendingMessages(t.Context(), sentAs)
			t.Fatalf("after %v, message %d of %d has no completion; %d are pending: %+v, %v", patience(), i+1, len(sent), len(left), left[:min(3, len(left))], err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	completions := map[string]int{}
	for after := uint64(0); ; {
		found, err := p.client.API().Completions(t.Context(), sentAs, after, 0, 0)
		if err != nil {
			t.Fatalf("reading the completions: %v", err)
		}
		if len(found) == 0 {
			break
		}
		for _, done := range found {
			completions[done.ID]++
			after = done.Position
		}
	}
	ids := map[string]bool{}
	for _, s := range sent {
		done, err := s.Result()
		if err != nil {
			t.Errorf("a message ended with %v", err)
			continue
		}
		calls := p.calls[done.ID]
		switch {
		case ids[done.ID]:
			t.Errorf("two messages are %s", done.ID)
		case completions[done.ID] != 1:
			t.Errorf("%s has %d completions", done.ID, completions[done.ID])
		case len(calls) == 0:
			t.Errorf("%s was completed and never handled", done.ID)
		case done.By != string(done.Answer) || done.By != calls[len(calls)-1].filer || done.Epoch != calls[len(calls)-1].Epoch:
			t.Errorf("%s was completed by %s in epoch %d with the answer of %s; the handlers' calls were %+v", done.ID, done.By, done.Epoch, done.Answer, calls)
		}
		ids[done.ID] = true
	}
	if len(completions) != len(sent) || len(p.calls) != len(sent) {
		t.Errorf("%d messages were sent, %d handled, %d completed", len(sent), len(p.calls), len(completions))
	}
	abandoned = int(p.c.metric(p.sender, `netquorum_messages_total{event="abandoned"}`))
	if len(p.twice) > abandoned {
		t.Errorf("%d messages were handled by two filers, and %d were given up at the first: %+v", len(p.twice), abandoned, p.twice[0])
	}
	return abandoned
}
