package messages

import (
	"time"

	"github.com/netquorum/netquorum"
)

// A Status says what a node holds and has done since it was opened.
type Status struct {
	Pending     int             `json:"pending"`     // messages without a completion
	Completions int             `json:"completions"` // that clients have not forgotten
	Inbox       int             `json:"inbox"`       // messages that wait for a handler or are in one
	Stored      int             `json:"stored"`      // completions that senders have not taken
	SpoolOut    int64           `json:"spoolOut"`    // bytes
	SpoolIn     int64           `json:"spoolIn"`
	Clients     []ClientStatus  `json:"clients,omitempty"`
	Services    []ServiceStatus `json:"services,omitempty"`
	Peers       []PeerStatus    `json:"peers,omitempty"`
	Counts      Counts          `json:"counts"`
	Error       string          `json:"error,omitempty"` // why the node has stopped
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
func (n *Node) Status() Status { return Status{} }
