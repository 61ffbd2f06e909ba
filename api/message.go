package api

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"
	"unicode/utf8"

	"github.com/netquorum/netquorum/trace"
)

// A MessagesBackend carries messages between services on filers; package messages
// says what it promises. Filers are meant by their names. What waits returns an
// error that wraps the context's when the context ends.
type MessagesBackend interface {
	// Send puts a message into a client's outbox, and returns when it is on disk.
	// A message whose key the client has used before is not sent: the answer is the
	// first one's, and its body is not read. While the outbox is full Send waits;
	// ErrFull when the context ends before there is room.
	Send(ctx context.Context, client string, m OutgoingMessage) (SentMessage, error)
	// Pending lists the client's messages that have no completion, the oldest
	// first; all when limit is 0.
	Pending(ctx context.Context, client string, limit int) ([]PendingMessage, error)
	// Resend asks the targets of all pending messages of the client again what
	// became of them.
	Resend(ctx context.Context, client string) error
	// Withdraw gives a pending message up. ErrNotFound when there is none.
	Withdraw(ctx context.Context, id string) error
	// Completions returns up to limit completions of the client after a position.
	// While there are none it waits.
	Completions(ctx context.Context, client string, after uint64, limit int) ([]Completion, error)
	// Completion waits for the completion of one message. ErrNotFound when the
	// message is neither pending nor completed, or its completion was taken.
	Completion(ctx context.Context, id string) (Completion, error)
	// Acknowledge forgets completions of the client: those of the messages, and
	// all up to the position.
	Acknowledge(ctx context.Context, client string, ids []string, through uint64) error

	// Receive waits for the next message of a service.
	Receive(ctx context.Context, service string) (Delivery, error)
	// Attend says that somebody receives from a service until leave is called,
	// also while there is no Receive.
	Attend(service string) (leave func())

	// Target yields the state of a target, now and whenever it changes, until the
	// context ends.
	Target(ctx context.Context, t MessageTarget) iter.Seq2[TargetState, error]
	// MessageStatus says what this filer holds.
	MessageStatus(ctx context.Context) (MessageStatus, error)
}

// A Delivery is a message in the hands of a consumer. It is ended by exactly one
// of Complete, Fail and Release; what comes after that is ErrNotFound or nothing.
type Delivery interface {
	Message() IncomingMessage
	// Open returns the body from its beginning.
	Open() (io.ReadCloser, error)
	// Complete ends the message with an answer, Fail with a reason. Either is on
	// disk when it returns.
	Complete(ctx context.Context, answer []byte) error
	Fail(ctx context.Context, reason string) error
	// Release gives the message back, to whoever receives next.
	Release()
}

// Limits of a message's parts, in bytes.
const (
	MaxMessageName   = 128      // of a client, service, stream or key
	MaxInlineBody    = 32 << 10 // a larger body is not in what receive answers
	MaxMessageAnswer = 64 << 10 // of a handler
)

// A MessageTarget is a service on a filer, or on the filer that hosts a virtual
// server at the time.
type MessageTarget struct {
	Service string `json:"service"`
	Filer   string `json:"filer,omitempty"`
	VServer string `json:"vserver,omitempty"`
}

func (t MessageTarget) String() string {
	if t.VServer != "" {
		return t.Service + "@" + t.VServer
	}
	return t.Service + "@filer:" + t.Filer
}

func (t MessageTarget) check() error {
	if err := checkMessageName("service", t.Service); err != nil {
		return err
	}
	switch {
	case (t.Filer == "") == (t.VServer == ""):
		return usage("a target is a filer or a virtual server: give one of filer and vserver")
	case t.Filer != "":
		return checkMessageName("filer", t.Filer)
	}
	return checkMessageName("vserver", t.VServer)
}

// checkMessageName keeps names printable and free of what separates the parts of
// an id.
func checkMessageName(what, s string) error {
	switch {
	case s == "":
		return usage("%s is missing", what)
	case len(s) > MaxMessageName:
		return usage("%s has %d bytes; %d are the most", what, len(s), MaxMessageName)
	}
	for _, r := range s {
		if r <= ' ' || r == '/' || r == 0x7f || r == utf8.RuneError {
			return usage("%s %q contains %q", what, s, r)
		}
	}
	return nil
}

// A MessagePriority decides what goes first where something has to wait.
type MessagePriority string

const (
	PriorityControl MessagePriority = "control" // somebody waits for it
	PriorityBulk    MessagePriority = "bulk"    // may take its time, and never delays control
)

// An OutgoingMessage is one to be sent.
type OutgoingMessage struct {
	To MessageTarget
	// Key is the client's own name for the message.
	Key      string
	Stream   string
	Priority MessagePriority
	Trace    trace.ID
	Discard  bool // nobody will ask for the completion
	Body     io.Reader
	Size     int64 // -1 when it is not known
}

// A SentMessage is one that will be delivered, whatever happens.
type SentMessage struct {
	// ID names the message in the whole cluster.
	ID string `json:"id"`
	// Incarnation changes when what this filer remembers of the client is lost.
	Incarnation string `json:"incarnation"`
	// Repeated is set when the key was used before: this is that message.
	Repeated bool `json:"repeated,omitempty"`
}

// A PendingMessage is one that has no completion yet.
type PendingMessage struct {
	ID       string          `json:"id"`
	To       MessageTarget   `json:"to"`
	Stream   string          `json:"stream,omitempty"`
	Priority MessagePriority `json:"priority"`
	Size     int64           `json:"size"`
	Sent     time.Time       `json:"sent"`
	// State is waiting, sent or accepted: on the other filer's disk.
	State string `json:"state"`
	// At is the filer that it was last sent to; Waiting says what it waits for.
	At      string `json:"at,omitempty"`
	Attempt uint32 `json:"attempt,omitempty"`
	Waiting string `json:"waiting,omitempty"`
}

// A PendingList is the answer to a request for pending messages.
type PendingList struct {
	Client  string           `json:"client"`
	Pending []PendingMessage `json:"pending"`
}

// A MessageOutcome says how a message ended.
type MessageOutcome string

const (
	OutcomeDone          MessageOutcome = "done"
	OutcomeFailed        MessageOutcome = "failed"        // the handler said so; it is not called again
	OutcomeCollected     MessageOutcome = "collected"     // handled, and nobody asked for the answer in time
	OutcomeUndeliverable MessageOutcome = "undeliverable" // the target has left the cluster
	OutcomeWithdrawn     MessageOutcome = "withdrawn"     // the client gave it up
)

// A Completion says that a message has been handled, or will not be.
type Completion struct {
	// Position grows from one completion of a client to the next.
	Position uint64         `json:"position"`
	ID       string         `json:"id"`
	Outcome  MessageOutcome `json:"outcome"`
	Answer   []byte         `json:"answer,omitempty"` // in base64
	Error    string         `json:"error,omitempty"`  // what the handler failed with
	By       string         `json:"by,omitempty"`     // the filer that handled it
	Epoch    uint64         `json:"epoch,omitempty"`  // of the virtual server's placement there
	At       time.Time      `json:"at"`
}

// Err returns nil when the message is done, and otherwise an *Error with the code
// ErrFailed.
func (c Completion) Err() error {
	if c.Outcome == OutcomeDone {
		return nil
	}
	text := fmt.Sprintf("message %s: %s", c.ID, c.Outcome)
	if c.Error != "" {
		text += ": " + c.Error
	}
	return Refuse(ErrFailed, text, nil)
}

// A CompletionList is the answer to a request for completions.
type CompletionList struct {
	Client      string       `json:"client"`
	Completions []Completion `json:"completions"`
}

// A CompletionEvent is one line of a watch of completions.
type CompletionEvent struct {
	Completion *Completion `json:"completion,omitempty"`
	Error      *Error      `json:"error,omitempty"`
}

// An Acknowledgement says which completions a client has seen, for good.
type Acknowledgement struct {
	Client string `json:"client"`
	// IDs are of messages; Through is a position, up to which all are meant.
	IDs     []string `json:"ids,omitempty"`
	Through uint64   `json:"through,omitempty"`
}

// An IncomingMessage is one to be handled.
type IncomingMessage struct {
	ID       string          `json:"id"`
	To       MessageTarget   `json:"to"`
	From     string          `json:"from"`   // the filer
	Client   string          `json:"client"` // there
	Stream   string          `json:"stream,omitempty"`
	Priority MessagePriority `json:"priority"`
	Trace    trace.ID        `json:"trace,omitempty"`
	// Epoch is that of the virtual server's placement here.
	Epoch uint64 `json:"epoch,omitempty"`
	// Redelivered is set when somebody had the message before and did not end it,
	// as far as is known.
	Redelivered bool      `json:"redelivered,omitempty"`
	Sent        time.Time `json:"sent"`
	Size        int64     `json:"size"`
}

// A MessageDelivery is a message that a consumer holds until it ends it.
type MessageDelivery struct {
	// Delivery is what the consumer names it by.
	Delivery string          `json:"delivery"`
	Message  IncomingMessage `json:"message"`
	// Body is in base64. It is missing when the message's size is above 32 KiB:
	// GET the delivery's body then.
	Body []byte `json:"body,omitempty"`
	// Until is when the message is given to another consumer unless it is ended or
	// extended; absent when it is held for as long as the stream stands.
	Until *time.Time `json:"until,omitempty"`
}

// A DeliveryEvent is one line of a stream of messages.
type DeliveryEvent struct {
	Delivery *MessageDelivery `json:"delivery,omitempty"`
	Error    *Error           `json:"error,omitempty"`
}

// An Extension is until when a delivery is held now.
type Extension struct {
	Until time.Time `json:"until"`
}

// A TargetState says whether somebody is there who handles messages. One that is
// sent before that waits for it.
type TargetState struct {
	// Filer is where the target is, Epoch that of the virtual server's placement
	// there; none while it is placed nowhere.
	Filer string `json:"filer,omitempty"`
	Epoch uint64 `json:"epoch,omitempty"`
	// Reachable is set while the filer answers, Served while somebody receives
	// there.
	Reachable bool `json:"reachable"`
	Served    bool `json:"served"`
	// Reason says in words why the target is not up.
	Reason string `json:"reason,omitempty"`
}

// Up reports whether a message would be handled now.
func (t TargetState) Up() bool { return t.Reachable && t.Served }

// A TargetEvent is one line of a watch of a target.
type TargetEvent struct {
	Target *TargetState `json:"target,omitempty"`
	Error  *Error       `json:"error,omitempty"`
}

// A MessageStatus says what this filer holds of messages.
type MessageStatus struct {
	Clients  []MessageClient  `json:"clients"`
	Services []MessageService `json:"services"`
	Peers    []MessagePeer    `json:"peers"`
	// SpoolOut and SpoolIn are the bytes of large bodies that wait here.
	SpoolOut int64 `json:"spoolOut"`
	SpoolIn  int64 `json:"spoolIn"`
	// Error says why messages stand still, when they do.
	Error string `json:"error,omitempty"`
}

// A MessageClient is one sender on this filer.
type MessageClient struct {
	Client      string     `json:"client"`
	Incarnation string     `json:"incarnation"`
	Pending     int        `json:"pending"`
	Completions int        `json:"completions"`      // that it has not acknowledged
	Oldest      *time.Time `json:"oldest,omitempty"` // pending message
}

// A MessageService is one service on this filer.
type MessageService struct {
	Service string `json:"service"`
	Served  bool   `json:"served"`  // somebody receives or handles its messages
	Waiting int    `json:"waiting"` // messages that nobody has begun to handle
	Running int    `json:"running"` // those that are being handled
}

// A MessagePeer is another filer, as a target.
type MessagePeer struct {
	Filer     string `json:"filer"`
	Connected bool   `json:"connected"`
	Waiting   int    `json:"waiting"` // messages to be sent to it
	Sent      int    `json:"sent"`    // and sent, without a completion
	LastError string `json:"lastError,omitempty"`
}
