package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/netquorum/netquorum"
)

// A snapshotReader reads a stream whose bytes it does not trust yet.
type snapshotReader struct {
	src  *bufio.Reader
	hash hash.Hash
	slab []byte // what is left of the current block of memory
}

// slabSize is how much memory is asked for at a time. Items share a block, and
// an announced length is believed no further than this.
const slabSize = 1 << 20

// read reads and hashes n bytes.
func (sr *snapshotReader) read(n int) ([]byte, error) {
	if n > slabSize/4 {
		return sr.readLarge(n)
	}
	if n > len(sr.slab) {
		sr.slab = make([]byte, slabSize)
	}
	b := sr.slab[:n:n]
	sr.slab = sr.slab[n:]
	if _, err := io.ReadFull(sr.src, b); err != nil {
		return nil, readError(err)
	}
	sr.hash.Write(b)
	return b, nil
}

// readLarge grows as the bytes really arrive.
func (sr *snapshotReader) readLarge(n int) ([]byte, error) {
	var b []byte
	for len(b) < n {
		part := min(n-len(b), max(slabSize, len(b)))
		b = slices.Grow(b, part)
		if _, err := io.ReadFull(sr.src, b[len(b):len(b)+part]); err != nil {
			return nil, readError(err)
		}
		b = b[:len(b)+part]
	}
	sr.hash.Write(b)
	return b, nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: ends too early", ErrCorrupt)
	}
	return fmt.Errorf("read: %w", err)
}

// item reads and hashes one item.
func (sr *snapshotReader) item() (snapshotItem, error) {
	kind, err := sr.src.ReadByte()
	if err != nil {
		return snapshotItem{}, readError(err)
	}
	size, err := binary.ReadUvarint(sr.src)
	if err != nil || size > maxSnapshotItem {
		if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: an item of %d bytes", ErrCorrupt, size)
		} else {
			err = readError(err)
		}
		return snapshotItem{}, err
	}
	var head [1 + binary.MaxVarintLen64]byte
	sr.hash.Write(binary.AppendUvarint(append(head[:0], kind), size))
	payload, err := sr.read(int(size))
	return snapshotItem{kind, payload}, err
}

// A builder makes a state of the items of a snapshot.
type builder struct {
	state    State
	docs     []netquorum.Document
	versions map[versionKey]*netquorum.Document // what only the history knows
	pasts    []snapshotItem
	header   bool
}

func buildState(items []snapshotItem) (*State, error) {
	b := &builder{versions: map[versionKey]*netquorum.Document{}}
	n := 0
	for _, it := range items {
		if it.kind == itemDocument {
			n++
		}
	}
	b.docs = make([]netquorum.Document, 0, n)
	for i, it := range items {
		if err := b.item(it); err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	if !b.header {
		return nil, fmt.Errorf("%w: no header", ErrCorrupt)
	}
	var err error
	if b.state.config, err = netquorum.Load(b.docs); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for _, it := range b.pasts {
		if err := b.past(it.payload); err != nil {
			return nil, err
		}
	}
	if n := b.state.history.queue.len(); n > 0 && b.state.history.queue.at(n-1).change.Revision != b.state.revision {
		return nil, fmt.Errorf("%w: the history does not end at revision %d", ErrCorrupt, b.state.revision)
	}
	return &b.state, nil
}

func (b *builder) item(it snapshotItem) error {
	r := reader{data: it.payload}
	switch it.kind {
	case itemHeader:
		b.header = true
		b.state.revision, b.state.index = r.revision(), r.uvarint()
	case itemDocument:
		b.docs = append(b.docs, r.document())
	case itemVersion:
		d := r.document()
		b.versions[keyOf(d.Key(), d.Revision)] = &d
	case itemChange:
		b.pasts = append(b.pasts, it) // once all documents are known
		return nil
	case itemRequest:
		b.state.requests.young = b.state.requests.young.add(r.request())
	case itemOldReq:
		b.state.requests.old = b.state.requests.old.add(r.request())
	default:
		return fmt.Errorf("kind %d: %w", it.kind, ErrUnsupported)
	}
	return r.end()
}

// past adds one change to the history.
func (b *builder) past(payload []byte) error {
	r := reader{data: payload}
	c := Change{Revision: r.revision()}
	f := r.flags(2)
	c.Restore, c.Abridged = f&1 != 0, f&2 != 0
	c.Time, c.Actor, c.Trace, c.ID = r.varint(), r.string(), r.uvarint(), r.string()
	c.Documents = make([]DocumentChange, r.count())
	for i := range c.Documents {
		k := r.key()
		before, after := r.revision(), r.revision()
		if r.err != nil {
			break
		}
		d := DocumentChange{Key: k}
		var err error
		if d.Before, err = b.version(k, before, c.Abridged); err != nil {
			return err
		}
		if d.After, err = b.version(k, after, c.Abridged); err != nil {
			return err
		}
		c.Documents[i] = d
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("change %d: %w", c.Revision, err)
	}
	if n := b.state.history.queue.len(); n > 0 && b.state.history.queue.at(n-1).change.Revision+1 != c.Revision {
		return fmt.Errorf("%w: the history goes on with revision %d", ErrCorrupt, c.Revision)
	}
	p, err := newPast(&c)
	if err != nil {
		return err
	}
	b.state.history = b.state.history.add(p, len(b.pasts))
	return nil
}

// version finds a version that a change refers to, so that a document that
// stands in several changes is in memory once, as it was before the snapshot.
func (b *builder) version(k netquorum.Key, r netquorum.Revision, abridged bool) (*netquorum.Document, error) {
	if r == 0 {
		return nil, nil
	}
	if abridged {
		return &netquorum.Document{Kind: k.Kind, Name: k.Name, Revision: r}, nil
	}
	if d := b.versions[keyOf(k, r)]; d != nil {
		return d, nil
	}
	d, ok := b.state.config.Get(k.Kind, k.Name)
	if !ok || d.Revision != r {
		return nil, fmt.Errorf("%w: the history refers to %s at revision %d, which is missing", ErrCorrupt, k, r)
	}
	b.versions[keyOf(k, r)] = &d
	return &d, nil
}
