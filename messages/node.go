package messages

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/netquorum/netquorum"
)

// A Config says how a node behaves. Dir, Self, Network and Hosts are needed.
type Config struct {
	// Dir holds everything that must outlive the process. It is made with mode
	// 0700, its files with 0600.
	Dir     string
	Self    netquorum.FilerID
	Network Network
	Hosts   Hosts
	Log     *slog.Logger
	Clock   Clock
	Limits  Limits
	// GoneAfter is how long a filer must have been out of reach until a virtual
	// server's message that it may have accepted is sent to the server's new host
	// although the old one has not refused it.
	GoneAfter time.Duration
	// IdleAfter is how long a session without messages stays open.
	IdleAfter time.Duration
	// RetryMin and RetryMax bound the wait between two attempts to reach a filer.
	RetryMin, RetryMax time.Duration
}

// Limits bound what a node keeps. Zero means the default.
type Limits struct {
	MaxBody         int64         // of one message; 1 GiB
	MaxSpool        int64         // bytes of spooled bodies, in each direction; 8 GiB
	MaxPending      int           // messages of one client without a completion; 10,000
	MaxInbox        int           // messages of one service that wait for its handler; 10,000
	CompletionAge   time.Duration // how long completions are kept for a client or a filer that does not come; 7 days
	CompletionBytes int64         // and how many bytes of them for each; 64 MiB
	Workers         int           // handlers of one service at a time; 16
}

// A Clock is where a node's time comes from.
type Clock interface {
	Now() time.Time
	// After is time.After.
	After(time.Duration) <-chan time.Time
}

// A Node is a filer's part in messaging: its outbox and its inbox.
type Node struct {
	cfg Config
}

// Open opens or creates a node's directory. Boxes and services work from then on;
// messages move while Run runs.
func Open(cfg Config) (*Node, error) { return nil, errors.ErrUnsupported }

// Run moves messages until the context ends or the disk fails.
func (n *Node) Run(ctx context.Context) error { return errors.ErrUnsupported }

// Close ends everything and waits for it. What is on disk is taken up by the next
// Open.
func (n *Node) Close() error { return nil }

// Reachable says that a filer has been seen: an attempt to reach it need not wait
// any longer.
func (n *Node) Reachable(id netquorum.FilerID) {}
