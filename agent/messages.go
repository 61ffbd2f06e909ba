package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
	"github.com/netquorum/netquorum/messages"
	"github.com/netquorum/netquorum/transport"
	"github.com/netquorum/netquorum/transport/link"
)

// serviceMessages carries reliable messages between filers.
const serviceMessages transport.Service = "netquorum-messages/1"

func (c Config) messagesDir() string { return filepath.Join(c.DataDir, "messages") }

// messaging is a filer's outbox and inbox, or why there is none.
type messaging struct {
	node *messages.Node
	err  error
}

// openMessages opens the filer's outbox and inbox. A filer takes part in its
// cluster without them: whoever wants to send is told why it cannot.
func (m *member) openMessages() {
	network := messageNetwork{m.endpoint, m.endpoint.Service(serviceMessages)}
	open := func() (*messages.Node, error) {
		return messages.Open(messages.Config{
			Dir: m.cfg.messagesDir(), Self: m.id, Log: m.log.With("part", "messages"), Network: network, Hosts: hosts{m},
		})
	}
	node, err := open()
	if errors.Is(err, messages.ErrForeign) { // this filer was another one before it lost its log
		aside := m.cfg.messagesDir() + ".before-" + string(m.id)
		m.log.Warn("the messages of this filer's earlier life are put aside", "directory", aside)
		if err = os.Rename(m.cfg.messagesDir(), aside); err == nil {
			node, err = open()
		}
	}
	if err != nil {
		m.log.Error("this filer cannot send or receive messages", "error", err)
		network.Close()
	}
	if m.messages = (messaging{node, err}); err == nil && m.cfg.Messages != nil {
		m.cfg.Messages(node)
	}
}

// runMessages moves messages until the context ends.
func (m *member) runMessages(ctx context.Context) error {
	if m.messages.node == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	noticed := make(chan struct{})
	go func() {
		defer close(noticed)
		m.noticeFilers(ctx)
	}()
	err := outlive(ctx, m.log, m.messages.node.Run)
	stop()
	<-noticed
	return err
}

// outlive runs messages. When their disk fails, or is full, the filer goes on without
// them: addresses must not fall silent for it. Only a new process may believe what
// the file says.
func outlive(ctx context.Context, log *slog.Logger, run func(context.Context) error) error {
	err := run(ctx)
	if errors.Is(err, messages.ErrDisk) && ctx.Err() == nil {
		log.Error("this filer neither sends nor receives messages until its daemon is restarted", "error", err)
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// noticeFilers tells messages of filers to which there is a link again: what waits
// for them need not wait for its next attempt.
func (m *member) noticeFilers(ctx context.Context) {
	ticker := time.NewTicker(m.cfg.Heartbeat)
	defer ticker.Stop()
	up := map[netquorum.FilerID]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, l := range m.endpoint.Links() {
			if l.Up && !up[l.Filer] {
				m.messages.node.Reachable(l.Filer)
			}
			up[l.Filer] = l.Up
		}
	}
}

func (m *member) closeMessages() error {
	if m.messages.node == nil {
		return nil
	}
	return m.messages.node.Close()
}

// Messages returns this filer's outbox and inbox, or why there is none.
func (a *Agent) Messages() (*messages.Node, error) {
	m, err := a.running()
	if err != nil {
		return nil, err
	}
	if m.messages.node == nil {
		return nil, errors.Join(api.ErrDamaged, m.messages.err)
	}
	return m.messages.node, nil
}

// A messageNetwork opens and accepts streams of messages.
type messageNetwork struct {
	endpoint *transport.Endpoint
	net.Listener
}

func (n messageNetwork) Open(ctx context.Context, to netquorum.FilerID, class messages.Class) (net.Conn, error) {
	c := link.Control
	if class == messages.ClassBulk {
		c = link.Bulk
	}
	return n.endpoint.Open(ctx, to, serviceMessages, c)
}

func (n messageNetwork) Accept() (net.Conn, netquorum.FilerID, error) {
	conn, err := n.Listener.Accept()
	if err != nil {
		return nil, "", err
	}
	return conn, transport.PeerOf(conn), nil
}

// hosts tells messages who hosts what, by the configuration and this filer's lease.
type hosts struct{ member *member }

func (h hosts) Host(server string) (messages.Place, bool) {
	config, _ := h.member.newest()
	p, ok := config.Placement(server)
	if !ok || p.Filer == "" {
		return messages.Place{}, false
	}
	d, ok := config.Get(netquorum.KindMember, p.Filer)
	if !ok {
		return messages.Place{}, false
	}
	return messages.Place{Filer: d.Spec.(*netquorum.Member).ID, Epoch: p.Epoch}, true
}

// Hosting goes by the state of the store alone: a lease is for what that says.
func (h hosts) Hosting(server string) (uint64, bool) {
	m := h.member
	s := m.store.State()
	p, ok := s.Config().Placement(server)
	if !ok || p.Filer != m.name {
		return 0, false
	}
	_, held := m.lease.Held(m.cfg.Now(), s.Revision())
	return p.Epoch, held
}

func (h hosts) Epoch(server string) uint64 {
	config, _ := h.member.newest()
	if p, ok := config.Placement(server); ok {
		return p.Epoch
	}
	return 0
}

// Member says that a filer is gone only under a lease, which is held with a state
// no older than the leader's: a filer that has just booted does not know yet who
// joined while it was away, and messages to those must not be given up.
func (h hosts) Member(id netquorum.FilerID) bool {
	m := h.member
	s := m.store.State()
	if _, held := m.lease.Held(m.cfg.Now(), s.Revision()); !held {
		return true
	}
	return memberName(s.Config(), id) != ""
}

func (h hosts) Changed() <-chan struct{} { return h.member.store.Changed() }
