package netquorum

import "encoding/json"

// MaxRecord is the largest JSON form of a record's data, in bytes. A raft entry
// should stay below 512 KiB, with room for the rest of its transaction.
const MaxRecord = 256 << 10

// A Record is kept for another subsystem (O8): any JSON value, with the
// guarantees of the store, and no meaning here.
type Record struct {
	// Type says to its owner what the data is.
	Type string          `json:"type,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
}

func (*Record) Kind() Kind { return KindRecord }
