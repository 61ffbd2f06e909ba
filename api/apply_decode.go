package api

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/netquorum/netquorum"
)

// decode reads a transaction of puts under a request id, the way our own client
// writes it, in one pass: encoding/json makes three over each byte, which was a
// tenth of what a write cost its leader. Of everything else, and of everything that
// is wrong, it reports false and has decodeJSON decide and find the words; what it
// reads, decodeJSON reads alike.
func (r *ApplyRequest) decode(body []byte) bool {
	if !utf8.Valid(body) { // which encoding/json would mend
		return false
	}
	s := applyScanner{rest: body}
	s.literal(`{"puts":[`)
	for more := true; more && !s.failed; more = s.is(`,`) {
		r.Puts = append(r.Puts, s.put())
	}
	s.literal(`]`)
	if s.is(`,"requestID":`) {
		r.RequestID = s.word()
	}
	s.literal(`}`)
	return !s.failed && len(s.rest) == 0
}

// An applyScanner takes the text of a transaction apart, until something is not as
// expected.
type applyScanner struct {
	rest   []byte
	failed bool
}

// is takes the text if it comes next.
func (s *applyScanner) is(text string) bool {
	if len(s.rest) < len(text) || string(s.rest[:len(text)]) != text {
		return false
	}
	s.rest = s.rest[len(text):]
	return true
}

func (s *applyScanner) literal(text string) { s.failed = !s.is(text) || s.failed }

func (s *applyScanner) put() (p Put) {
	s.literal(`{"document":`)
	if s.failed {
		return p
	}
	var err error
	if p.Document, s.rest, err = netquorum.CutDocument(s.rest); err != nil {
		s.failed = true
		return p
	}
	if s.is(`,"ifRevision":`) {
		p.IfRevision = s.revision()
	}
	if s.is(`,"mustNotExist":true`) {
		p.MustNotExist = true
	}
	s.literal(`}`)
	return p
}

func (s *applyScanner) revision() *netquorum.Revision {
	n := slices.IndexFunc(s.rest, func(c byte) bool { return c < '0' || c > '9' })
	if n < 1 || n > 1 && s.rest[0] == '0' { // which is no number in JSON
		s.failed = true
		return nil
	}
	v, err := strconv.ParseUint(string(s.rest[:n]), 10, 64)
	s.rest, s.failed = s.rest[n:], s.failed || err != nil
	r := netquorum.Revision(v)
	return &r
}

// word takes a string without escapes.
func (s *applyScanner) word() string {
	s.literal(`"`)
	n := bytes.IndexByte(s.rest, '"')
	if n < 0 || slices.ContainsFunc(s.rest[:n], func(c byte) bool { return c < ' ' || c == '\\' }) {
		s.failed = true
		return ""
	}
	w := string(s.rest[:n])
	s.rest = s.rest[n+1:]
	return w
}
