package netquorum

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// canonical reports whether data is one JSON value in canonical form. It may
// say no of a value that has escapes in its names; it never says yes wrongly.
func canonical(data []byte) bool {
	return len(data) > 0 && canonicalLen(data, 0) == len(data) && utf8.Valid(data)
}

// canonicalLen returns how many bytes at the start of b are one JSON value in
// canonical form, or 0. It makes nothing, so that checking a large dump costs
// one pass over its bytes.
func canonicalLen(b []byte, depth int) int {
	if len(b) == 0 || depth > maxDepth {
		return 0
	}
	switch b[0] {
	case '{':
		return canonicalObject(b, depth)
	case '[':
		return canonicalArray(b, depth)
	case '"':
		size, _ := canonicalString(b)
		return size
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(b) >= len(word) && string(b[:len(word)]) == word {
			return len(word)
		}
	}
	return numberLen(b)
}

func canonicalObject(b []byte, depth int) int {
	if len(b) > 1 && b[1] == '}' {
		return 2
	}
	var last []byte
	for i := 1; i < len(b); i++ {
		size, escaped := canonicalString(b[i:])
		if size == 0 || escaped {
			return 0
		}
		name := b[i+1 : i+size-1]
		if last != nil && bytes.Compare(last, name) >= 0 {
			return 0
		}
		last = name
		i += size
		if i >= len(b) || b[i] != ':' {
			return 0
		}
		i++
		if size = canonicalLen(b[i:], depth+1); size == 0 {
			return 0
		}
		i += size
		if i < len(b) && b[i] == '}' {
			return i + 1
		}
		if i >= len(b) || b[i] != ',' {
			return 0
		}
	}
	return 0
}

func canonicalArray(b []byte, depth int) int {
	if len(b) > 1 && b[1] == ']' {
		return 2
	}
	for i := 1; i < len(b); i++ {
		size := canonicalLen(b[i:], depth+1)
		if size == 0 {
			return 0
		}
		i += size
		if i < len(b) && b[i] == ']' {
			return i + 1
		}
		if i >= len(b) || b[i] != ',' {
			return 0
		}
	}
	return 0
}

// canonicalString returns the length of the string at the start of b, quotes
// included, and whether it holds escapes; 0 when it is not canonical.
func canonicalString(b []byte) (size int, escaped bool) {
	if len(b) == 0 || b[0] != '"' {
		return 0, false
	}
	for i := 1; i < len(b); i++ {
		if i += plain(b[i:]); i == len(b) {
			break
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c < 0x20:
			return 0, false
		case c == '\\':
			escaped = true
			n := canonicalEscape(b[i:])
			if n == 0 {
				return 0, true
			}
			i += n - 1
		}
	}
	return 0, false
}

// plain returns how many bytes at the start of b are certainly neither quote nor
// backslash nor control character, looking at eight at a time: the data of records
// is most of a restore, and every filer looks at all of it.
func plain(b []byte) (n int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, backslash := x^ones*'"', x^ones*'\\'
		// A byte of zero, or below 0x20, borrows into its highest bit.
		special := (quote-ones)&^quote | (backslash-ones)&^backslash | (x-ones*0x20)&^x
		if special&high != 0 {
			break
		}
	}
	return n
}

// canonicalEscape returns the length of an escape that appendString would
// write, or 0.
func canonicalEscape(b []byte) int {
	if len(b) > 1 && bytes.IndexByte([]byte(`"\bfnrt`), b[1]) >= 0 {
		return 2
	}
	c, ok := hexEscape(b)
	if !ok || c >= 0x20 || !bytes.Equal(b[:6], appendString(nil, string(c))[1:7]) {
		return 0
	}
	return 6
}
