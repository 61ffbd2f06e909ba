package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// A sum is a set of items reduced to 256 bits: the SHA-256 of each, added
// modulo 2^256. Adding and removing an item cost the same in a small state as
// in a large one, and the order in which items came does not matter. It finds
// states that have drifted apart; it is no defence against someone who may
// choose the items.
type sum [4]uint64

// sumOf returns the sum of one item from its encoding. The encoding begins with
// the number of its item kind, so that no two kinds of items look alike.
func sumOf(encoded []byte) sum {
	h := sha256.Sum256(encoded)
	var s sum
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(h[8*i:])
	}
	return s
}

func (s sum) plus(t sum) sum {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], t[i], carry)
	}
	return s
}

func (s sum) minus(t sum) sum {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], t[i], borrow)
	}
	return s
}

func (s sum) append(b []byte) []byte {
	for _, v := range s {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}
