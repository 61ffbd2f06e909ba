package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// An entry that is too large for one raft entry, a restore, goes through the log
// in parts. The last part makes it one entry again and applies it at once, on
// every filer at the same place in the log. (The library's own
// Restore lets the leader run ahead of its followers: a leader that dies half-way
// comes back with a state that was never committed.)

// partSize keeps a part below what raft suggests for one entry.
const partSize = 256 << 10

// An assembly is the parts seen so far of one large entry. It is part of the
// replicated state, and immutable: a snapshot may hold an old one.
type assembly struct {
	id    string
	total int
	parts [][]byte
}

// errPartLost answers a part that does not continue the assembly: another large
// entry was begun, or a leader stopped in the middle of this one.
var errPartLost = errors.New("a large entry was interrupted by another one")

// split cuts a large entry, kind first, into sealed parts.
func split(id string, kind byte, payload []byte) [][]byte {
	pieces := slices.Collect(slices.Chunk(append([]byte{kind}, payload...), partSize))
	sealed := make([][]byte, len(pieces))
	for i, piece := range pieces {
		header := binary.AppendUvarint(nil, uint64(len(id)))
		header = append(header, id...)
		header = binary.AppendUvarint(header, uint64(i))
		header = binary.AppendUvarint(header, uint64(len(pieces)))
		sealed[i] = seal(entryPart, header, piece)
	}
	return sealed
}

// add takes the next part. With the last one it returns the whole entry, kind
// first.
func (a assembly) add(payload []byte) (next assembly, whole []byte, err error) {
	r := bytes.NewReader(payload)
	id, err := readString(r, maxPartID)
	if err != nil {
		return a, nil, fmt.Errorf("part: %w", err)
	}
	index, err1 := binary.ReadUvarint(r)
	total, err2 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2); err != nil {
		return a, nil, fmt.Errorf("part: %w", err)
	}
	if total == 0 || index >= total || total > maxParts {
		return a, nil, fmt.Errorf("part %d of %d: %w", index, total, errBadPart)
	}
	if index == 0 {
		a = assembly{id: id, total: int(total)}
	}
	if a.id != id || a.total != int(total) || len(a.parts) != int(index) {
		return assembly{}, nil, errPartLost
	}
	// Raft may reuse the entry's memory; the copy also lets it go.
	a.parts = append(a.parts, bytes.Clone(payload[len(payload)-r.Len():]))
	if len(a.parts) < a.total {
		return a, nil, nil
	}
	return assembly{}, bytes.Join(a.parts, nil), nil
}

const (
	maxPartID = 256
	maxParts  = (MaxRestore + partSize - 1) / partSize
)

var errBadPart = errors.New("numbers out of range")

// appendTo encodes the assembly for a snapshot.
func (a assembly) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(a.id)))
	b = append(b, a.id...)
	b = binary.AppendUvarint(b, uint64(a.total))
	b = binary.AppendUvarint(b, uint64(len(a.parts)))
	for _, p := range a.parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

func readAssembly(r byteReader) (a assembly, err error) {
	if a.id, err = readString(r, maxPartID); err != nil {
		return a, err
	}
	total, err1 := binary.ReadUvarint(r)
	n, err2 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2); err != nil {
		return a, err
	}
	if total > maxParts || n > total {
		return a, errBadPart
	}
	a.total = int(total)
	for range n {
		p, err := readString(r, partSize)
		if err != nil {
			return a, err
		}
		a.parts = append(a.parts, []byte(p))
	}
	return a, nil
}
