package messages

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/netquorum/netquorum"
)

// An Incarnation tells one life of a client's sequence from another. It is drawn
// at random when a client first sends and changes only when its state is lost, so
// that sequence numbers that start over are not taken for duplicates.
type Incarnation [8]byte

func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// An ID names one message for ever, in the whole cluster.
type ID struct {
	Filer       netquorum.FilerID // where it was sent
	Client      string            // who sent it there
	Incarnation Incarnation
	Seq         uint64 // from 1, of one incarnation of one client
}

// String returns the form that ParseID takes: filer/client/incarnation/sequence.
func (id ID) String() string {
	return string(id.Filer) + "/" + id.Client + "/" + id.Incarnation.String() + "/" + strconv.FormatUint(id.Seq, 10)
}

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) {
	p := strings.Split(s, "/")
	if len(p) != 4 {
		return ID{}, fmt.Errorf("message id %q: want filer/client/incarnation/sequence", s)
	}
	id := ID{Filer: netquorum.FilerID(p[0]), Client: p[1]}
	raw, err := hex.DecodeString(p[2])
	if err != nil || len(raw) != len(id.Incarnation) {
		return ID{}, fmt.Errorf("message id %q: %q is no incarnation", s, p[2])
	}
	copy(id.Incarnation[:], raw)
	if id.Seq, err = strconv.ParseUint(p[3], 10, 64); err != nil || id.Seq == 0 {
		return ID{}, fmt.Errorf("message id %q: %q is no sequence number", s, p[3])
	}
	return id, errors.Join(checkName("filer", p[0]), checkName("client", p[1]))
}

// MarshalText and UnmarshalText make an ID a string in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) (err error) { *id, err = ParseID(string(b)); return err }

// A Target is a service on a filer, or on the filer that hosts a virtual server
// at the time. Exactly one of Filer and Server is set.
type Target struct {
	Service string            `json:"service"`
	Filer   netquorum.FilerID `json:"filer,omitempty"`
	Server  string            `json:"server,omitempty"`
}

func (t Target) String() string {
	if t.Server != "" {
		return t.Service + "@" + t.Server
	}
	return t.Service + "@filer:" + string(t.Filer)
}

func (t Target) check() error {
	if (t.Filer == "") == (t.Server == "") {
		return errors.New("a target is a filer or a virtual server: give one of them")
	}
	return errors.Join(checkName("service", t.Service), checkOptional("filer", string(t.Filer)), checkOptional("virtual server", t.Server))
}

// A Priority decides what goes first where something has to wait.
type Priority uint8

// Control is for what somebody waits for, Bulk for what may take its time: no
// amount of bulk delays control.
const (
	Control Priority = iota
	Bulk
)

var priorityNames = [...]string{"control", "bulk"}

func (p Priority) String() string {
	if int(p) < len(priorityNames) {
		return priorityNames[p]
	}
	return "priority " + strconv.Itoa(int(p))
}

// MarshalText writes a priority by its name.
func (p Priority) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote; nothing means Control.
func (p *Priority) UnmarshalText(b []byte) error {
	for i, name := range priorityNames {
		if string(b) == name || len(b) == 0 {
			*p = Priority(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no priority: want control or bulk", b)
}

// A Message is what is sent and what a handler gets.
type Message struct {
	// ID is given by Send.
	ID ID
	To Target
	// Stream is a name within which messages of one client to one target with
	// one priority are handled in the order in which they were sent, one after
	// the other. Streams do not wait for each other.
	Stream   string
	Priority Priority
	// Trace follows a request through filers and log lines; 0 for none.
	Trace uint64
	// Discard says that nobody will ask for the completion.
	Discard bool
	Body    Body

	// Epoch is that of the placement under which the receiver hosts To.Server.
	Epoch uint64
	// Redelivered says that a handler was given the message before and did not
	// finish, as far as is known.
	Redelivered bool
	// Sent is when it was sent, by the sender's clock.
	Sent time.Time

	key string // of SendOnce
}

// Limits of a message's small parts.
const (
	MaxName   = 128      // bytes of a client's, service's, server's or stream's name
	MaxInline = 32 << 10 // bytes of a body that is kept beside its message; larger ones are spooled
	MaxResult = 64 << 10 // bytes of a completion's result
)

func (m *Message) check() error {
	if int(m.Priority) >= len(priorityNames) {
		return fmt.Errorf("%s is no priority", m.Priority)
	}
	return errors.Join(m.To.check(), checkOptional("stream", m.Stream))
}

func checkOptional(what, s string) error {
	if s == "" {
		return nil
	}
	return checkName(what, s)
}

// checkName keeps names printable and free of the separators of an ID.
func checkName(what, s string) error {
	if s == "" {
		return fmt.Errorf("the %s's name is missing", what)
	}
	if len(s) > MaxName {
		return fmt.Errorf("the %s's name has %d bytes; at most %d are allowed", what, len(s), MaxName)
	}
	for _, r := range s {
		if r <= ' ' || r == '/' || r == 0x7f || r == 0xfffd {
			return fmt.Errorf("the %s's name %q contains %q", what, s, r)
		}
	}
	return nil
}

// An Outcome says how a message ended.
type Outcome uint8

const (
	// Done: the handler returned without an error.
	Done Outcome = iota
	// Failed: the handler returned an error. It will not be called again.
	Failed
	// Collected: the handler returned, and nobody asked for the result in time.
	Collected
	// Undeliverable: the target is no member of the cluster any more. Whether a
	// handler saw the message is not known.
	Undeliverable
	// Withdrawn: the client gave the message up. Whether a handler saw it is not
	// known.
	Withdrawn
)

var outcomeNames = [...]string{"done", "failed", "collected", "undeliverable", "withdrawn"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "outcome " + strconv.Itoa(int(o))
}

// MarshalText writes an outcome by its name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, name := range outcomeNames {
		if string(b) == name {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no outcome of a message", b)
}

// A Completion tells a client that a message has been handled.
type Completion struct {
	// Position grows from one completion of a client to the next; see
	// Box.Completions.
	Position uint64            `json:"position"`
	ID       ID                `json:"id"`
	Outcome  Outcome           `json:"outcome"`
	Result   []byte            `json:"result,omitempty"` // what the handler returned
	Error    string            `json:"error,omitempty"`  // what it failed with
	By       netquorum.FilerID `json:"by,omitempty"`     // where it was handled
	Epoch    uint64            `json:"epoch,omitempty"`  // of the placement, for a virtual server's message
	At       time.Time         `json:"at"`               // when it reached this filer
}

// Err returns nil for Done and otherwise an error that says what happened.
func (c Completion) Err() error {
	if c.Outcome == Done {
		return nil
	}
	return &CompletionError{c}
}

// A CompletionError is a completion that is not Done, as an error.
type CompletionError struct{ Completion Completion }

func (e *CompletionError) Error() string {
	c := e.Completion
	if c.Error != "" {
		return fmt.Sprintf("message %s: %s: %s", c.ID, c.Outcome, c.Error)
	}
	return fmt.Sprintf("message %s: %s", c.ID, c.Outcome)
}
