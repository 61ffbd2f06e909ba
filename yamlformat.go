package netquorum

import (
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// FormatYAML writes documents as YAML for people: fields in the order of the
// types, revisions left out, short lists on one line. Reading it back and
// writing it again gives the same bytes.
func FormatYAML(docs iter.Seq[Document]) ([]byte, error) {
	var b []byte
	for d := range docs {
		if len(b) > 0 {
			b = append(b, "---\n"...)
		}
		var err error
		if b, err = appendYAML(b, d); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendYAML(b []byte, d Document) ([]byte, error) {
	d.Revision = 0
	text, err := d.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	// Through JSON: its field order and number forms are what is wanted.
	n, err := (&jsonReader{data: text}).only()
	if err != nil {
		return nil, err
	}
	return appendMapping(b, n, 0), nil
}

// appendMapping writes the members of an object, one to a line. The cursor is
// already indented for the first.
func appendMapping(b []byte, n *node, indent int) []byte {
	for i, m := range n.members {
		if i > 0 {
			b = appendIndent(b, indent)
		}
		b = append(appendScalar(b, m.name), ':')
		b = appendMember(b, m.value, indent)
	}
	return b
}

// appendMember writes a member's value after its colon, and ends the line.
func appendMember(b []byte, v *node, indent int) []byte {
	switch {
	case v.kind == objectNode && len(v.members) > 0:
		b = appendIndent(append(b, '\n'), indent+2)
		return appendMapping(b, v, indent+2)
	case v.kind == listNode && len(v.list) > 0 && !shortList(v):
		// A list's dashes stand below its name, not further in.
		return appendList(append(b, '\n'), v, indent)
	default:
		return append(appendInline(append(b, ' '), v), '\n')
	}
}

func appendList(b []byte, n *node, indent int) []byte {
	for _, v := range n.list {
		b = append(appendIndent(b, indent), '-')
		switch {
		case v.kind == objectNode && len(v.members) > 0:
			b = appendMapping(append(b, ' '), v, indent+2)
		case v.kind == listNode && len(v.list) > 0 && !shortList(v):
			b = appendList(append(b, '\n'), v, indent+2)
		default:
			b = append(appendInline(append(b, ' '), v), '\n')
		}
	}
	return b
}

// appendInline writes a scalar, an empty object or a short list.
func appendInline(b []byte, v *node) []byte {
	switch v.kind {
	case nullNode:
		return append(b, "null"...)
	case stringNode:
		return appendScalar(b, v.text)
	case objectNode:
		return append(b, "{}"...)
	case listNode:
		b = append(b, '[')
		for i, item := range v.list {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendInline(b, item)
		}
		return append(b, ']')
	default:
		return append(b, v.text...)
	}
}

// shortList reports whether a list reads well on one line: a few plain words.
func shortList(n *node) bool {
	width := 0
	for _, v := range n.list {
		if v.kind != stringNode || !plainWord.MatchString(v.text) {
			return false
		}
		width += len(v.text) + 2
	}
	return width <= 72
}

func appendIndent(b []byte, indent int) []byte {
	for range indent {
		b = append(b, ' ')
	}
	return b
}

var (
	// plainWord is a string that needs no quotes anywhere, unless it looks like
	// something else.
	plainWord = regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9._/+-]*$`)
	// looksOther matches what some reader of YAML takes for a number, a date, a
	// truth value or nothing.
	looksOther = regexp.MustCompile(`(?i)^([-+]?[0-9][0-9_]*([.][0-9_]*)?(e[-+]?[0-9]+)?|0[xob][0-9a-f_]*|[0-9]+-[0-9]+-[0-9]+.*|true|false|yes|no|on|off|y|n|null|~|[.](inf|nan))$`)
	// plainText is a string with spaces or colons that still needs no quotes
	// outside of a list on one line.
	plainText = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9._/+-]*([ :][A-Za-z0-9._/+-]+)*$`)
)

// appendScalar writes a string, in quotes if a reader of YAML could take it for
// anything else.
func appendScalar(b []byte, s string) []byte {
	if len(s) < 200 && (plainWord.MatchString(s) || plainText.MatchString(s)) && !looksOther.MatchString(s) {
		return append(b, s...)
	}
	return appendQuoted(b, s)
}

// appendQuoted writes a string in double quotes. All that does not print is
// escaped, also what only some readers treat as a line's end.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r < 0x80 && shortEscape(byte(r)) != 0:
			b = append(b, '\\', shortEscape(byte(r)))
		case r == ' ' || unicode.IsPrint(r):
			b = append(b, string(r)...)
		case r <= 0xffff:
			b = append(b, `\u`...)
			b = append(b, strings.Repeat("0", 4-len(strconv.FormatInt(int64(r), 16)))...)
			b = strconv.AppendInt(b, int64(r), 16)
		default:
			b = append(b, `\U`...)
			b = append(b, strings.Repeat("0", 8-len(strconv.FormatInt(int64(r), 16)))...)
			b = strconv.AppendInt(b, int64(r), 16)
		}
	}
	return append(b, '"')
}
