package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// The data of a raft log entry is a kind, a payload and a checksum, from the
// filer that proposes it to each that applies it. The log on disk has checksums of
// its own; a bit that flips in memory or on the way would otherwise be applied on
// one filer and nowhere else.

// Kinds of entries. Add at the end. Never renumber and never reuse: an old filer
// may still replay a log that holds them.
const (
	entryApply byte = 1 // payload: one entry of package fsm
	entryPart  byte = 2 // payload: a compressed part of a restore, see assembly
)

const sealSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal frames a payload.
func seal(kind byte, payload ...[]byte) []byte {
	size := 1 + sealSize
	for _, p := range payload {
		size += len(p)
	}
	b := append(make([]byte, 0, size), kind)
	for _, p := range payload {
		b = append(b, p...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errChecksum = errors.New("its checksum does not match")

// unseal checks a frame and returns its kind and payload.
func unseal(data []byte) (kind byte, payload []byte, err error) {
	n := len(data) - sealSize
	if n < 1 || binary.BigEndian.Uint32(data[n:]) != crc32.Checksum(data[:n], castagnoli) {
		return 0, nil, errChecksum
	}
	return data[0], data[1:n], nil
}
