package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/trace"
)

// An Incoming is a message that a handler is given.
type Incoming struct {
	api.IncomingMessage
	client   *api.Client
	delivery api.MessageDelivery
}

// Open returns the body from its beginning, whatever its size. The caller closes
// it.
func (m *Incoming) Open(ctx context.Context) (io.ReadCloser, error) {
	return m.client.DeliveryBody(ctx, m.delivery)
}

// Body returns the whole body, if it has at most limit bytes; api.ErrTooLarge
// otherwise.
func (m *Incoming) Body(ctx context.Context, limit int64) ([]byte, error) {
	if m.Size > limit {
		return nil, fmt.Errorf("%w: a body of %d bytes where %d are expected at most", api.ErrTooLarge, m.Size, limit)
	}
	r, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, limit))
}

// A Handler handles one message. When it returns, the message is completed with its
// answer, of at most 64 KiB, or its error. It is called again, here or in another
// process, when that was not heard of by the daemon: at least once.
//
// The context carries the message's trace id, and what is sent with it does too.
// It ends when the connection to the daemon does: then the message is given to
// another consumer.
type Handler func(ctx context.Context, m *Incoming) (answer []byte, err error)

// ErrLater, wrapped by a handler's error, gives the message back instead of
// failing it: it comes again, after a moment.
var ErrLater = errors.New("try again later")

// Serve handles a service's messages, up to concurrency of them at a time, until
// the context ends; messages of one stream one after the other. It finds the daemon
// again when that is restarted. The error is why it cannot go on: the context's
// cause, or a refusal.
func (c *Client) Serve(ctx context.Context, service string, concurrency int, h Handler) error {
	ctx, cancel := c.joined(ctx)
	defer cancel()
	wait := c.pause()
	for {
		heard, err := c.serveOnce(ctx, service, concurrency, h)
		if heard {
			wait = c.pause()
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !passing(err):
			return fmt.Errorf("serving %s: %w", service, err)
		}
		c.log.Debug("messages are asked for again", "service", service, "error", err)
		if err := wait.wait(ctx); err != nil {
			return err
		}
	}
}

// serveOnce serves over one connection. It returns when that and all handlers have
// ended.
func (c *Client) serveOnce(ctx context.Context, service string, concurrency int, h Handler) (heard bool, err error) {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for d, err := range c.api.WatchService(ctx, service, concurrency) {
		if err != nil {
			return heard, err
		}
		heard = true
		handlers.Go(func() { c.handle(ctx, d, h) })
	}
	return heard, nil
}

func (c *Client) handle(ctx context.Context, d api.MessageDelivery, h Handler) {
	answer, err := h(trace.With(ctx, d.Message.Trace), &Incoming{d.Message, c.api, d})
	if ctx.Err() != nil {
		return // it is given to another when the connection ends
	}
	switch {
	case errors.Is(err, ErrLater):
		if (&pause{c.cfg.RetryMax, c.cfg.RetryMax}).wait(ctx) != nil {
			return
		}
		err = c.api.ReleaseMessage(ctx, d.Delivery)
	case err != nil:
		err = c.api.FailMessage(ctx, d.Delivery, err.Error())
	default:
		if err = c.api.CompleteMessage(ctx, d.Delivery, answer); errors.Is(err, api.ErrTooLarge) {
			err = c.api.FailMessage(ctx, d.Delivery, err.Error())
		}
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("a message was handled, and the daemon does not know: it will be handled again", "id", d.Message.ID, "error", err)
	}
}
