package netquorum

import (
	"bytes"
	"encoding/json"
)

// MaxRecord is the largest JSON form of a record's data, in bytes. A raft entry
// should stay below 512 KiB, with room for the rest of its transaction.
const MaxRecord = 256 << 10

// A Record is kept for another subsystem (O8): any JSON value, with the
// guarantees of the store, and no meaning here.
type Record struct {
	// Type says to its owner what the data is.
	Type string `json:"type,omitempty"`
	// Data is any value, kept as canonical JSON.
	Data json.RawMessage `json:"data,omitempty"`
}

func (*Record) Kind() Kind { return KindRecord }

func (s *Record) check(c *checker) {
	if len(s.Data) > MaxRecord {
		c.add("spec.data", RuleRecordSize, "%d bytes as JSON are more than the %d KiB that a record may have; split it", len(s.Data), MaxRecord>>10)
	}
	if len(s.Data) == 0 || canonical(s.Data) {
		return
	}
	switch form, err := CanonicalJSON(s.Data); {
	case err != nil:
		c.add("spec.data", RuleRecordData, "is not JSON: %v", err)
	case !bytes.Equal(form, s.Data):
		c.add("spec.data", RuleRecordData, "is not in canonical form; pass it through CanonicalJSON")
	}
}
