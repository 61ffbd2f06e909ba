package apitest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netquorum/netquorum/api"
)

// Messages is an api.MessagesBackend in memory: one filer, which carries messages
// to itself and keeps those for others. It keeps every promise of the real one but
// durability; a server that is stopped and another one made of the same Messages
// are a daemon that was restarted. The zero value is ready.
type Messages struct {
	Filer      string // this filer's name; filer1 when empty
	MaxPending int    // messages of one client without a completion; 1000 when 0

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	boxes    map[string]*box
	inbox    []*message // in the order in which they were sent
	hosts    map[string]api.TargetState
	attended map[string]int // receivers, by service
}

var _ api.MessagesBackend = (*Messages)(nil)

// A box is one client's.
type box struct {
	seq, position uint64
	keys          map[string]string // of messages, to ids
	pending       []*message
	done          []api.Completion
}

type message struct {
	api.IncomingMessage
	body    []byte
	discard bool
	held    bool
}

// Place puts a virtual server on a filer, or on none; another filer may be out of
// reach.
func (m *Messages) Place(server, filer string, epoch uint64) {
	m.change(func() {
		if m.hosts == nil {
			m.hosts = map[string]api.TargetState{}
		}
		m.hosts[server] = api.TargetState{Filer: filer, Epoch: epoch}
	})
}

// change makes a change and wakes whoever waits for one.
func (m *Messages) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// wait looks until it finds something, or the context ends.
func (m *Messages) wait(ctx context.Context, found func() bool) error {
	for {
		m.mu.Lock()
		ok := found()
		if m.changed == nil {
			m.changed = make(chan struct{})
		}
		changed := m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *Messages) filer() string {
	if m.Filer == "" {
		return "filer1"
	}
	return m.Filer
}

const incarnation = "00000000000000a1"

// box returns a client's box, with m.mu held.
func (m *Messages) box(client string) *box {
	if m.boxes == nil {
		m.boxes = map[string]*box{}
	}
	if m.boxes[client] == nil {
		m.boxes[client] = &box{keys: map[string]string{}}
	}
	return m.boxes[client]
}

// Send implements api.MessagesBackend.
func (m *Messages) Send(ctx context.Context, client string, o api.OutgoingMessage) (api.SentMessage, error) {
	room := m.MaxPending
	if room == 0 {
		room = 1000
	}
	repeated := ""
	err := m.wait(ctx, func() bool {
		b := m.box(client)
		repeated = b.keys[o.Key]
		return repeated != "" || len(b.pending) < room
	})
	switch {
	case err != nil:
		return api.SentMessage{}, fmt.Errorf("%w: %d messages of %s have no completion yet: %w", api.ErrFull, room, client, err)
	case repeated != "":
		return api.SentMessage{ID: repeated, Incarnation: incarnation, Repeated: true}, nil
	}
	body, err := io.ReadAll(o.Body)
	if err == nil && o.Size >= 0 && int64(len(body)) != o.Size {
		err = fmt.Errorf("a body of %d bytes ended after %d", o.Size, len(body))
	}
	if err != nil {
		return api.SentMessage{}, err
	}
	out := api.SentMessage{Incarnation: incarnation}
	m.change(func() {
		b := m.box(client)
		if out.ID = b.keys[o.Key]; out.ID != "" { // by another at the same time
			out.Repeated = true
			return
		}
		b.seq++
		out.ID = fmt.Sprintf("%s/%s/%s/%d", m.filer(), client, incarnation, b.seq)
		if o.Key != "" {
			b.keys[o.Key] = out.ID
		}
		msg := &message{body: body, discard: o.Discard, IncomingMessage: api.IncomingMessage{
			ID: out.ID, To: o.To, From: m.filer(), Client: client, Stream: o.Stream, Priority: o.Priority, Trace: o.Trace,
			Sent: time.Now().UTC(), Size: int64(len(body)),
		}}
		b.pending = append(b.pending, msg)
		m.inbox = append(m.inbox, msg)
	})
	return out, nil
}

// here reports whether a target is on this filer, with m.mu held.
func (m *Messages) here(t api.MessageTarget) (epoch uint64, ok bool) {
	if t.VServer == "" {
		return 0, t.Filer == m.filer()
	}
	h := m.hosts[t.VServer]
	return h.Epoch, h.Filer == m.filer()
}

// Receive implements api.MessagesBackend.
func (m *Messages) Receive(ctx context.Context, service string) (api.Delivery, error) {
	var got *message
	var seen api.IncomingMessage
	err := m.wait(ctx, func() bool {
		if ctx.Err() != nil {
			return false
		}
		if got = m.next(service); got != nil {
			got.held, seen = true, got.IncomingMessage
		}
		return got != nil
	})
	if err != nil {
		return nil, err
	}
	return &delivery{m: m, msg: got, seen: seen}, nil
}

// next finds the first message that may be handled: the first of its stream, and
// control before bulk.
func (m *Messages) next(service string) (bulk *message) {
	type line struct {
		client, stream string
		to             api.MessageTarget
		p              api.MessagePriority
	}
	begun := map[line]bool{}
	for _, msg := range m.inbox {
		epoch, here := m.here(msg.To)
		l := line{msg.Client, msg.Stream, msg.To, msg.Priority}
		if msg.To.Service != service || !here || begun[l] {
			continue
		}
		begun[l] = true
		msg.Epoch = epoch
		switch {
		case msg.held:
		case msg.Priority != api.PriorityBulk:
			return msg
		case bulk == nil:
			bulk = msg
		}
	}
	return bulk
}

// A delivery is a message that somebody holds.
type delivery struct {
	m    *Messages
	msg  *message
	seen api.IncomingMessage
	over bool // under m.mu
}

func (d *delivery) Message() api.IncomingMessage { return d.seen }

func (d *delivery) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(d.msg.body)), nil
}

func (d *delivery) Complete(_ context.Context, answer []byte) error {
	return d.end(api.Completion{Outcome: api.OutcomeDone, Answer: answer})
}

func (d *delivery) Fail(_ context.Context, reason string) error {
	return d.end(api.Completion{Outcome: api.OutcomeFailed, Error: reason})
}

func (d *delivery) end(c api.Completion) (err error) {
	d.m.change(func() {
		if d.over {
			err = api.Refuse(api.ErrNotFound, "the delivery was ended already", nil)
			return
		}
		d.over = true
		c.By, c.Epoch = d.m.filer(), d.seen.Epoch
		d.m.complete(d.msg, c)
	})
	return err
}

// complete takes a message out and puts its completion into the sender's box.
func (m *Messages) complete(msg *message, c api.Completion) {
	b := m.box(msg.Client)
	is := func(other *message) bool { return other == msg }
	b.pending, m.inbox = slices.DeleteFunc(b.pending, is), slices.DeleteFunc(m.inbox, is)
	if msg.discard {
		return
	}
	b.position++
	c.Position, c.ID, c.At = b.position, msg.ID, time.Now().UTC()
	b.done = append(b.done, c)
}

func (d *delivery) Release() {
	d.m.change(func() {
		if !d.over {
			d.over = true
			d.msg.held, d.msg.Redelivered = false, true
		}
	})
}

// Attend implements api.MessagesBackend.
func (m *Messages) Attend(service string) func() {
	count := func(n int) {
		m.change(func() {
			if m.attended == nil {
				m.attended = map[string]int{}
			}
			m.attended[service] += n
		})
	}
	count(1)
	return sync.OnceFunc(func() { count(-1) })
}

// Pending implements api.MessagesBackend.
func (m *Messages) Pending(_ context.Context, client string, limit int) ([]api.PendingMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []api.PendingMessage
	for _, msg := range m.box(client).pending {
		if limit > 0 && len(out) == limit {
			break
		}
		p := api.PendingMessage{ID: msg.ID, To: msg.To, Stream: msg.Stream, Priority: msg.Priority, Size: msg.Size, Sent: msg.Sent, State: "waiting"}
		if _, here := m.here(msg.To); here {
			p.State, p.At, p.Attempt = "accepted", m.filer(), 1
		} else {
			p.Waiting = "no filer hosts " + msg.To.String()
		}
		out = append(out, p)
	}
	return out, nil
}

// Resend implements api.MessagesBackend: on one filer nothing is ever missed.
func (m *Messages) Resend(context.Context, string) error { return nil }

// Withdraw implements api.MessagesBackend.
func (m *Messages) Withdraw(_ context.Context, id string) (err error) {
	m.change(func() {
		i := slices.IndexFunc(m.inbox, func(msg *message) bool { return msg.ID == id })
		if i < 0 {
			err = unknown(id)
			return
		}
		m.complete(m.inbox[i], api.Completion{Outcome: api.OutcomeWithdrawn})
	})
	return err
}

func unknown(id string) error {
	return api.Refuse(api.ErrNotFound, fmt.Sprintf("there is no message %.200q that has no completion or an unacknowledged one", id), nil)
}

// Completions implements api.MessagesBackend.
func (m *Messages) Completions(ctx context.Context, client string, after uint64, limit int) (out []api.Completion, err error) {
	err = m.wait(ctx, func() bool {
		for _, c := range m.box(client).done {
			if c.Position > after && len(out) < limit {
				out = append(out, c)
			}
		}
		return len(out) > 0
	})
	return out, err
}

// Completion implements api.MessagesBackend.
func (m *Messages) Completion(ctx context.Context, id string) (out api.Completion, err error) {
	client := ""
	if parts := strings.Split(id, "/"); len(parts) == 4 {
		client = parts[1]
	}
	known := true
	err = m.wait(ctx, func() bool {
		b := m.boxes[client]
		if b == nil {
			known = false
			return true
		}
		for _, c := range b.done {
			if c.ID == id {
				out = c
				return true
			}
		}
		known = slices.ContainsFunc(b.pending, func(msg *message) bool { return msg.ID == id })
		return !known
	})
	if !known {
		err = unknown(id)
	}
	return out, err
}

// Acknowledge implements api.MessagesBackend.
func (m *Messages) Acknowledge(_ context.Context, client string, ids []string, through uint64) error {
	m.change(func() {
		b := m.box(client)
		b.done = slices.DeleteFunc(b.done, func(c api.Completion) bool {
			return c.Position <= through || slices.Contains(ids, c.ID)
		})
	})
	return nil
}

// Target implements api.MessagesBackend.
func (m *Messages) Target(ctx context.Context, t api.MessageTarget) iter.Seq2[api.TargetState, error] {
	return func(yield func(api.TargetState, error) bool) {
		var last *api.TargetState
		for {
			var now api.TargetState
			err := m.wait(ctx, func() bool {
				now = m.target(t)
				return last == nil || *last != now
			})
			if err != nil || !yield(now, nil) {
				return
			}
			last = &now
		}
	}
}

func (m *Messages) target(t api.MessageTarget) api.TargetState {
	st := api.TargetState{Filer: t.Filer}
	if t.VServer != "" {
		st = m.hosts[t.VServer]
	}
	_, st.Reachable = m.here(t)
	st.Served = st.Reachable && m.attended[t.Service] > 0
	switch {
	case st.Filer == "":
		st.Reason = t.VServer + " is on no filer"
	case !st.Reachable:
		st.Reason = st.Filer + " does not answer"
	case !st.Served:
		st.Reason = "nobody receives messages of " + t.Service + " on " + st.Filer
	}
	return st
}

// MessageStatus implements api.MessagesBackend.
func (m *Messages) MessageStatus(context.Context) (api.MessageStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var st api.MessageStatus
	for name, b := range m.boxes {
		st.Clients = append(st.Clients, api.MessageClient{Client: name, Incarnation: incarnation, Pending: len(b.pending), Completions: len(b.done)})
	}
	services := map[string]api.MessageService{}
	for name, n := range m.attended {
		services[name] = api.MessageService{Service: name, Served: n > 0}
	}
	for _, msg := range m.inbox {
		if _, here := m.here(msg.To); here {
			s := services[msg.To.Service]
			s.Service = msg.To.Service
			if msg.held {
				s.Running++
			} else {
				s.Waiting++
			}
			services[msg.To.Service] = s
		}
	}
	for _, s := range services {
		st.Services = append(st.Services, s)
	}
	slices.SortFunc(st.Clients, func(a, b api.MessageClient) int { return strings.Compare(a.Client, b.Client) })
	slices.SortFunc(st.Services, func(a, b api.MessageService) int { return strings.Compare(a.Service, b.Service) })
	return st, nil
}
