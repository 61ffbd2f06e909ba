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
	kind  byte // of the whole entry
	total int
	parts [][]byte
}

// errPartLost answers a part that does not continue the assembly: another large
// entry was begun, or a leader stopped in the middle of this one.
var errPartLost = errors.New("a large entry was interrupted by another one")

// split cuts the payload of a large entry into sealed parts.
func split(id string, kind byte, payload []byte) [][]byte {
	total := (len(payload) + partSize - 1) / partSize
	sealed := make([][]byte, 0, total)
	for piece := range slices.Chunk(payload, partSize) {
		header := binary.AppendUvarint(nil, uint64(len(id)))
		header = append(append(header, id...), kind)
		header = binary.AppendUvarint(header, uint64(len(sealed)))
		header = binary.AppendUvarint(header, uint64(total))
		sealed = append(sealed, seal(entryPart, header, piece))
	}
	return sealed
}

// add takes the next part. With the last one it returns the whole entry's kind
// and payload. It keeps what it is given.
func (a assembly) add(payload []byte) (next assembly, kind byte, whole []byte, err error) {
	r := bytes.NewReader(payload)
	id, err1 := readString(r, maxPartID)
	kind, err2 := r.ReadByte()
	index, err3 := binary.ReadUvarint(r)
	total, err4 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return a, 0, nil, fmt.Errorf("part: %w", err)
	}
	if index >= total || total > maxParts {
		return a, 0, nil, fmt.Errorf("part %d of %d: %w", index, total, errBadPart)
	}
	if index == 0 {
		a = assembly{id: id, kind: kind, total: int(total)}
	}
	if a.id != id || a.kind != kind || a.total != int(total) || len(a.parts) != int(index) {
		return assembly{}, 0, nil, errPartLost
	}
	a.parts = append(a.parts, payload[len(payload)-r.Len():])
	if len(a.parts) < a.total {
		return a, 0, nil, nil
	}
	return assembly{}, kind, bytes.Join(a.parts, nil), nil
}

const (
	maxPartID = 256
	maxParts  = (MaxRestore + partSize - 1) / partSize
)

var errBadPart = errors.New("numbers out of range")

// appendTo encodes the assembly for a snapshot.
func (a assembly) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(a.id)))
	b = append(append(b, a.id...), a.kind)
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
	kind, err1 := r.ReadByte()
	total, err2 := binary.ReadUvarint(r)
	n, err3 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2, err3); err != nil {
		return a, err
	}
	if total > maxParts || n > total {
		return a, errBadPart
	}
	a.kind, a.total = kind, int(total)
	for range n {
		p, err := readString(r, partSize)
		if err != nil {
			return a, err
		}
		a.parts = append(a.parts, []byte(p))
	}
	return a, nil
}
