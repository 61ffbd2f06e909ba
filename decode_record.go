package netquorum

import "bytes"

// CutDocument reads the JSON of one document at the start of data, as strictly as
// Document.UnmarshalJSON does, and returns what follows it. data is UTF-8.
func CutDocument(data []byte) (Document, []byte, error) {
	if d, rest, ok := cutRecord(data); ok {
		return d, rest, nil
	}
	dec := &decoder{file: "document"}
	r := &jsonReader{data: data, skipAt: 2}
	n, err := r.value(0)
	if err != nil {
		dec.syntax(err)
		return Document{}, nil, dec.errors
	}
	d, ok := dec.document(n)
	if !ok {
		return Document{}, nil, dec.errors
	}
	return d, data[r.pos:], nil
}

// cutRecord reads a record in the form in which AppendJSON writes it, without a tree
// of nodes and reflection. Of all else it says that it is not ok, and leaves it to
// the decoder: what it reads, the decoder reads alike.
func cutRecord(data []byte) (d Document, rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(data, []byte(`{"kind":"Record","name":`))
	if !ok {
		return d, nil, false
	}
	d.Kind = KindRecord
	if d.Name, rest, ok = cutPlain(rest); !ok || d.Name == "" {
		return d, nil, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"spec":{`)); !ok {
		return d, nil, false
	}
	r := &Record{}
	if after, typed := bytes.CutPrefix(rest, []byte(`"type":`)); typed {
		if r.Type, rest, ok = cutPlain(after); !ok {
			return d, nil, false
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(`,`)); !ok {
			return d, nil, false
		}
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`"data":`)); !ok {
		return d, nil, false
	}
	const depth = 2 // of the data in the document
	size := canonicalLen(rest, depth)
	if size == 0 {
		return d, nil, false
	}
	r.Data = bytes.Clone(rest[:size])
	r.examined = r.Data
	if rest, ok = bytes.CutPrefix(rest[size:], []byte(`}}`)); !ok {
		return d, nil, false
	}
	d.Spec = r
	return d, rest, true
}

// cutPlain reads a string in which nothing is escaped.
func cutPlain(b []byte) (s string, rest []byte, ok bool) {
	size, escaped := canonicalString(b)
	if size == 0 || escaped {
		return "", nil, false
	}
	return string(b[1 : size-1]), b[size:], true
}
