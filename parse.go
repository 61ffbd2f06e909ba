package netquorum

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what ParseDocuments reads.
const (
	MaxFile     = 64 << 20 // a whole file: the largest configuration that can be restored
	MaxDocument = 1 << 20  // one document as written
)

// ErrEmpty reports a file in which there is no document.
var ErrEmpty = errors.New("there is no document in it")

var errNotText = errors.New("it is not text in UTF-8, but looks like binary data")

// A ParseError is one thing that is wrong with a file, and where.
type ParseError struct {
	File         string
	Line, Column int // 0 when it is about the whole file
	Document     Key // as far as known
	Field        string
	Err          error
}

func (e *ParseError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Document.Kind != "" && e.Document.Name != "" {
		b.WriteString(e.Document.String() + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

func (e *ParseError) Unwrap() error { return e.Err }

// ParseErrors is everything that is wrong with a file, in its order.
type ParseErrors []*ParseError

// maxParseErrors is how many errors are told; who sent a file of another kind
// altogether does not want thousands.
const maxParseErrors = 100

func (es ParseErrors) Error() string {
	lines := []string{}
	for i, e := range es {
		if i == maxParseErrors {
			lines = append(lines, fmt.Sprintf("and %d more", len(es)-i))
			break
		}
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

func (es ParseErrors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// ParseDocuments reads documents from YAML (any number of them, separated by
// ---) or, when the first character is {, from JSON (one object after another).
// name is used in errors. The error is ErrEmpty or ParseErrors, which hold all
// that is wrong; then no document is returned.
func ParseDocuments(name string, data []byte) ([]Document, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	whole := func(err error) error { return ParseErrors{{File: name, Err: err}} }
	switch {
	case len(data) > MaxFile:
		return nil, whole(fmt.Errorf("%d bytes are more than the %d MiB that a configuration may have", len(data), MaxFile>>20))
	case bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data):
		return nil, whole(errNotText)
	}
	d := &decoder{file: name}
	var docs []Document
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		docs = d.json(data)
	} else {
		docs = d.yaml(data)
	}
	if len(d.errors) > 0 {
		return nil, d.errors
	}
	if len(docs) == 0 {
		return nil, whole(ErrEmpty)
	}
	return docs, nil
}

// json decodes a stream of JSON documents. Errors in what a document says do
// not stop it; after a syntax error there is no telling where the next begins.
func (d *decoder) json(data []byte) (docs []Document) {
	r := &jsonReader{data: data, skipAt: 2}
	for r.more() {
		start, at := r.pos, r.place()
		n, err := r.value(0)
		if err != nil {
			d.syntax(err)
			return docs
		}
		if size := r.pos - start; size > MaxDocument {
			d.doc = Key{}
			d.tooLarge(at, size)
			continue
		}
		if doc, ok := d.document(n); ok {
			docs = append(docs, doc)
		}
	}
	return docs
}

func (d *decoder) tooLarge(at place, size int) {
	d.fail(at, "", "a document of %d bytes is larger than the %d KiB that one may have", size, MaxDocument>>10)
}

// syntax notes an error of the reader, after which no document is known.
func (d *decoder) syntax(err error) {
	d.doc = Key{}
	var at place
	var e *jsonError
	if errors.As(err, &e) {
		at, err = e.at, errors.New(e.msg)
	}
	d.fail(at, "", "%w", err)
}

// UnmarshalJSON reads one document strictly: an unknown kind or field or a
// repeated key is an error that names it.
func (d *Document) UnmarshalJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errNotText
	}
	if doc, rest, ok := cutRecord(data); ok && len(rest) == 0 {
		*d = doc
		return nil
	}
	r := &jsonReader{data: data, skipAt: 2}
	n, err := r.only()
	dec := &decoder{file: "document"}
	if err != nil {
		dec.syntax(err)
		return dec.errors
	}
	doc, ok := dec.document(n)
	if !ok {
		return dec.errors
	}
	*d = doc
	return nil
}

// DecodeSpec reads the JSON form of a spec of the given kind, strictly. A
// missing spec is an empty one.
func DecodeSpec(kind Kind, data []byte) (Spec, error) {
	if newSpec[kind] == nil {
		return nil, &UnknownKindError{Kind: kind}
	}
	dec := &decoder{file: string(kind)}
	if len(bytes.TrimSpace(data)) == 0 {
		return dec.spec(kind, nil), nil
	}
	if !utf8.Valid(data) {
		return nil, errNotText
	}
	r := &jsonReader{data: data, skipAt: 1}
	n, err := r.only()
	if err != nil {
		dec.syntax(err)
		return nil, dec.errors
	}
	spec := dec.spec(kind, n)
	if len(dec.errors) > 0 {
		return nil, dec.errors
	}
	return spec, nil
}
