package messages

import (
	"context"
	"time"
)

// A Box is where one named client of this filer sends from and finds its
// completions. It outlives the client's process and the daemon's.
type Box struct {
	node   *Node
	client string
}

// Box returns the client's box. The name is the client's for ever: two programs
// that share one share their completions.
func (n *Node) Box(client string) (*Box, error) {
	if err := checkName("client", client); err != nil {
		return nil, err
	}
	return &Box{node: n, client: client}, nil
}

// Send sends a message. It is on this filer's disk when Send returns, and will be
// delivered whatever happens to processes and paths. While the outbox is full Send
// waits for room, and returns ErrFull when the context ends before; a context that
// has ended already asks not to wait at all.
func (b *Box) Send(ctx context.Context, m Message) (ID, error) { return ID{}, ErrClosed }

// Call sends a message and waits for its completion, which it takes out of the
// box. When the context ends before, the error wraps ErrPending, the id is valid
// and the completion stays in the box when it comes. A completion that is not Done
// is returned with its Err.
func (b *Box) Call(ctx context.Context, m Message) (Completion, error) {
	return Completion{}, ErrClosed
}

// Completions returns up to max completions of the client after a position, in
// the order in which they came; the position 0 is before all. While there are none
// it waits. They stay in the box until they are forgotten, so that a client that
// comes back after a crash begins at 0 and misses none.
func (b *Box) Completions(ctx context.Context, after uint64, max int) ([]Completion, error) {
	return nil, ErrClosed
}

// Forget takes completions out of the box. Those that are not in it are ignored.
func (b *Box) Forget(ctx context.Context, ids ...ID) error { return ErrClosed }

// A PendingMessage is one that has no completion yet.
type PendingMessage struct {
	ID       ID        `json:"id"`
	To       Target    `json:"to"`
	Stream   string    `json:"stream,omitempty"`
	Priority Priority  `json:"priority"`
	Size     int64     `json:"size"`
	Sent     time.Time `json:"sent"`
	State    string    `json:"state"`             // waiting, sent, accepted
	At       string    `json:"at,omitempty"`      // the filer that it was last sent to
	Attempt  uint32    `json:"attempt,omitempty"` // how often it was given a target
	Waiting  string    `json:"waiting,omitempty"` // what it waits for
}

// Pending returns up to max messages of the client that have no completion yet,
// the oldest first; all when max is 0.
func (b *Box) Pending(max int) []PendingMessage { return nil }

// Resend asks the targets of all pending messages again what became of them.
// Nothing needs it: a reconnect does the same.
func (b *Box) Resend() {}

// Withdraw gives a pending message up. Its completion has the outcome Withdrawn;
// whether a handler saw it is not known.
func (b *Box) Withdraw(ctx context.Context, id ID) error { return ErrClosed }
