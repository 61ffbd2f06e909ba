package api

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/netquorum/netquorum/trace"
)

// SendMessage sends a message for a client of this filer. When it returns, the
// message is on the filer's disk. After ErrUnknownOutcome it may or may not have
// been sent: send it again with the same key.
func (c *Client) SendMessage(ctx context.Context, client string, m OutgoingMessage) (s SentMessage, err error) {
	q := targetQuery(m.To)
	q.Set("client", client)
	for name, value := range map[string]string{"key": m.Key, "stream": m.Stream, "priority": string(m.Priority)} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if id := cmp.Or(m.Trace, trace.From(ctx)); id != 0 {
		q.Set("trace", id.String())
	}
	if m.Discard {
		q.Set("discard", "true")
	}
	if left, ok := timeLeft(ctx); ok {
		q.Set("timeout", left.String())
	}
	size := m.Size
	if m.Body == nil {
		size = 0
	}
	return s, c.exchange(ctx, "POST", "/v1/messages", q, m.Body, size, typeOctets, &s)
}

// exchange sends a request with a body of any size, and decodes its answer, if
// there is one and out is not nil.
func (c *Client) exchange(ctx context.Context, method, path string, q url.Values, body io.Reader, size int64, contentType string, out any) error {
	resp, err := c.stream(ctx, method, path, q, body, size, contentType, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxApply))
	if err != nil {
		return c.failure(ctx, method, err)
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	return c.decode(text, out)
}

func targetQuery(t MessageTarget) url.Values {
	q := url.Values{"service": {t.Service}}
	if t.Filer != "" {
		q.Set("filer", t.Filer)
	}
	if t.VServer != "" {
		q.Set("vserver", t.VServer)
	}
	return q
}

// PendingMessages lists the client's messages that have no completion, the oldest
// first, 1000 at most.
func (c *Client) PendingMessages(ctx context.Context, client string) ([]PendingMessage, error) {
	var l PendingList
	err := c.get(ctx, "/v1/messages", url.Values{"client": {client}}, &l)
	return l.Pending, err
}

// MessageStatus asks what this filer holds of messages.
func (c *Client) MessageStatus(ctx context.Context) (st MessageStatus, err error) {
	return st, c.get(ctx, "/v1/messages/status", nil, &st)
}

// ResendMessages asks again what became of the client's pending messages.
func (c *Client) ResendMessages(ctx context.Context, client string) error {
	return c.send(ctx, "POST", "/v1/messages/resend", url.Values{"client": {client}}, nil, nil)
}

// WithdrawMessage gives a pending message up. ErrNotFound when there is none.
func (c *Client) WithdrawMessage(ctx context.Context, id string) error {
	return c.send(ctx, "DELETE", "/v1/messages/sent/"+url.PathEscape(id), nil, nil, nil)
}

// Completion waits for the completion of a message, until the context ends:
// ErrTimeout then. ErrNotFound when the message is unknown, or its completion was
// acknowledged.
func (c *Client) Completion(ctx context.Context, id string) (done Completion, err error) {
	return done, c.exchange(ctx, "GET", "/v1/messages/sent/"+url.PathEscape(id), waitQuery(ctx), nil, 0, "", &done)
}

// waitQuery lets a long poll last as long as the context.
func waitQuery(ctx context.Context) url.Values {
	left, ok := timeLeft(ctx)
	if !ok {
		left = 24 * time.Hour
	}
	return url.Values{"wait": {left.String()}}
}

// Completions reads up to limit completions of a client after a position; it waits
// while there are none.
func (c *Client) Completions(ctx context.Context, client string, after uint64, limit int, wait time.Duration) ([]Completion, error) {
	q := url.Values{"client": {client}, "after": {strconv.FormatUint(after, 10)}, "wait": {wait.String()}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var l CompletionList
	err := c.exchange(ctx, "GET", "/v1/messages/completions", q, nil, 0, "", &l)
	return l.Completions, err
}

// WatchCompletions yields a client's completions after a position as they come.
// The last value has the error that ended it.
func (c *Client) WatchCompletions(ctx context.Context, client string, after uint64) iter.Seq2[Completion, error] {
	q := url.Values{"client": {client}, "after": {strconv.FormatUint(after, 10)}}
	return contents(watch(ctx, c, "/v1/messages/completions/watch", q, func(e CompletionEvent) *Error { return e.Error }),
		func(e CompletionEvent) *Completion { return e.Completion })
}

// contents takes what events are about out of them.
func contents[E, T any](events iter.Seq2[E, error], of func(E) *T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for e, err := range events {
			var none T
			if err != nil {
				yield(none, err)
				return
			}
			if v := of(e); v != nil && !yield(*v, nil) {
				return
			}
		}
	}
}

// AcknowledgeCompletions forgets completions that were seen.
func (c *Client) AcknowledgeCompletions(ctx context.Context, a Acknowledgement) error {
	return c.send(ctx, "POST", "/v1/messages/completions/acknowledge", nil, a, nil)
}

func servicePath(service, what string) string {
	return "/v1/messages/services/" + url.PathEscape(service) + "/" + what
}

// ReceiveMessage waits for the next message of a service until the context ends,
// and holds it for a time; a minute when it is 0. ErrTimeout when none came.
func (c *Client) ReceiveMessage(ctx context.Context, service string, hold time.Duration) (d MessageDelivery, err error) {
	q := waitQuery(ctx)
	if hold != 0 {
		q.Set("hold", hold.String())
	}
	err = c.exchange(ctx, "POST", servicePath(service, "receive"), q, nil, 0, "", &d)
	if err == nil && d.Delivery == "" {
		err = Refuse(ErrTimeout, "no message for "+service+" came in time", nil)
	}
	return d, err
}

// WatchService yields a service's messages as they come, up to window of them at a
// time. They are held while it runs; when it ends, those that were not ended are
// given to others.
func (c *Client) WatchService(ctx context.Context, service string, window int) iter.Seq2[MessageDelivery, error] {
	q := url.Values{"window": {strconv.Itoa(max(window, 1))}}
	return contents(watch(ctx, c, servicePath(service, "watch"), q, func(e DeliveryEvent) *Error { return e.Error }),
		func(e DeliveryEvent) *MessageDelivery { return e.Delivery })
}

func deliveryPath(delivery, what string) string {
	return "/v1/messages/deliveries/" + url.PathEscape(delivery) + "/" + what
}

// DeliveryBody returns the body of a message that is held, of any size; the caller
// closes it. One that ends early is io.ErrUnexpectedEOF.
func (c *Client) DeliveryBody(ctx context.Context, d MessageDelivery) (io.ReadCloser, error) {
	if int64(len(d.Body)) == d.Message.Size {
		return io.NopCloser(bytes.NewReader(d.Body)), nil
	}
	resp, err := c.stream(ctx, "GET", deliveryPath(d.Delivery, "body"), nil, nil, 0, "", "")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// CompleteMessage ends a message with an answer, which is on disk when it returns.
func (c *Client) CompleteMessage(ctx context.Context, delivery string, answer []byte) error {
	return c.exchange(ctx, "POST", deliveryPath(delivery, "complete"), nil, bytes.NewReader(answer), int64(len(answer)), typeOctets, nil)
}

// FailMessage ends a message with a failure; it is not handled again.
func (c *Client) FailMessage(ctx context.Context, delivery, reason string) error {
	return c.exchange(ctx, "POST", deliveryPath(delivery, "fail"), nil, bytes.NewReader([]byte(reason)), int64(len(reason)), typeText, nil)
}

// ReleaseMessage gives a message back, for whoever receives next.
func (c *Client) ReleaseMessage(ctx context.Context, delivery string) error {
	return c.send(ctx, "POST", deliveryPath(delivery, "release"), nil, nil, nil)
}

// ExtendMessage holds a message for so long from now on.
func (c *Client) ExtendMessage(ctx context.Context, delivery string, hold time.Duration) (e Extension, err error) {
	return e, c.send(ctx, "POST", deliveryPath(delivery, "extend"), url.Values{"hold": {hold.String()}}, nil, &e)
}

// MessageTarget tells whether somebody handles messages for a target now.
func (c *Client) MessageTarget(ctx context.Context, t MessageTarget) (st TargetState, err error) {
	return st, c.get(ctx, "/v1/messages/target", targetQuery(t), &st)
}

// WatchTarget yields the state of a target, now and whenever it changes. The last
// value has the error that ended it.
func (c *Client) WatchTarget(ctx context.Context, t MessageTarget) iter.Seq2[TargetState, error] {
	return contents(watch(ctx, c, "/v1/messages/target/watch", targetQuery(t), func(e TargetEvent) *Error { return e.Error }),
		func(e TargetEvent) *TargetState { return e.Target })
}

// ParseMessageTarget reads SERVICE@VSERVER and SERVICE@filer:NAME.
func ParseMessageTarget(s string) (MessageTarget, error) {
	t := MessageTarget{Service: s}
	if service, place, ok := strings.Cut(s, "@"); ok {
		t.Service = service
		if filer, isFiler := strings.CutPrefix(place, "filer:"); isFiler {
			t.Filer = filer
		} else {
			t.VServer = place
		}
	}
	if t.Filer == "" && t.VServer == "" {
		return t, usage("%q names no place: write %s@VSERVER, or %s@filer:NAME", s, t.Service, t.Service)
	}
	return t, t.check()
}
