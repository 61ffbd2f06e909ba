package messages

import (
	"maps"
	"slices"
	"time"

	"github.com/netquorum/netquorum"
)

// A Status says what a node holds and has done since it was opened.
type Status struct {
	Self        netquorum.FilerID `json:"self"`
	Pending     int               `json:"pending"`     // messages without a completion
	Completions int               `json:"completions"` // that clients have not forgotten
	Inbox       int               `json:"inbox"`       // messages that wait for a handler or are in one
	Stored      int               `json:"stored"`      // completions that senders have not taken
	SpoolOut    int64             `json:"spoolOut"`    // bytes
	SpoolIn     int64             `json:"spoolIn"`
	Clients     []ClientStatus    `json:"clients,omitempty"`
	Services    []ServiceStatus   `json:"services,omitempty"`
	Peers       []PeerStatus      `json:"peers,omitempty"`
	Counts      Counts            `json:"counts"`
	Error       string            `json:"error,omitempty"` // why the node has stopped
}

// A ClientStatus is one client's box.
type ClientStatus struct {
	Client      string    `json:"client"`
	Incarnation string    `json:"incarnation"`
	Next        uint64    `json:"next"` // sequence number
	Pending     int       `json:"pending"`
	Completions int       `json:"completions"`
	Oldest      time.Time `json:"oldest,omitzero"` // pending message
}

// A ServiceStatus is one service on this filer.
type ServiceStatus struct {
	Service string `json:"service"`
	Form    string `json:"form"` // handler, transaction, receive, or none while nobody serves it
	Waiting int    `json:"waiting"`
	Running int    `json:"running"`
}

// A PeerStatus is another filer, seen as a target.
type PeerStatus struct {
	Filer     netquorum.FilerID `json:"filer"`
	Connected bool              `json:"connected"`
	Waiting   int               `json:"waiting"` // messages to be sent to it
	Sent      int               `json:"sent"`    // and sent, without a completion
	LastError string            `json:"lastError,omitempty"`
}

// Counts only grow.
type Counts struct {
	Sent       uint64 `json:"sent"`       // by clients here
	Completed  uint64 `json:"completed"`  // of those
	Handled    uint64 `json:"handled"`    // by handlers here
	Duplicates uint64 `json:"duplicates"` // messages that came again
	Refused    uint64 `json:"refused"`    // by this filer: it did not host the server
	Retargeted uint64 `json:"retargeted"` // messages of clients here, after a refusal
	Abandoned  uint64 `json:"abandoned"`  // targets given up without one, because they were gone
	Collected  uint64 `json:"collected"`  // completions nobody came for
	Full       uint64 `json:"full"`       // times a sender had to wait for room
	Resent     uint64 `json:"resent"`     // messages sent again over a new session
	BodyBytes  uint64 `json:"bodyBytes"`  // of spooled bodies received
	Corrupt    uint64 `json:"corrupt"`    // bodies that did not match their sum
	Syncs      uint64 `json:"syncs"`      // transactions of the file
	Operations uint64 `json:"operations"` // in them
}

// Status returns what there is now.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Status{
		Self: n.cfg.Self, SpoolOut: n.spool.out.Load(), SpoolIn: n.spool.in.Load(), Counts: n.counts,
	}
	for _, name := range slices.Sorted(maps.Keys(n.clients)) {
		c := n.clients[name]
		s.Completions += len(c.kept)
		s.Pending += len(c.outs)
		cs := ClientStatus{Client: name, Incarnation: c.incarnation.String(), Next: c.next, Pending: c.pending, Completions: len(c.kept)}
		if len(c.outs) > 0 {
			cs.Oldest = c.outs[0].env.sent
		}
		s.Clients = append(s.Clients, cs)
	}
	for _, x := range n.ins {
		if x.waits() {
			s.Inbox++
		} else {
			s.Stored++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.services)) {
		sv := n.services[name]
		running := sv.running[Control] + sv.running[Bulk]
		s.Services = append(s.Services, ServiceStatus{Service: name, Form: sv.form(), Waiting: sv.waiting - running, Running: running})
	}
	for _, id := range slices.Sorted(maps.Keys(n.peers)) {
		s.Peers = append(s.Peers, n.peers[id].status())
	}
	n.commits.mu.Lock()
	s.Counts.Syncs, s.Counts.Operations = n.commits.syncs, n.commits.ops
	if n.commits.failed != nil {
		s.Error = n.commits.failed.Error()
	}
	n.commits.mu.Unlock()
	return s
}

func (sv *service) form() string {
	switch {
	case sv.server != nil && sv.server.tx != nil:
		return "transaction"
	case sv.server != nil:
		return "handler"
	case len(sv.wanted)+sv.held > 0:
		return "receive"
	}
	return "none"
}

func (p *peer) status() PeerStatus {
	s := PeerStatus{Filer: p.id, Connected: p.session != nil && p.session.ready}
	if p.err != nil {
		s.LastError = p.err.Error()
	}
	for line := range p.lines {
		for _, o := range line.outs {
			if o.at != p.id {
				continue
			}
			if o.sent {
				s.Sent++
			} else {
				s.Waiting++
			}
		}
	}
	return s
}

// pendingOf describes a message in the outbox. The caller holds mu.
func (n *Node) pendingOf(o *out) PendingMessage {
	p := PendingMessage{
		ID: o.env.id, To: o.env.to, Stream: o.env.stream, Priority: o.env.priority, Size: o.env.size, Sent: o.env.sent,
		State: "waiting", At: string(o.at), Attempt: o.env.attempt,
	}
	s := o.line
	switch {
	case o.accepted:
		p.State, p.Waiting = "accepted", "the handler of "+o.env.to.Service
	case o.sent:
		p.State, p.Waiting = "sent", "filer "+string(o.at)
	case o.at == "" || o.refused || s.draining:
		p.Waiting = "a host of " + o.env.to.Server
	case s.parked:
		p.Waiting = "room in the queue of " + o.env.to.Service
	default:
		p.Waiting = "filer " + string(o.at)
		if peer := n.peers[o.at]; peer != nil && peer.err != nil {
			p.Waiting = peer.err.Error()
		}
	}
	return p
}
