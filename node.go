package netquorum

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// A node is one value of a document as written, in YAML or in JSON, with the
// place where it stands. Both readers make nodes and one decoder reads them, so
// both forms obey the same rules and their errors name line and column.
type node struct {
	kind    nodeKind
	at      place
	text    string // of a string or number; "true" or "false"
	raw     []byte // canonical JSON, within what is read
	list    []*node
	members []member
}

// A member is one key of an object with its value.
type member struct {
	name  string
	at    place
	value *node
}

// A place is where something stands in a file, counted from 1.
type place struct{ line, column int }

type nodeKind byte

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	listNode
	objectNode
	rawNode // canonical JSON that nothing has to look into
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a string", "a list", "a mapping", "a value"}[k]
}

// maxDepth bounds how deep lists and mappings may nest, so that hostile input
// cannot exhaust the stack.
const maxDepth = 100

// appendCanonical appends the node as JSON in the one form that records are
// kept in: no space, members sorted by name, nothing escaped that need not be.
func (n *node) appendCanonical(b []byte) []byte {
	switch n.kind {
	case nullNode:
		return append(b, "null"...)
	case stringNode:
		return appendString(b, n.text)
	case listNode:
		b = append(b, '[')
		for i, v := range n.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.appendCanonical(b)
		}
		return append(b, ']')
	case objectNode:
		sorted := slices.SortedFunc(slices.Values(n.members), func(a, b member) int { return cmp.Compare(a.name, b.name) })
		b = append(b, '{')
		for i, m := range sorted {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, m.name), ':')
			b = m.value.appendCanonical(b)
		}
		return append(b, '}')
	case rawNode:
		return append(b, n.raw...)
	default: // boolNode, numberNode
		return append(b, n.text...)
	}
}

// appendString appends s as a JSON string with the fewest escapes.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		if e := shortEscape(c); e != 0 {
			b = append(b, '\\', e)
		} else {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}

// shortEscape returns the letter that escapes c in JSON, or 0.
func shortEscape(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

// CanonicalJSON returns a JSON value in the form in which records keep their
// data: no space, members sorted by name, no needless escapes, numbers as
// written. A repeated key is an error.
func CanonicalJSON(data []byte) ([]byte, error) {
	if canonical(data) {
		return data, nil
	}
	if !utf8.Valid(data) {
		return nil, errNotText
	}
	r := jsonReader{data: data}
	n, err := r.only()
	if err != nil {
		return nil, err
	}
	return n.appendCanonical(nil), nil
}
