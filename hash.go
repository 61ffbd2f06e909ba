package netquorum

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
)

// An entry is a document in a Config, with its part of the hash.
type entry struct {
	doc Document
	sum sum
}

// maxEncoded is the largest JSON form of a document: a raft entry should stay
// below 512 KiB, with room for the rest of its transaction.
const maxEncoded = 384 << 10

// encodings are memory for one document after another.
var encodings = sync.Pool{New: func() any { return new([]byte) }}

// keptEncoding bounds what a large document leaves behind there.
const keptEncoding = 64 << 10

// newEntry encodes and hashes the document.
func newEntry(d Document) (*entry, *Problem) {
	room := encodings.Get().(*[]byte)
	text, err := d.AppendJSON((*room)[:0])
	if cap(text) <= keptEncoding {
		defer encodings.Put(room)
		*room = text
	}
	if err != nil {
		return &entry{doc: d}, &Problem{Document: d.Key(), Field: "spec", Rule: RuleDocumentKind, Message: err.Error()}
	}
	out := &entry{d, sumOf(text)}
	if len(text) > maxEncoded {
		if r, ok := d.Spec.(*Record); !ok || len(r.Data) <= MaxRecord { // whose own rule says it better
			return out, &Problem{Document: d.Key(), Field: "spec", Rule: RuleDocumentSize,
				Message: fmt.Sprintf("%d bytes as JSON are more than the %d KiB that a document may have; split it", len(text), maxEncoded>>10)}
		}
	}
	return out, nil
}

// A sum is a number modulo 2^256, low word first. Adding the hashes of all
// documents gives a hash of the set that a change updates without looking at
// the rest.
type sum [4]uint64

func sumOf(data []byte) (s sum) {
	h := sha256.Sum256(data)
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	return s
}

func (s sum) plus(o sum) (out sum) {
	var carry uint64
	for i := range s {
		out[i], carry = bits.Add64(s[i], o[i], carry)
	}
	return out
}

func (s sum) minus(o sum) (out sum) {
	var borrow uint64
	for i := range s {
		out[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
	return out
}

// Hash is the same for two configurations exactly when their documents are the
// same, revisions included: the sum, modulo 2^256, of the SHA-256 of each
// document's JSON form.
func (c Config) Hash() (h [32]byte) {
	for i, w := range c.sum {
		binary.LittleEndian.PutUint64(h[8*i:], w)
	}
	return h
}
