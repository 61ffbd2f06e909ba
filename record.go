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

	// examined is Data as it was found canonical. Data is never changed in place,
	// so what has the same bytes at the same place needs no second look: of the
	// tens of megabytes of a restore, every look counts.
	examined json.RawMessage
}

func (*Record) Kind() Kind { return KindRecord }

// Canonical reports whether Data is canonical JSON, or nothing.
func (s *Record) Canonical() bool {
	n := len(s.Data)
	return n == 0 || n == len(s.examined) && &s.Data[0] == &s.examined[0] || canonical(s.Data)
}

// Examine looks at Data ahead of the rules and remembers what it saw, for whom has
// time now and none later. Nobody else may use the record meanwhile.
func (s *Record) Examine() {
	if s.Canonical() {
		s.examined = s.Data
	}
}

func (s *Record) check(c *checker) {
	if len(s.Data) > MaxRecord {
		c.add("spec.data", RuleRecordSize, "%d bytes as JSON are more than the %d KiB that a record may have; split it", len(s.Data), MaxRecord>>10)
	}
	if s.Canonical() {
		return
	}
	switch form, err := CanonicalJSON(s.Data); {
	case err != nil:
		c.add("spec.data", RuleRecordData, "is not JSON: %v", err)
	case !bytes.Equal(form, s.Data):
		c.add("spec.data", RuleRecordData, "is not in canonical form; pass it through CanonicalJSON")
	}
}
