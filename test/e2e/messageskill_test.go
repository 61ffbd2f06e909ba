package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/netquorum/netquorum/api"
)

// The daemons of a sender and of a receiver are killed again and again. No message
// is lost, each has one completion, and one is handled again only when the
// receiver's daemon was killed before it said that the message's end is on disk.
func TestLabMessagesSurviveKilledDaemons(t *testing.T) {
	messages, lasts := 1000, 3500*time.Millisecond
	if longMessages {
		messages, lasts = 10_000, time.Minute
	}
	rng := seeded(t)
	c := formed(t, "single-nic")
	const sender, receiver = "filer1", "filer2"
	p := newPost(c, sender)
	p.takes = 5 * time.Millisecond // so that some are at it when the daemon is killed
	p.serve(receiver, "served")
	acknowledged := p.hold(receiver, "held")

	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var sending sync.WaitGroup
	sending.Go(func() {
		defer stop()
		tick := time.NewTicker(lasts / time.Duration(messages))
		defer tick.Stop()
		for i := range messages {
			service := []string{"served", "held"}[i%2]
			p.send(api.MessageTarget{Service: service, Filer: receiver}, fmt.Sprint(service, i/2%7), i/2%7 == 3)
			<-tick.C
		}
	})
	kills := map[string]int{}
	for ctx.Err() == nil {
		which := [][]string{{sender}, {receiver}, {sender, receiver}}[rng.IntN(3)]
		<-time.After(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
		for _, filer := range which {
			c.must(c.KillDaemon(filer))
			kills[filer]++
		}
		for _, filer := range which {
			c.must(c.StartDaemon(filer))
		}
		for _, filer := range which {
			up, cancel := context.WithTimeout(t.Context(), patience())
			c.must(c.AwaitDaemon(up, filer))
			cancel()
		}
	}
	sending.Wait()
	p.completed()
	t.Logf("%d messages; the sender's daemon was killed %d times, the receiver's %d times; %d messages were handled again, none of the %d after its end was acknowledged",
		len(p.sent), kills[sender], kills[receiver], p.again, acknowledged())
	for service, connections := range p.used {
		if len(connections) > kills[receiver]+1 { // what comes over another one may come again
			t.Errorf("the messages of %s came over %d connections", service, len(connections))
		}
	}
	if kills[sender] == 0 || kills[receiver] == 0 {
		t.Error("a daemon was never killed: the test shows nothing")
	}
}

// hold is serve without the Go client's handlers: it knows which messages' ends
// were acknowledged to it, that is, are on disk. Those must not come again. It
// returns how many they are.
func (p *post) hold(filer, service string) (acknowledged func() int) {
	p.c.t.Helper()
	daemon := p.c.client(filer)
	ctx, cancel := context.WithCancel(p.c.t.Context())
	var mu sync.Mutex
	ended := map[string]bool{}
	handle := func(over connection, d api.MessageDelivery) {
		mu.Lock()
		again := ended[d.Message.ID]
		mu.Unlock()
		if again {
			p.c.t.Errorf("%s comes again after its end was acknowledged", d.Message.ID)
		}
		p.note(filer, over, d.Message, d.Body)
		<-time.After(p.takes)
		if daemon.CompleteMessage(ctx, d.Delivery, []byte(filer)) == nil {
			mu.Lock()
			ended[d.Message.ID] = true
			mu.Unlock()
		}
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			var handlers sync.WaitGroup
			connection, end := context.WithCancel(ctx)
			for d, err := range daemon.WatchService(connection, service, consumers) {
				if err == nil {
					handlers.Go(func() { handle(connection.Done(), d) })
				}
			}
			handlers.Wait()
			end()
			<-time.After(5 * time.Millisecond) // the daemon is away
		}
	})
	p.c.t.Cleanup(func() { cancel(); watching.Wait() })
	return func() int { mu.Lock(); defer mu.Unlock(); return len(ended) }
}
