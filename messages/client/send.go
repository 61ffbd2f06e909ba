package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

// A Message is what is sent.
type Message struct {
	To api.MessageTarget
	// Key makes the message one, however often it is sent with it, also by the
	// client's next process. One is made up when it is empty: then it is one for
	// as long as this process lives.
	Key string
	// Stream is a name within which messages to one target are handled in the
	// order in which Go was called, one after the other.
	Stream string
	Bulk   bool     // it may take its time
	Trace  trace.ID // that of the context when it is 0
	// Discard says that nobody wants the completion: the Sent is done when the
	// message is on disk.
	Discard bool
	Body    []byte
	// Open, when it is set, is the body instead, of any size: it is read without
	// being held in memory, and opened again if it has to be sent again. The size
	// is -1 when it is not known.
	Open func() (body io.ReadCloser, size int64, err error)
}

// A line is what messages are sent within one after the other.
type line struct {
	to     api.MessageTarget
	stream string
	bulk   bool
}

// A queue holds the messages of a line that are not sent yet.
type queue struct{ waiting []*Sent }

// A Sent is a message on its way.
type Sent struct {
	ctx     context.Context
	message Message
	then    func(*Sent)

	durable chan struct{}
	done    chan struct{}
	id      string
	err     error // why it was not sent, or how it ended
	result  api.Completion
}

// Durable is closed when the message is on this filer's disk, or could not be
// sent.
func (s *Sent) Durable() <-chan struct{} { return s.durable }

// Done is closed when the message has been handled, or will not be.
func (s *Sent) Done() <-chan struct{} { return s.done }

// ID is the message's id, once it is durable; empty when it was not sent.
func (s *Sent) ID() string { <-s.durable; return s.id }

// Result waits for Done. The error is why the message was not sent, or
// api.ErrFailed with the handler's words.
func (s *Sent) Result() (api.Completion, error) { <-s.done; return s.result, s.err }

func (s *Sent) finish(c api.Completion, err error) {
	s.result, s.err = c, err
	select {
	case <-s.durable:
	default:
		close(s.durable)
	}
	close(s.done)
	if s.then != nil {
		s.then(s)
	}
}

// Go sends a message and returns at once. The context is for sending: while the
// daemon is away or its outbox is full the message waits in memory. then, if it is
// not nil, is called when the Sent is done, and must return soon.
func (c *Client) Go(ctx context.Context, m Message, then func(*Sent)) *Sent {
	if m.Key == "" {
		m.Key = uuid.NewString()
	}
	m.Trace = cmp.Or(m.Trace, trace.From(ctx))
	s := &Sent{ctx: ctx, message: m, then: then, durable: make(chan struct{}), done: make(chan struct{})}
	l := line{m.To, m.Stream, m.Bulk}
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		s.finish(api.Completion{}, ErrClosed)
		return s
	case c.queued >= c.cfg.MaxQueue:
		c.mu.Unlock()
		s.finish(api.Completion{}, fmt.Errorf("%w: %d messages wait to be sent", api.ErrFull, c.cfg.MaxQueue))
		return s
	}
	defer c.mu.Unlock()
	c.queued++
	if q := c.lines[l]; q != nil {
		q.waiting = append(q.waiting, s)
		return s
	}
	q := &queue{waiting: []*Sent{s}}
	c.lines[l] = q
	c.wg.Go(func() { c.drain(l, q) })
	if !m.Discard && !c.listening {
		c.listening = true
		c.wg.Go(c.listen)
	}
	return s
}

// drain sends a line's messages until there are none.
func (c *Client) drain(l line, q *queue) {
	for {
		c.mu.Lock()
		if len(q.waiting) == 0 {
			delete(c.lines, l)
			c.mu.Unlock()
			return
		}
		s := q.waiting[0]
		q.waiting = q.waiting[1:]
		c.queued--
		if !s.message.Discard {
			c.sending[s.message.Key]++
		}
		c.mu.Unlock()
		c.sent(s, c.deliver(s))
	}
}

// An outcome is what became of sending.
type outcome struct {
	api.SentMessage
	err error
}

// deliver hands a message to the daemon, as often as it takes.
func (c *Client) deliver(s *Sent) outcome {
	ctx, cancel := c.joined(s.ctx)
	defer cancel()
	wait := c.pause()
	for {
		sent, err := c.attempt(ctx, s.message)
		switch {
		case err == nil:
			return outcome{SentMessage: sent}
		case ctx.Err() != nil:
			return outcome{err: errors.Join(context.Cause(ctx), err)}
		case !passing(err):
			return outcome{err: err}
		}
		c.log.Debug("a message is sent again", "to", s.message.To.String(), "key", s.message.Key, "error", err)
		if cause := wait.wait(ctx); cause != nil {
			return outcome{err: errors.Join(cause, err)}
		}
	}
}

func (c *Client) attempt(ctx context.Context, m Message) (api.SentMessage, error) {
	o := api.OutgoingMessage{To: m.To, Key: m.Key, Stream: m.Stream, Priority: api.PriorityControl, Trace: m.Trace, Discard: m.Discard,
		Body: bytes.NewReader(m.Body), Size: int64(len(m.Body))}
	if m.Bulk {
		o.Priority = api.PriorityBulk
	}
	if m.Open != nil {
		body, size, err := m.Open()
		if err != nil {
			return api.SentMessage{}, err
		}
		defer body.Close()
		o.Body, o.Size = body, size
	}
	return c.api.SendMessage(ctx, c.cfg.Name, o)
}

// sent follows an attempt to send: the completion may have come already.
func (c *Client) sent(s *Sent, o outcome) {
	id, err := o.ID, o.err
	if s.message.Discard || err != nil {
		if !s.message.Discard {
			c.mu.Lock()
			c.settled(s.message.Key)
			c.mu.Unlock()
		}
		s.id = id
		s.finish(api.Completion{}, err)
		return
	}
	s.id = id
	c.mu.Lock()
	done, came := c.early[id]
	if !came {
		c.waiting[id] = append(c.waiting[id], s)
	}
	if c.settled(s.message.Key); c.sending[s.message.Key] == 0 {
		delete(c.early, id)
	}
	// Not before it waits: who is told may have it handled at once. And not after
	// the lock: whoever finishes it then would close the channel too.
	close(s.durable)
	c.mu.Unlock()
	switch {
	case came:
		s.finish(done, done.Err())
		c.acknowledge(id)
	case o.Repeated:
		c.spawn(func() { c.recall(s) })
	}
}

// recall looks for the completion of a message that was sent before, perhaps by an
// earlier process: it may have come long ago.
func (c *Client) recall(s *Sent) {
	wait := c.pause()
	for {
		ctx, cancel := context.WithTimeout(c.life, recallTime)
		done, err := c.api.Completion(ctx, s.id)
		cancel()
		switch {
		case err == nil:
			c.completed(done)
			return
		case errors.Is(err, api.ErrNotFound):
			c.mu.Lock()
			open := c.waiting[s.id]
			delete(c.waiting, s.id)
			c.mu.Unlock()
			for _, s := range open {
				s.finish(api.Completion{}, fmt.Errorf("the message with the key %s was handled before, and its completion acknowledged: %w", s.message.Key, err))
			}
			return
		case errors.Is(err, api.ErrTimeout): // it is pending: its completion will come
			return
		}
		if wait.wait(c.life) != nil {
			return
		}
	}
}

// recallTime is how long a completion is looked for that may be there.
const recallTime = 2 * time.Second

// settled counts one message less whose id is not known. When there is none,
// completions that nobody waits for are those of others. The caller holds mu.
func (c *Client) settled(key string) {
	if c.sending[key]--; c.sending[key] == 0 {
		delete(c.sending, key)
	}
	if len(c.sending) == 0 {
		clear(c.early)
	}
}

// Send sends a message and returns when it is on this filer's disk.
func (c *Client) Send(ctx context.Context, m Message) (*Sent, error) {
	s := c.Go(ctx, m, nil)
	<-s.Durable()
	if s.id == "" {
		return s, s.err
	}
	return s, nil
}

// Call sends a message and waits until it has been handled. When the context ends
// before, the message stays, and its completion goes to the Sent that is returned.
func (c *Client) Call(ctx context.Context, m Message) (api.Completion, *Sent, error) {
	s := c.Go(ctx, m, nil)
	select {
	case <-s.Done():
		return s.result, s, s.err
	case <-ctx.Done():
		return api.Completion{}, s, fmt.Errorf("%w: the message to %s is not completed yet: %w", api.ErrTimeout, m.To, context.Cause(ctx))
	}
}
