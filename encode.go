package netquorum

import (
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
)

// MarshalJSON writes the document with its fields in a fixed order, so that
// equal documents have equal bytes: the state hash and dumps rely on it.
func (d Document) MarshalJSON() ([]byte, error) { return d.AppendJSON(nil) }

// AppendJSON appends what MarshalJSON returns to b. Calling it saves the second
// look that encoding/json takes at what a MarshalJSON method returned, which is
// most of the cost of a large record.
func (d Document) AppendJSON(b []byte) ([]byte, error) {
	b = appendString(append(b, `{"kind":`...), string(d.Kind))
	b = appendString(append(b, `,"name":`...), d.Name)
	if d.Revision != 0 {
		b = strconv.AppendUint(append(b, `,"revision":`...), uint64(d.Revision), 10)
	}
	b, err := appendSpec(append(b, `,"spec":`...), d.Spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Key(), err)
	}
	return append(b, '}'), nil
}

func appendSpec(b []byte, spec Spec) ([]byte, error) {
	if r, ok := spec.(*Record); ok && r != nil {
		return r.appendJSON(b), nil
	}
	s, err := json.Marshal(spec)
	return append(b, s...), err
}

// appendJSON trusts the data to be JSON, which the rules of a configuration
// ask for.
func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if r.Type != "" {
		b = appendString(append(b, `"type":`...), r.Type)
	}
	if len(r.Data) > 0 {
		if r.Type != "" {
			b = append(b, ',')
		}
		b = append(append(b, `"data":`...), r.Data...)
	}
	return append(b, '}')
}

// FormatJSONLines writes documents as JSON, one to a line: the fast form of a
// dump. Revisions are left out, because they belong to the cluster that the
// documents came from.
func FormatJSONLines(docs iter.Seq[Document]) ([]byte, error) {
	var b []byte
	for d := range docs {
		var err error
		if b, err = AppendJSONLine(b, d); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// AppendJSONLine appends one document as FormatJSONLines writes it.
func AppendJSONLine(b []byte, d Document) ([]byte, error) {
	d.Revision = 0
	b, err := d.AppendJSON(b)
	return append(b, '\n'), err
}
