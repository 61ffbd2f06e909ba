package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/netquorum/netquorum"
)

// A snapshot is a stream: eight bytes that name the format and its version,
// items, and the SHA-256 of all that. An item is its kind, its length and its
// payload; the last one counts the others.
const (
	snapshotMagic        = "NQSTATE"
	snapshotFormat  byte = 1
	maxSnapshotItem      = 256 << 20
)

// Kinds of snapshot items; the kinds up to itemRequest also begin what is
// hashed. Add at the end. Never renumber and never reuse: a filer may start
// from a snapshot that an older version left.
const (
	itemHeader   byte = 1 // the state's numbers
	itemDocument byte = 2 // a document of the configuration
	itemVersion  byte = 3 // a document that only the history knows
	itemChange   byte = 4 // a change of the history, oldest first
	itemRequest  byte = 5 // a result on record, of the young generation
	itemOldReq   byte = 6 // a result on record, of the old generation
	itemEnd      byte = 7 // how many items came before
)

// EncodeSnapshot writes the state. Equal states make equal bytes.
func EncodeSnapshot(w io.Writer, s *State) error {
	e := &snapshotWriter{hash: sha256.New()}
	e.w = bufio.NewWriterSize(io.MultiWriter(w, e.hash), 1<<18)
	e.w.WriteString(snapshotMagic)
	e.w.WriteByte(snapshotFormat)

	b := binary.AppendUvarint(nil, uint64(s.revision))
	e.item(itemHeader, binary.AppendUvarint(b, s.index))
	for d := range s.config.Documents() {
		if err := e.document(itemDocument, &d); err != nil {
			return err
		}
	}
	if err := e.history(s); err != nil {
		return err
	}
	for id, r := range s.requests.young.all() {
		e.scratch = appendRequest(e.scratch[:0], id, &r)
		e.item(itemRequest, e.scratch)
	}
	for id, r := range s.requests.old.all() {
		e.scratch = appendRequest(e.scratch[:0], id, &r)
		e.item(itemOldReq, e.scratch)
	}
	e.item(itemEnd, binary.AppendUvarint(nil, e.items))
	if err := e.w.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if _, err := w.Write(e.hash.Sum(nil)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

type snapshotWriter struct {
	w       *bufio.Writer // keeps the first error for Flush
	hash    hash.Hash
	items   uint64
	scratch []byte
}

func (e *snapshotWriter) item(kind byte, payload []byte) {
	var head [1 + binary.MaxVarintLen64]byte
	e.w.Write(binary.AppendUvarint(append(head[:0], kind), uint64(len(payload))))
	e.w.Write(payload)
	e.items++
}

func (e *snapshotWriter) document(kind byte, d *netquorum.Document) error {
	b, err := appendDocument(e.scratch[:0], d)
	if err != nil {
		return err
	}
	e.scratch = b
	e.item(kind, b)
	return nil
}

// A versionKey names one version of a document. A revision writes a document
// once only, so it is unique.
type versionKey struct {
	key      netquorum.Key // folded
	revision netquorum.Revision
}

func keyOf(k netquorum.Key, r netquorum.Revision) versionKey { return versionKey{k.Fold(), r} }

// history writes each version that the configuration no longer has, then the
// changes, which refer to versions.
func (e *snapshotWriter) history(s *State) error {
	written := map[versionKey]bool{}
	for p := range s.history.queue.all(0) {
		if p.change.Abridged {
			continue
		}
		for _, c := range p.change.Documents {
			for _, d := range []*netquorum.Document{c.Before, c.After} {
				if d == nil {
					continue
				}
				if now, ok := s.config.Get(d.Kind, d.Name); ok && now.Revision == d.Revision {
					continue
				}
				k := keyOf(d.Key(), d.Revision)
				if written[k] {
					continue
				}
				written[k] = true
				if err := e.document(itemVersion, d); err != nil {
					return err
				}
			}
		}
	}
	for p := range s.history.queue.all(0) {
		e.scratch = appendChangeHeader(e.scratch[:0], p.change)
		e.scratch = binary.AppendUvarint(e.scratch, uint64(len(p.change.Documents)))
		for i := range p.change.Documents {
			e.scratch = appendDocumentChange(e.scratch, &p.change.Documents[i])
		}
		e.item(itemChange, e.scratch)
	}
	return nil
}

// DecodeSnapshot reads a state. Nothing of it is looked into before its
// checksum has been found right.
func DecodeSnapshot(r io.Reader) (*State, error) {
	items, err := readSnapshot(r)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s, err := buildState(items)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return s, nil
}

type snapshotItem struct {
	kind    byte
	payload []byte
}

// readSnapshot reads the whole stream and checks everything about it that does
// not depend on what the items say. The last item is left out.
func readSnapshot(src io.Reader) ([]snapshotItem, error) {
	sr := &snapshotReader{src: bufio.NewReaderSize(src, 1<<18), hash: sha256.New()}
	head, err := sr.read(len(snapshotMagic) + 1)
	if err != nil {
		return nil, err
	}
	format := head[len(head)-1]
	switch {
	case !bytes.HasPrefix(head, []byte(snapshotMagic)) || format == 0:
		return nil, fmt.Errorf("%w: this is no snapshot", ErrCorrupt)
	case format != snapshotFormat:
		return nil, fmt.Errorf("format %d: %w", format, ErrUnsupported)
	}
	var items []snapshotItem
	for {
		it, err := sr.item()
		if err != nil {
			return nil, err
		}
		if it.kind != itemEnd {
			items = append(items, it)
			continue
		}
		want := sr.hash.Sum(nil)
		got, err := sr.read(sha256.Size)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(got, want) {
			return nil, fmt.Errorf("%w: checksum is wrong", ErrCorrupt)
		}
		if _, err := sr.src.ReadByte(); err != io.EOF {
			return nil, fmt.Errorf("%w: something follows its end (%v)", ErrCorrupt, err)
		}
		end := reader{data: it.payload}
		if n := end.uvarint(); end.end() != nil || n != uint64(len(items)) {
			return nil, fmt.Errorf("%w: %d items, %d announced", ErrCorrupt, len(items), n)
		}
		return items, nil
	}
}
