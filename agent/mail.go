package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages"
	"github.com/netquorum/netquorum/trace"
)

// mail answers what the local API is asked about messages, in the names that
// operators use.
type mail struct{ *Agent }

var _ api.MessagesBackend = mail{}

// open returns the filer's outbox and inbox, and its part in the cluster.
func (b mail) open() (*messages.Node, *member, error) {
	m, err := b.running()
	if err != nil {
		return nil, nil, err
	}
	node, err := b.Messages()
	return node, m, err
}

func (b mail) box(client string) (*messages.Box, *member, error) {
	node, m, err := b.open()
	if err != nil {
		return nil, nil, err
	}
	box, err := node.Box(client)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", api.ErrUsage, err)
	}
	return box, m, nil
}

// mailError puts an error of package messages into the API's words.
func mailError(err error) error {
	for of, code := range map[error]api.Code{
		messages.ErrFull: api.ErrFull, messages.ErrTooLarge: api.ErrTooLarge, messages.ErrUnknown: api.ErrNotFound,
		messages.ErrGone: api.ErrNotFound, messages.ErrServed: api.ErrServed, messages.ErrClosed: api.ErrUnreachable,
		messages.ErrDisk: api.ErrDamaged,
	} {
		if errors.Is(err, of) {
			return fmt.Errorf("%w: %w", code, err)
		}
	}
	return err
}

// target finds a target by its names, which are told apart as the cluster does.
func (m *member) target(t api.MessageTarget) (messages.Target, error) {
	config, _ := m.newest()
	out := messages.Target{Service: t.Service}
	if t.VServer != "" {
		key, err := findServer(config, t.VServer)
		out.Server = key.Name
		return out, err
	}
	if out.Filer = memberID(config, t.Filer); out.Filer == "" {
		return out, api.Refuse(api.ErrNotFound, fmt.Sprintf("the cluster has no filer %s", t.Filer), nil)
	}
	return out, nil
}

// targetName is target backwards.
func (m *member) targetName(t messages.Target) api.MessageTarget {
	out := api.MessageTarget{Service: t.Service, VServer: t.Server}
	if t.Filer != "" {
		out.Filer = m.filerName(t.Filer)
	}
	return out
}

// filerName is the name of a filer, or its id when it is no member any more.
func (m *member) filerName(id netquorum.FilerID) string {
	config, _ := m.newest()
	if name := memberName(config, id); name != "" {
		return name
	}
	return string(id)
}

// Send implements api.MessagesBackend.
func (b mail) Send(ctx context.Context, client string, o api.OutgoingMessage) (api.SentMessage, error) {
	box, m, err := b.box(client)
	if err != nil {
		return api.SentMessage{}, err
	}
	to, err := m.target(o.To)
	if err != nil {
		return api.SentMessage{}, err
	}
	msg := messages.Message{To: to, Stream: o.Stream, Trace: uint64(o.Trace), Discard: o.Discard, Body: messages.Reader(o.Body, o.Size)}
	if o.Priority == api.PriorityBulk {
		msg.Priority = messages.Bulk
	}
	var id messages.ID
	repeated := false
	if o.Key != "" {
		id, repeated, err = box.SendOnce(ctx, o.Key, msg)
	} else {
		id, err = box.Send(ctx, msg)
	}
	if err != nil {
		return api.SentMessage{}, mailError(err)
	}
	m.cfg.traces.Note(o.Trace, func() string { return fmt.Sprintf("message: %s of %s sent to %s", id, client, o.To) })
	return api.SentMessage{ID: id.String(), Incarnation: id.Incarnation.String(), Repeated: repeated}, nil
}

// Pending implements api.MessagesBackend.
func (b mail) Pending(_ context.Context, client string, limit int) ([]api.PendingMessage, error) {
	box, m, err := b.box(client)
	if err != nil {
		return nil, err
	}
	var out []api.PendingMessage
	for _, p := range box.Pending(limit) {
		one := api.PendingMessage{
			ID: p.ID.String(), To: m.targetName(p.To), Stream: p.Stream, Priority: api.MessagePriority(p.Priority.String()), Size: p.Size,
			Sent: p.Sent.UTC(), State: p.State, Attempt: p.Attempt, Waiting: p.Waiting,
		}
		if p.At != "" {
			one.At = m.filerName(netquorum.FilerID(p.At))
		}
		out = append(out, one)
	}
	return out, nil
}

// Resend implements api.MessagesBackend.
func (b mail) Resend(_ context.Context, client string) error {
	box, _, err := b.box(client)
	if err == nil {
		box.Resend()
	}
	return err
}

// message finds a message of this filer by its id.
func (b mail) message(id string) (*messages.Box, *member, messages.ID, error) {
	parsed, err := messages.ParseID(id)
	if err != nil {
		return nil, nil, parsed, fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	box, m, err := b.box(parsed.Client)
	return box, m, parsed, err
}

// Withdraw implements api.MessagesBackend.
func (b mail) Withdraw(ctx context.Context, id string) error {
	box, _, parsed, err := b.message(id)
	if err != nil {
		return err
	}
	return mailError(box.Withdraw(ctx, parsed))
}

// Completions implements api.MessagesBackend.
func (b mail) Completions(ctx context.Context, client string, after uint64, limit int) ([]api.Completion, error) {
	box, m, err := b.box(client)
	if err != nil {
		return nil, err
	}
	found, err := box.Completions(ctx, after, limit)
	var out []api.Completion
	for _, c := range found {
		out = append(out, m.completion(c))
	}
	return out, mailError(err)
}

// Completion implements api.MessagesBackend.
func (b mail) Completion(ctx context.Context, id string) (api.Completion, error) {
	box, m, parsed, err := b.message(id)
	if err != nil {
		return api.Completion{}, err
	}
	c, err := box.Completion(ctx, parsed)
	if err != nil {
		return api.Completion{}, mailError(err)
	}
	return m.completion(c), nil
}

func (m *member) completion(c messages.Completion) api.Completion {
	out := api.Completion{Position: c.Position, ID: c.ID.String(), Outcome: api.MessageOutcome(c.Outcome.String()),
		Answer: c.Result, Error: c.Error, Epoch: c.Epoch, At: c.At.UTC()}
	if c.By != "" {
		out.By = m.filerName(c.By)
	}
	return out
}

// acknowledged is how many completions are forgotten at a time.
const acknowledged = 256

// Acknowledge implements api.MessagesBackend.
func (b mail) Acknowledge(ctx context.Context, client string, ids []string, through uint64) error {
	box, _, err := b.box(client)
	if err != nil {
		return err
	}
	var list []messages.ID
	for _, text := range ids {
		id, err := messages.ParseID(text)
		if err != nil {
			return fmt.Errorf("%w: %w", api.ErrUsage, err)
		}
		list = append(list, id)
	}
	if err := box.Forget(ctx, list...); err != nil || through == 0 {
		return mailError(err)
	}
	now, cancel := context.WithCancel(ctx)
	cancel() // do not wait for completions that are still to come
	for after := uint64(0); after < through; {
		found, err := box.Completions(now, after, acknowledged)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			return mailError(err)
		}
		list = list[:0]
		for _, c := range found {
			if c.Position <= through {
				list = append(list, c.ID)
			}
			after = c.Position
		}
		if len(list) == 0 {
			break
		}
		if err := box.Forget(ctx, list...); err != nil {
			return mailError(err)
		}
	}
	return nil
}

// Receive implements api.MessagesBackend.
func (b mail) Receive(ctx context.Context, service string) (api.Delivery, error) {
	node, m, err := b.open()
	if err != nil {
		return nil, err
	}
	d, err := node.Receive(ctx, service)
	if err != nil {
		return nil, mailError(err)
	}
	out := delivery{d, m}
	out.note("given to a program")
	return out, nil
}

// A delivery is a message in the hands of another process.
type delivery struct {
	held   *messages.Delivery
	member *member
}

func (d delivery) Message() api.IncomingMessage {
	m := d.held.Message
	return api.IncomingMessage{
		ID: m.ID.String(), To: d.member.targetName(m.To), From: d.member.filerName(m.ID.Filer), Client: m.ID.Client, Stream: m.Stream,
		Priority: api.MessagePriority(m.Priority.String()), Trace: trace.ID(m.Trace), Epoch: m.Epoch, Redelivered: m.Redelivered,
		Sent: m.Sent.UTC(), Size: m.Body.Size(),
	}
}

func (d delivery) Open() (io.ReadCloser, error) { return d.held.Message.Body.Open() }

// note remembers under the message's trace what becomes of it here.
func (d delivery) note(what string) {
	m := d.held.Message
	d.member.cfg.traces.Note(trace.ID(m.Trace), func() string { return fmt.Sprintf("message: %s for %s %s", m.ID, m.To.Service, what) })
}

func (d delivery) Complete(ctx context.Context, answer []byte) error {
	err := mailError(d.held.Ack(ctx, answer))
	if err == nil {
		d.note("completed")
	}
	return err
}

func (d delivery) Fail(ctx context.Context, reason string) error {
	err := mailError(d.held.Fail(ctx, reason))
	if err == nil {
		d.note("failed")
	}
	return err
}

func (d delivery) Release() {
	d.held.Release()
	d.note("given back")
}

// MessageStatus implements api.MessagesBackend.
func (b mail) MessageStatus(context.Context) (api.MessageStatus, error) {
	node, m, err := b.open()
	if err != nil {
		return api.MessageStatus{}, err
	}
	st := node.Status()
	out := api.MessageStatus{SpoolOut: st.SpoolOut, SpoolIn: st.SpoolIn, Error: st.Error}
	for _, c := range st.Clients {
		one := api.MessageClient{Client: c.Client, Incarnation: c.Incarnation, Pending: c.Pending, Completions: c.Completions}
		if !c.Oldest.IsZero() {
			oldest := c.Oldest.UTC()
			one.Oldest = &oldest
		}
		out.Clients = append(out.Clients, one)
	}
	for _, s := range st.Services {
		out.Services = append(out.Services, api.MessageService{Service: s.Service, Served: s.Form != "none" || b.attendance.has(s.Service), Waiting: s.Waiting, Running: s.Running})
	}
	for _, p := range st.Peers {
		out.Peers = append(out.Peers, api.MessagePeer{Filer: m.filerName(p.Filer), Connected: p.Connected, Waiting: p.Waiting, Sent: p.Sent, LastError: p.LastError})
	}
	return out, nil
}

// Attend implements api.MessagesBackend.
func (b mail) Attend(service string) func() { return b.attendance.join(service) }
