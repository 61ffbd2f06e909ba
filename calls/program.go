package calls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
)

// Versions are those of a program that somebody speaks, both ends included.
type Versions struct{ Low, High uint16 }

func (v Versions) String() string {
	if v.Low == v.High {
		return fmt.Sprint(v.Low)
	}
	return fmt.Sprintf("%d to %d", v.Low, v.High)
}

// Common returns the highest version that both speak.
func (v Versions) Common(o Versions) (uint16, bool) {
	high := min(v.High, o.High)
	return high, high >= max(v.Low, o.Low) && high > 0
}

func (v Versions) orFirst() Versions {
	if v == (Versions{}) {
		return Versions{1, 1}
	}
	return v
}

// A Program answers the requests that name it.
type Program struct {
	Name     string
	Versions Versions // only 1 when not said
	Handler  http.Handler
}

// maxPrograms is what the byte in a request can tell apart.
const maxPrograms = 255

// ErrUnspoken is wrapped by the error of a request that the other side's release
// cannot take: it does not have the program, or none of the caller's versions of
// it. It wraps ErrNotSent as well.
var ErrUnspoken = errors.New("the other side's release does not understand the request")

// A VersionError says what was asked for and what there is.
type VersionError struct {
	Peer    string
	Program string
	Want    Versions
	Have    Versions // zero: the program is not known there
}

func (e *VersionError) Error() string {
	if e.Have == (Versions{}) {
		return fmt.Sprintf("%s has no program %q: its release is older, or newer and without it", e.Peer, e.Program)
	}
	return fmt.Sprintf("%s speaks version %v of %q, this filer %v: their releases are too far apart", e.Peer, e.Have, e.Program, e.Want)
}

func (e *VersionError) Unwrap() []error { return []error{ErrUnspoken, ErrNotSent} }

// A hello is what a server says first.
type hello struct {
	maxBody  uint32
	programs []offer
}

type offer struct {
	name     string
	versions Versions
}

func (h hello) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.maxBody)
	b = append(b, byte(len(h.programs)))
	for _, p := range h.programs {
		b = appendWord(b, p.name)
		b = binary.BigEndian.AppendUint16(b, p.versions.Low)
		b = binary.BigEndian.AppendUint16(b, p.versions.High)
	}
	return b
}

func parseHello(b []byte) (h hello, err error) {
	s := scanner{b: b}
	h.maxBody = s.uint32("a hello's longest body")
	for range s.byte("a hello's count of programs") {
		if s.err != nil {
			break
		}
		p := offer{name: s.word("a program's name")}
		p.versions.Low, p.versions.High = s.uint16("a program's lowest version"), s.uint16("a program's highest version")
		h.programs = append(h.programs, p)
	}
	return h, s.err
}

// pick finds the program and the version that a request is sent to.
func (h *hello) pick(peer string, q *sent) error {
	want := q.Versions.orFirst()
	for i := range h.programs {
		p := &h.programs[i]
		if p.name != q.Program {
			continue
		}
		version, ok := want.Common(p.versions)
		if !ok {
			return &VersionError{peer, q.Program, want, p.versions}
		}
		if len(q.Body) > int(h.maxBody) {
			return fmt.Errorf("%w: a body of %d bytes is too long; %s takes at most %d", ErrNotSent, len(q.Body), peer, h.maxBody)
		}
		q.program, q.version = byte(i), version
		return nil
	}
	return &VersionError{Peer: peer, Program: q.Program, Want: want}
}
