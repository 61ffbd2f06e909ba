package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/netquorum/netquorum"
)

// entryFormat is the first byte of a log entry, an entry kind the second.
const entryFormat byte = 1

// Kinds of log entries. Add at the end. Never renumber and never reuse: an old
// filer may still replay a log that holds them.
const (
	entryTransactions byte = 1
)

// EncodeEntry encodes a log entry that holds the transactions, to be applied in
// this order.
func EncodeEntry(ts []Transaction) ([]byte, error) {
	encoded := make([][]byte, len(ts))
	for i := range ts {
		var err error
		if encoded[i], err = EncodeTransaction(ts[i]); err != nil {
			return nil, err
		}
	}
	return JoinEntry(encoded), nil
}

// JoinEntry makes one log entry of transactions that were encoded one by one,
// so that a leader can group what other filers forward without decoding it.
func JoinEntry(encoded [][]byte) []byte {
	size := 2 + binary.MaxVarintLen32
	for _, t := range encoded {
		size += binary.MaxVarintLen32 + len(t)
	}
	b := append(make([]byte, 0, size), entryFormat, entryTransactions)
	b = binary.AppendUvarint(b, uint64(len(encoded)))
	for _, t := range encoded {
		b = appendString(b, t)
	}
	return b
}

// EncodeTransaction encodes one transaction. An error means that a document is
// not encodable at all; what merely breaks a rule, even the size limit, is left
// to DryRun and Apply.
func EncodeTransaction(t Transaction) ([]byte, error) {
	return AppendTransaction(make([]byte, 0, 512+roughSize(t.Puts)), t)
}

// AppendTransaction is EncodeTransaction in memory that is there already.
func AppendTransaction(b []byte, t Transaction) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(max(t.Level, 0)))
	b = append(b, flags(t.System))
	b = appendString(b, t.ID)
	b = appendString(b, t.Actor)
	b = binary.AppendUvarint(b, t.Trace)
	b = binary.AppendVarint(b, t.Time)
	b = binary.AppendUvarint(b, uint64(len(t.Puts)))
	for i := range t.Puts {
		p := &t.Puts[i]
		d, err := normal(p.Document)
		if err != nil {
			return nil, err
		}
		d.Revision = 0
		b = appendPrecondition(b, p.IfRevision, p.MustNotExist)
		if b, err = appendDocument(b, &d); err != nil {
			return nil, err
		}
	}
	b = binary.AppendUvarint(b, uint64(len(t.Deletes)))
	for _, d := range t.Deletes {
		if _, ok := kindNumbers[d.Key.Kind]; !ok {
			return nil, &netquorum.UnknownKindError{Kind: d.Key.Kind}
		}
		b = appendPrecondition(b, d.IfRevision, false)
		b = appendKey(b, d.Key)
	}
	return b, nil
}

// roughSize is what the puts take, encoded, if most of it is the data of records.
func roughSize(puts []Put) (n int) {
	for i := range puts {
		if r, ok := puts[i].Document.Spec.(*netquorum.Record); ok {
			n += len(r.Data) + len(puts[i].Document.Name) + 32
		}
	}
	return n
}

// Size returns how many bytes a put takes in a transaction, within a few. An error
// is the one that EncodeTransaction would return.
func (p *Put) Size() (int, error) {
	d, err := normal(p.Document)
	if err != nil {
		return 0, err
	}
	n := len(d.Name) + 16
	if r, ok := d.Spec.(*netquorum.Record); ok {
		return n + specRecordSize(r), nil
	}
	spec, err := appendSpec(nil, &d)
	return n + len(spec), err
}

func appendPrecondition(b []byte, ifRevision *netquorum.Revision, mustNotExist bool) []byte {
	b = append(b, flags(ifRevision != nil, mustNotExist))
	if ifRevision != nil {
		b = binary.AppendUvarint(b, uint64(*ifRevision))
	}
	return b
}

func (r *reader) precondition() (ifRevision *netquorum.Revision, mustNotExist bool) {
	f := r.flags(2)
	if f&1 != 0 {
		rev := r.revision()
		ifRevision = &rev
	}
	return ifRevision, f&2 != 0
}

// DecodeEntry decodes a log entry.
func DecodeEntry(entry []byte) ([]Transaction, error) {
	parts, err := splitEntry(entry)
	if err != nil {
		return nil, err
	}
	ts := make([]Transaction, len(parts))
	for i, p := range parts {
		if ts[i], err = DecodeTransaction(p); err != nil {
			return nil, fmt.Errorf("transaction %d of %d: %w", i+1, len(parts), err)
		}
	}
	return ts, nil
}

// splitEntry takes an entry apart into its encoded transactions.
func splitEntry(entry []byte) ([][]byte, error) {
	r := reader{data: entry}
	switch format := r.byte(); {
	case r.err != nil:
		return nil, fmt.Errorf("log entry: %w", r.err)
	case format == 0:
		return nil, fmt.Errorf("log entry: %w: format 0", ErrCorrupt)
	case format != entryFormat:
		return nil, fmt.Errorf("log entry: format %d: %w", format, ErrUnsupported)
	}
	if kind := r.byte(); r.err == nil && kind != entryTransactions {
		return nil, fmt.Errorf("log entry: kind %d: %w", kind, ErrUnsupported)
	}
	parts := make([][]byte, r.count())
	for i := range parts {
		parts[i] = r.bytes()
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	return parts, nil
}

// DecodeTransaction decodes what EncodeTransaction made. One that needs a higher
// feature level than this version has is an ErrUnsupported, and is not looked
// into further.
func DecodeTransaction(data []byte) (Transaction, error) {
	r := reader{data: data}
	level := r.uvarint()
	if level > Level {
		return Transaction{}, fmt.Errorf("feature level %d, this version has %d: %w", level, Level, ErrUnsupported)
	}
	t := Transaction{Level: int(level)}
	t.System = r.flags(1)&1 != 0
	t.ID, t.Actor = r.string(), r.string()
	t.Trace, t.Time = r.uvarint(), r.varint()
	if n := r.count(); n > 0 {
		t.Puts = make([]Put, n)
	}
	for i := range t.Puts {
		p := &t.Puts[i]
		p.IfRevision, p.MustNotExist = r.precondition()
		p.Document = r.document()
		if r.err != nil {
			break
		}
	}
	if n := r.count(); n > 0 {
		t.Deletes = make([]Delete, n)
	}
	for i := range t.Deletes {
		d := &t.Deletes[i]
		d.IfRevision, _ = r.precondition()
		d.Key = r.key()
		if r.err != nil {
			break
		}
	}
	if err := r.end(); err != nil {
		return Transaction{}, err
	}
	return t, nil
}
