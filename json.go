package netquorum

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A jsonReader reads JSON into nodes, strictly: a repeated key is an error, as
// it is in YAML; encoding/json would silently take the last. It expects valid
// UTF-8.
type jsonReader struct {
	data      []byte
	pos       int
	line      int // completed lines
	lineStart int
	// skipAt, when set, is the depth at which the value of a member "data" is
	// kept raw if it is canonical: the payload of a record, which is most of a
	// large dump.
	skipAt int
}

func (r *jsonReader) place() place { return place{r.line + 1, r.pos - r.lineStart + 1} }

// A jsonError is a syntax error and where it is.
type jsonError struct {
	at  place
	msg string
}

func (e *jsonError) Error() string { return fmt.Sprintf("%d:%d: %s", e.at.line, e.at.column, e.msg) }

func (r *jsonReader) fail(format string, args ...any) error {
	return &jsonError{r.place(), fmt.Sprintf(format, args...)}
}

// space skips white space; newlines occur nowhere else in JSON, so this is
// where lines are counted.
func (r *jsonReader) space() {
	for ; r.pos < len(r.data); r.pos++ {
		switch r.data[r.pos] {
		case '\n':
			r.line++
			r.lineStart = r.pos + 1
		case ' ', '\t', '\r':
		default:
			return
		}
	}
}

func (r *jsonReader) more() bool {
	r.space()
	return r.pos < len(r.data)
}

// only reads the one value that the data must consist of.
func (r *jsonReader) only() (*node, error) {
	n, err := r.value(0)
	if err == nil && r.more() {
		err = r.fail("there is more after the JSON value")
	}
	return n, err
}

func (r *jsonReader) value(depth int) (*node, error) {
	if !r.more() {
		return nil, r.fail("the JSON value ends too early")
	}
	if depth > maxDepth {
		return nil, r.fail("lists and objects nest deeper than %d", maxDepth)
	}
	n := &node{at: r.place()}
	var err error
	switch c := r.data[r.pos]; {
	case c == '{':
		n.kind = objectNode
		n.members, err = r.object(depth)
	case c == '[':
		n.kind = listNode
		n.list, err = r.array(depth)
	case c == '"':
		n.kind = stringNode
		n.text, err = r.str()
	case c == '-' || c >= '0' && c <= '9':
		n.kind = numberNode
		size := numberLen(r.data[r.pos:])
		if size == 0 {
			return nil, r.fail("this is no JSON number")
		}
		n.text = string(r.data[r.pos : r.pos+size])
		r.pos += size
	case r.word("true"), r.word("false"):
		n.kind, n.text = boolNode, strconv.FormatBool(c == 't')
	case r.word("null"):
	default:
		return nil, r.fail("%s cannot begin a JSON value", r.character())
	}
	return n, err
}

// character shows what stands at the current position, for messages.
func (r *jsonReader) character() string {
	if r.pos >= len(r.data) {
		return "the end of the file"
	}
	c, _ := utf8.DecodeRune(r.data[r.pos:])
	return strconv.QuoteRune(c)
}

func (r *jsonReader) word(w string) bool {
	if !bytes.HasPrefix(r.data[r.pos:], []byte(w)) {
		return false
	}
	r.pos += len(w)
	return true
}

// expect skips space and one character.
func (r *jsonReader) expect(c byte, where string) error {
	if !r.more() || r.data[r.pos] != c {
		return r.fail("expected %q %s, found %s", c, where, r.character())
	}
	r.pos++
	return nil
}

func (r *jsonReader) object(depth int) ([]member, error) {
	r.pos++
	var out []member
	for r.more() && r.data[r.pos] != '}' {
		if len(out) > 0 {
			if err := r.expect(',', "between the members of an object"); err != nil {
				return nil, err
			}
			r.space()
		}
		m := member{at: r.place()}
		if r.pos >= len(r.data) || r.data[r.pos] != '"' {
			return nil, r.fail("expected a name in quotes, found %s", r.character())
		}
		var err error
		if m.name, err = r.str(); err != nil {
			return nil, err
		}
		if err := r.expect(':', "after a name"); err != nil {
			return nil, err
		}
		if r.skipAt > 0 && depth+1 == r.skipAt && m.name == "data" {
			m.value = r.raw(depth + 1)
		}
		if m.value == nil {
			if m.value, err = r.value(depth + 1); err != nil {
				return nil, err
			}
		}
		out = append(out, m)
	}
	if err := r.expect('}', "at the end of an object"); err != nil {
		return nil, err
	}
	if again, first := repeated(out); again != nil {
		return nil, &jsonError{again.at, fmt.Sprintf("key %q stands here a second time; the first is on line %d", again.name, first.at.line)}
	}
	return out, nil
}

func (r *jsonReader) array(depth int) ([]*node, error) {
	r.pos++
	var out []*node
	for r.more() && r.data[r.pos] != ']' {
		if len(out) > 0 {
			if err := r.expect(',', "between the elements of a list"); err != nil {
				return nil, err
			}
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, r.expect(']', "at the end of a list")
}

// repeated finds a member whose name another has before it.
func repeated(members []member) (again, first *member) {
	const few = 12 // up to here comparing all pairs is faster than a map
	if len(members) <= few {
		for i := range members {
			for j := range i {
				if members[i].name == members[j].name {
					return &members[i], &members[j]
				}
			}
		}
		return nil, nil
	}
	seen := make(map[string]int, len(members))
	for i := range members {
		if j, ok := seen[members[i].name]; ok {
			return &members[i], &members[j]
		}
		seen[members[i].name] = i
	}
	return nil, nil
}

// raw takes the value at the current position as it is, if it is canonical. The
// node refers to the reader's bytes: the decoder makes the one copy.
func (r *jsonReader) raw(depth int) *node {
	r.space()
	size := canonicalLen(r.data[r.pos:], depth)
	if size == 0 {
		return nil
	}
	n := &node{kind: rawNode, at: r.place(), raw: r.data[r.pos : r.pos+size]}
	r.pos += size
	return n
}

// str reads a string and its escapes.
func (r *jsonReader) str() (string, error) {
	r.pos++
	start := r.pos
	var b []byte // nil until the first escape
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; {
		case c == '"':
			rest := r.data[start:r.pos]
			r.pos++
			if b == nil {
				return string(rest), nil
			}
			return string(append(b, rest...)), nil
		case c < 0x20:
			return "", r.fail("a string holds the control character %s; write it as an escape", r.character())
		case c != '\\':
			r.pos++
		default:
			b = append(b, r.data[start:r.pos]...)
			c, err := r.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, c)
			start = r.pos
		}
	}
	return "", r.fail("a string does not end")
}

func (r *jsonReader) escape() (rune, error) {
	rest := r.data[r.pos:]
	if len(rest) < 2 {
		return 0, r.fail("a string does not end")
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), rest[1]); i >= 0 {
		r.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	c, ok := hexEscape(rest)
	if !ok {
		return 0, r.fail("a backslash must be followed by one of \" \\ / b f n r t or uXXXX")
	}
	size := 6
	if utf16.IsSurrogate(c) {
		low, _ := hexEscape(rest[6:])
		if c = utf16.DecodeRune(c, low); c == utf8.RuneError {
			return 0, r.fail("half of a surrogate pair stands alone")
		}
		size = 12
	}
	r.pos += size
	return c, nil
}

func hexEscape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(v), err == nil
}

// numberLen returns how many bytes of b are one JSON number, 0 when it is none.
func numberLen(b []byte) int {
	i := 0
	digits := func() int {
		start := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i - start
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	if n := digits(); n == 0 || n > 1 && b[first] == '0' {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		if digits() == 0 {
			return 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if digits() == 0 {
			return 0
		}
	}
	return i
}
