package fsm

import "github.com/netquorum/netquorum"

// Level is the feature level of this version: the newest meaning of log entries
// that it knows. It grows when an older version could not apply what a newer
// one writes.
const Level = 2

// Bounds of one transaction. A raft entry should stay below 512 KiB, or
// heartbeats queue behind it.
const (
	MaxTransaction = 512 << 10 // bytes, encoded
	MaxID          = 128       // bytes of a request id
	MaxActor       = 256       // bytes of an actor
)

// A Transaction is a set of puts and deletes with preconditions. It commits
// whole or not at all.
type Transaction struct {
	// ID names the request. A transaction whose id was seen before is not
	// applied again: it is answered with the result that is on record. Empty
	// asks for no such protection.
	ID string `json:"id"`
	// Actor says on whose behalf the change is made.
	Actor string `json:"actor"`
	// Trace ties the change to the log lines and requests that led to it.
	Trace uint64 `json:"trace,omitempty"`
	// Time is the proposer's, in milliseconds since 1970.
	Time int64 `json:"time"`
	// Level is the feature level that a filer needs to apply the transaction.
	Level int `json:"level,omitempty"`
	// System marks a transaction of the cluster itself, which may write machine
	// kinds. Who may set it is for the store and the API to decide.
	System  bool     `json:"system,omitempty"`
	Puts    []Put    `json:"puts,omitempty"`
	Deletes []Delete `json:"deletes,omitempty"`
}

// A Put creates or replaces one document. The document's own Revision is
// ignored: the transaction that writes a document gives it its revision.
type Put struct {
	Document netquorum.Document `json:"document"`
	// IfRevision refuses the transaction unless the document is at this
	// revision; 0 means that it does not exist.
	IfRevision *netquorum.Revision `json:"ifRevision,omitempty"`
	// MustNotExist refuses the transaction if the document exists.
	MustNotExist bool `json:"mustNotExist,omitempty"`
}

// A Delete removes one document, which must exist.
type Delete struct {
	Key        netquorum.Key       `json:"key"`
	IfRevision *netquorum.Revision `json:"ifRevision,omitempty"`
}

// A Result says what became of one transaction, the same on every filer.
type Result struct {
	// Revision is the transaction's own when it changed something, else the
	// revision of the state that it met.
	Revision netquorum.Revision `json:"revision"`
	// Changed counts the documents created, replaced or deleted.
	Changed int `json:"changed"`
	// Refusal is set when the transaction was refused; nothing changed then.
	Refusal *Refusal `json:"refusal,omitempty"`
	// Duplicate is set when the request id was known and this is the result on
	// record.
	Duplicate bool `json:"duplicate,omitempty"`
}
