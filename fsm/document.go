package fsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/netquorum/netquorum"
)

// How a spec is encoded. Add at the end. Never renumber and never reuse.
const (
	// specJSON is the spec's JSON form.
	specJSON byte = 1
	// specRecord is a record's type and its data as they are. Records are the
	// bulk of a large state, and their data needs no second look.
	specRecord byte = 2
)

// appendSpec encodes what a document says. Equal encodings mean equal specs,
// which comparing the values would not: an empty list and none at all are the
// same once they have been through a snapshot.
func appendSpec(b []byte, d *netquorum.Document) ([]byte, error) {
	if r, ok := d.Spec.(*netquorum.Record); ok {
		b = append(b, specRecord)
		return append(appendString(b, r.Type), r.Data...), nil
	}
	text, err := json.Marshal(d.Spec)
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", d.Key(), err)
	}
	return append(append(b, specJSON), text...), nil
}

// specRecordSize is how many bytes appendSpec makes of a record.
func specRecordSize(r *netquorum.Record) int {
	var n [binary.MaxVarintLen64]byte
	return 1 + binary.PutUvarint(n[:], uint64(len(r.Type))) + len(r.Type) + len(r.Data)
}

// appendDocument encodes a document.
func appendDocument(b []byte, d *netquorum.Document) ([]byte, error) {
	b = binary.AppendUvarint(appendKey(b, d.Key()), uint64(d.Revision))
	if r, ok := d.Spec.(*netquorum.Record); ok { // whose length is known ahead
		b = binary.AppendUvarint(b, uint64(specRecordSize(r)))
		return appendSpec(b, d)
	}
	spec, err := appendSpec(nil, d)
	if err != nil {
		return nil, err
	}
	return appendString(b, spec), nil
}

// document decodes a document. Nothing in it refers to the reader's bytes.
func (r *reader) document() netquorum.Document {
	k := r.key()
	rev := r.revision()
	spec := r.bytes()
	if r.err != nil {
		return netquorum.Document{}
	}
	s, err := decodeSpec(k.Kind, spec)
	if err != nil {
		r.fail("%s: %w", k, err)
	}
	return netquorum.Document{Kind: k.Kind, Name: k.Name, Revision: rev, Spec: s}
}

func decodeSpec(kind netquorum.Kind, b []byte) (netquorum.Spec, error) {
	r := reader{data: b}
	switch format := r.byte(); {
	case r.err != nil:
		return nil, r.err
	case format == specJSON:
		spec, err := netquorum.DecodeSpec(kind, r.data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return spec, nil
	case format == specRecord && kind == netquorum.KindRecord:
		record := &netquorum.Record{Type: r.string()}
		if r.err != nil {
			return nil, r.err
		}
		if len(r.data) > 0 {
			record.Data = bytes.Clone(r.data)
		}
		return record, nil
	case format > specRecord:
		return nil, fmt.Errorf("%w: spec format %d", ErrUnsupported, format)
	default:
		return nil, fmt.Errorf("%w: spec format %d", ErrCorrupt, format)
	}
}

// normal returns the document as it is proposed: a record's data is brought to
// its canonical form once, by the proposer, so that filers need only compare
// bytes and a change of white space is no change.
func normal(d netquorum.Document) (netquorum.Document, error) {
	if _, ok := kindNumbers[d.Kind]; !ok {
		return d, &netquorum.UnknownKindError{Kind: d.Kind}
	}
	if d.Spec == nil || d.Spec.Kind() != d.Kind {
		return d, fmt.Errorf("%s: the spec is a %T", d.Key(), d.Spec)
	}
	r, ok := d.Spec.(*netquorum.Record)
	if !ok || r.Canonical() {
		return d, nil
	}
	data, err := netquorum.CanonicalJSON(r.Data)
	if err != nil {
		return d, fmt.Errorf("%s: spec.data is not JSON: %w", d.Key(), err)
	}
	d.Spec = &netquorum.Record{Type: r.Type, Data: data}
	return d, nil
}
