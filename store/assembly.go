package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/fsm"
)

// A restore is too large for one log entry, so it goes through the log in parts,
// each a transaction that puts some of the documents. The last part applies all of
// them at once, on every filer at the same place in the log. (The library's own
// Restore lets the leader run ahead of its followers: a leader that dies half-way
// comes back with a state that was never committed.)

// partSize is about how large a part is; raft suggests to stay below 512 KiB. A
// document that is larger has a part of its own.
const partSize = 256 << 10

// An assembly is what has come of a restore so far. It is part of the replicated
// state, and immutable: a snapshot may hold an old one.
type assembly struct {
	id    string
	next  uint64 // number of the next part
	total uint64
	whole fsm.Transaction // of the first part, with the puts of all
}

var (
	// errPartLost answers a part that does not continue the assembly: another
	// restore was begun, or a leader stopped in the middle of this one.
	errPartLost = errors.New("a restore was interrupted by another one")
	errBadPart  = errors.New("numbers out of range")
)

const (
	maxPartID = 256
	maxParts  = MaxRestore / 64 // far more than there are: a limit against damage only
	maxGuess  = 1 << 16         // puts for which room is made before they are there
)

// sealPart makes a log entry of a part.
func sealPart(id string, number, total int, part []byte) []byte {
	header := binary.AppendUvarint(nil, uint64(len(id)))
	header = append(header, id...)
	header = binary.AppendUvarint(header, uint64(number))
	header = binary.AppendUvarint(header, uint64(total))
	return seal(entryPart, header, part)
}

// An opener decodes parts and looks at their records. Its memory is used for one after the other: nothing in a
// transaction refers to it.
type opener struct{ room []byte }

// open is the reverse of pack. What a part claims to hold is not believed
// beyond what a whole restore may have.
func (o *opener) open(part []byte) (t fsm.Transaction, err error) {
	if n, err := s2.DecodedLen(part); err != nil || n > MaxRestore {
		return t, fmt.Errorf("%w: %d bytes, compressed (%v)", errBadPart, n, err)
	}
	if o.room, err = s2.Decode(o.room[:cap(o.room)], part); err != nil {
		return t, err
	}
	t, err = fsm.DecodeTransaction(o.room)
	for i := range t.Puts {
		if r, ok := t.Puts[i].Document.Spec.(*netquorum.Record); ok {
			r.Examine() // while the disk is busy, not when the whole is put in force
		}
	}
	return t, err
}

// add takes the next part. With the last one it returns the whole transaction.
func (a assembly) add(payload []byte, o *opener) (next assembly, whole *fsm.Transaction, err error) {
	r := bytes.NewReader(payload)
	id, err1 := readString(r, maxPartID)
	number, err2 := binary.ReadUvarint(r)
	total, err3 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2, err3); err != nil {
		return a, nil, fmt.Errorf("part: %w", err)
	}
	if number >= total || total > maxParts {
		return a, nil, fmt.Errorf("part %d of %d: %w", number, total, errBadPart)
	}
	t, err := o.open(payload[len(payload)-r.Len():])
	if err != nil {
		return a, nil, fmt.Errorf("part %d of %d: %w", number, total, err)
	}
	switch {
	case number == 0:
		a = assembly{id: id, total: total, whole: t}
		a.whole.Puts = slices.Grow(a.whole.Puts, min(len(t.Puts)*int(total-1), maxGuess)) // parts are alike
	case a.id != id || a.total != total || a.next != number:
		return assembly{}, nil, errPartLost
	default:
		a.whole.Puts = append(a.whole.Puts, t.Puts...)
	}
	if a.next = number + 1; a.next < a.total {
		return a, nil, nil
	}
	return assembly{}, &a.whole, nil
}

// documents returns what a restore puts.
func documents(t *fsm.Transaction) []netquorum.Document {
	docs := make([]netquorum.Document, len(t.Puts))
	for i, p := range t.Puts {
		docs[i] = p.Document
	}
	return docs
}

// appendTo encodes the assembly for a snapshot.
func (a assembly) appendTo(b []byte) ([]byte, error) {
	encoded, err := fsm.EncodeTransaction(a.whole)
	if err != nil {
		return nil, err
	}
	b = slices.Grow(b, len(encoded)+64)
	b = binary.AppendUvarint(b, uint64(len(a.id)))
	b = append(b, a.id...)
	b = binary.AppendUvarint(b, a.next)
	b = binary.AppendUvarint(b, a.total)
	b = binary.AppendUvarint(b, uint64(len(encoded)))
	return append(b, encoded...), nil
}

func readAssembly(r byteReader) (a assembly, err error) {
	var err1, err2, err3 error
	a.id, err = readString(r, maxPartID)
	a.next, err1 = binary.ReadUvarint(r)
	a.total, err2 = binary.ReadUvarint(r)
	encoded, err3 := readString(r, 2*MaxRestore)
	if err := errors.Join(err, err1, err2, err3); err != nil {
		return a, err
	}
	if a.total > maxParts || a.next > a.total {
		return a, errBadPart
	}
	a.whole, err = fsm.DecodeTransaction([]byte(encoded))
	return a, err
}
