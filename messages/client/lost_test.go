package client

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/api/apitest"
)

// A meddler is a daemon that does something after a message is on its disk and
// before it answers.
type meddler struct {
	*apitest.Messages
	meddle func(sent api.SentMessage)
}

func (m *meddler) Send(ctx context.Context, client string, o api.OutgoingMessage) (api.SentMessage, error) {
	sent, err := m.Messages.Send(ctx, client, o)
	if err == nil {
		m.meddle(sent)
	}
	return sent, err
}

// TestASendWhoseAnswerIsLostIsOneMessage breaks every first connection before its
// answer.
func TestASendWhoseAnswerIsLostIsOneMessage(t *testing.T) {
	d := newDaemon(t)
	var mu sync.Mutex
	attempts := map[string]int{}
	d.backend = &meddler{d.messages, func(sent api.SentMessage) {
		mu.Lock()
		defer mu.Unlock()
		if attempts[sent.ID]++; attempts[sent.ID] == 1 {
			panic(http.ErrAbortHandler)
		}
	}}
	d.start()
	handled := make(chan string, 100)
	d.serve("ledger", 1, func(_ context.Context, m *Incoming) ([]byte, error) { handled <- m.ID; return nil, nil })
	c := d.client("mxa")
	for i := range 20 {
		if _, _, err := c.Call(soon(t), Message{To: here, Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(handled) != 20 || len(attempts) != 20 {
		t.Errorf("%d messages of 20 were handled, %d sent", len(handled), len(attempts))
	}
}

// TestACompletionThatOvertakesTheAnswerOfItsSendIsNotMissed holds the answer back
// until the client has the completion.
func TestACompletionThatOvertakesTheAnswerOfItsSendIsNotMissed(t *testing.T) {
	d := newDaemon(t)
	var c *Client
	d.backend = &meddler{d.messages, func(sent api.SentMessage) {
		eventually(t, "the completion to reach the client", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			_, came := c.early[sent.ID]
			return came
		})
	}}
	d.start()
	d.serve("ledger", 1, echo)
	c = d.client("mxa")
	done, _, err := c.Call(soon(t), Message{To: here, Body: []byte("x")})
	if err != nil || string(done.Answer) != "x" {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestAnAcknowledgedCompletionIsNotMissedByItsKeysSecondSender holds the answer to the
// second send with one key back until the first is over and its completion gone.
func TestAnAcknowledgedCompletionIsNotMissedByItsKeysSecondSender(t *testing.T) {
	d := newDaemon(t)
	var c *Client
	var one *Sent
	var sends atomic.Int32
	second := make(chan struct{})
	d.backend = &meddler{d.messages, func(api.SentMessage) {
		if sends.Add(1) == 1 {
			return
		}
		close(second)
		await(t, "the first's end", one.Done())
		eventually(t, "the completion to be acknowledged", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return !c.acking
		})
	}}
	d.start()
	c = d.client("mxa")
	one = c.Go(t.Context(), Message{To: here, Key: "k", Stream: "a"}, nil)
	<-one.Durable()
	other := c.Go(t.Context(), Message{To: here, Key: "k", Stream: "b"}, nil)
	await(t, "the second send", second)
	d.serve("ledger", 1, echo)
	await(t, "the second's end", other.Done())
	if _, err := other.Result(); err != nil {
		t.Error(err)
	}
}
