package calls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/netquorum/netquorum/trace"
)

// Kinds of frames.
const (
	kindRequest = 1
	kindAnswer  = 2
	kindCancel  = 3
	kindHello   = 4
	kindRefused = 5
)

const (
	frameHeader = 4 + 1 + 4
	// DefaultMaxBody bounds a request's or an answer's body where its owner does
	// not.
	DefaultMaxBody = 32 << 20
	// beside is room in a frame for what is not the body.
	beside = 1 << 20
	// firstRoom is what a frame gets before all of it is there.
	firstRoom = 64 << 10
)

// ErrFrame is wrapped by every error about bytes that are no frame.
var ErrFrame = errors.New("not a frame of calls")

type frame struct {
	kind    byte
	call    uint32
	payload []byte
}

// appendFrame appends a frame whose payload is in two parts.
func appendFrame(b []byte, kind byte, call uint32, head, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(frameHeader-4+len(head)+len(body)))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, call)
	b = append(b, head...)
	return append(b, body...)
}

// headRoom is what the head of most frames fits in, so that it stays on the stack.
const headRoom = 256

// An assembler makes frames of bytes as they arrive.
type assembler struct {
	most int // bytes of a body
	part []byte
	want int // the frame under way, whole; 0 while even that is not known
}

// feed takes bytes, which it does not keep, and hands over each frame that they
// complete, with a payload that nobody else has.
func (a *assembler) feed(p []byte, take func(frame) error) error {
	for len(p) > 0 {
		if len(a.part) == 0 && len(p) >= frameHeader { // mostly, all of a frame is here
			n, err := a.size(p)
			if err != nil {
				return err
			}
			if len(p) >= n {
				if err := take(cutFrame(append([]byte(nil), p[:n]...))); err != nil {
					return err
				}
				p = p[n:]
				continue
			}
			a.want = n
		}
		goal := frameHeader
		if a.want > 0 {
			goal = a.want
		}
		// Room is made as bytes arrive, not as the length promises.
		if len(a.part) == cap(a.part) {
			a.part = append(make([]byte, 0, min(goal, max(firstRoom, 2*len(a.part)))), a.part...)
		}
		n := min(goal-len(a.part), len(p), cap(a.part)-len(a.part))
		a.part = append(a.part, p[:n]...)
		p = p[n:]
		switch {
		case len(a.part) < goal:
		case a.want == 0:
			var err error
			if a.want, err = a.size(a.part); err != nil {
				return err
			}
			if a.want > frameHeader {
				continue
			}
			fallthrough
		default:
			f := cutFrame(a.part)
			a.part, a.want = nil, 0
			if err := take(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// between reports whether no frame is under way.
func (a *assembler) between() bool { return len(a.part) == 0 }

// size is the length of a whole frame, by its header.
func (a *assembler) size(header []byte) (int, error) {
	n := int64(binary.BigEndian.Uint32(header)) + 4
	if n < frameHeader || n > int64(a.most)+beside {
		return 0, fmt.Errorf("%w: it has %d bytes", ErrFrame, n)
	}
	return int(n), nil
}

func cutFrame(b []byte) frame {
	return frame{kind: b[4], call: binary.BigEndian.Uint32(b[5:]), payload: b[frameHeader:]}
}

func appendWord(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// A scanner takes a payload apart. After the first failure it keeps the error and
// returns zero values.
type scanner struct {
	b   []byte
	err error
}

func (s *scanner) take(n int, what string) []byte {
	if len(s.b) < n {
		if s.err == nil {
			s.err = fmt.Errorf("%w: %s is cut off", ErrFrame, what)
		}
		s.b = nil
		return make([]byte, min(n, 8)) // numbers are read as zero
	}
	out := s.b[:n]
	s.b = s.b[n:]
	return out
}

func (s *scanner) byte(what string) byte     { return s.take(1, what)[0] }
func (s *scanner) uint16(what string) uint16 { return binary.BigEndian.Uint16(s.take(2, what)) }
func (s *scanner) uint32(what string) uint32 { return binary.BigEndian.Uint32(s.take(4, what)) }
func (s *scanner) uint64(what string) uint64 { return binary.BigEndian.Uint64(s.take(8, what)) }

func (s *scanner) word(what string) string {
	n := int(s.uint16(what))
	b := s.take(n, what)
	if s.err != nil {
		return ""
	}
	switch string(b) { // those that are in nearly every frame are not made anew
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case typeJSON:
		return typeJSON
	}
	return string(b)
}

const typeJSON = "application/json"

// A Request is what a caller sends.
type Request struct {
	// Program is who is asked, Versions are those of it that the caller can
	// speak; only 1 when it does not say.
	Program  string
	Versions Versions

	Method, Target, ContentType, Accept string
	// Timeout is how long the other side may take, in milliseconds on the wire; 0
	// leaves it to the other side.
	Timeout time.Duration
	// Trace follows the request; that of the context when zero.
	Trace trace.ID
	Body  []byte
}

func (q *Request) check() error {
	for _, s := range [...]string{q.Method, q.Target, q.ContentType, q.Accept} {
		if len(s) > math.MaxUint16 {
			return fmt.Errorf("a request of %d bytes without its body is too long", len(s))
		}
	}
	return nil
}

// A sent request is one as it stands in a frame.
type sent struct {
	Request
	program byte // by its place in the hello
	version uint16
}

// append appends all but the body.
func (q *sent) append(b []byte) []byte {
	b = append(b, q.program)
	b = binary.BigEndian.AppendUint16(b, q.version)
	b = binary.BigEndian.AppendUint64(b, uint64(q.Trace))
	ms := min(max(q.Timeout, 0).Milliseconds(), math.MaxUint32)
	if q.Timeout > 0 {
		ms = max(ms, 1)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(ms))
	for _, s := range [...]string{q.Method, q.Target, q.ContentType, q.Accept} {
		b = appendWord(b, s)
	}
	return b
}

func parseRequest(b []byte) (q sent, err error) {
	s := scanner{b: b}
	q.program = s.byte("a request's program")
	q.version = s.uint16("a request's version")
	q.Trace = trace.ID(s.uint64("a request's trace"))
	q.Timeout = time.Duration(s.uint32("a request's timeout")) * time.Millisecond
	q.Method = s.word("a request's method")
	q.Target = s.word("a request's target")
	q.ContentType = s.word("a request's content type")
	q.Accept = s.word("a request's accepted type")
	q.Body = s.b
	return q, s.err
}

// An Answer is what came back for a request.
type Answer struct {
	// Version is that of the program which answered.
	Version     uint16
	Status      int
	ContentType string
	// Trace is the request's, or what the other side made for it.
	Trace trace.ID
	Body  []byte
}

// append appends all but the body.
func (a *Answer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(a.Status))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Trace))
	return appendWord(b, a.ContentType)
}

func parseAnswer(b []byte) (a Answer, err error) {
	s := scanner{b: b}
	a.Status = int(s.uint16("an answer's status"))
	a.Trace = trace.ID(s.uint64("an answer's trace"))
	a.ContentType = s.word("an answer's content type")
	a.Body = s.b
	return a, s.err
}
