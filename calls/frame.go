package calls

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Kinds of frames.
const (
	kindRequest = 1
	kindAnswer  = 2
	kindCancel  = 3
)

const (
	frameHeader = 4 + 1 + 4
	// MaxBody bounds a request's or an answer's body.
	MaxBody = 32 << 20
	// maxFrame leaves room for the words beside the body.
	maxFrame = MaxBody + 1<<20
)

// ErrFrame is wrapped by every error about bytes that are no frame.
var ErrFrame = errors.New("not a frame of calls")

type frame struct {
	kind    byte
	call    uint32
	payload []byte
}

// appendFrame appends the header of a frame and what fill appends after it.
func appendFrame(b []byte, kind byte, call uint32, fill func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, kind)
	b = binary.BigEndian.AppendUint32(b, call)
	if fill != nil {
		b = fill(b)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// readFrame reads one frame. Room for it is made as its bytes arrive, not as its
// length promises.
func readFrame(r *bufio.Reader) (frame, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return frame{}, err
	}
	n := int64(binary.BigEndian.Uint32(header[:])) - (frameHeader - 4)
	if n < 0 || n > maxFrame {
		return frame{}, fmt.Errorf("%w: it has %d bytes", ErrFrame, n)
	}
	f := frame{kind: header[4], call: binary.BigEndian.Uint32(header[5:])}
	if n <= 64<<10 {
		f.payload = make([]byte, n)
		_, err := io.ReadFull(r, f.payload)
		return f, cut(err)
	}
	payload, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(payload)) < n {
		err = io.ErrUnexpectedEOF
	}
	f.payload = payload
	return f, cut(err)
}

// cut makes an end in the middle of a frame an error.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func appendWord(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// takeWord splits a word from the front.
func takeWord(b []byte) (word string, rest []byte, err error) {
	if len(b) < 2 {
		return "", nil, fmt.Errorf("%w: a word is missing", ErrFrame)
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b)-2 < n {
		return "", nil, fmt.Errorf("%w: a word is cut off", ErrFrame)
	}
	return string(b[2 : 2+n]), b[2+n:], nil
}

// A Request is what a caller sends.
type Request struct {
	Method, Target, ContentType, Accept string
	// Timeout is how long the other side may take, in milliseconds on the wire; 0
	// leaves it to the other side.
	Timeout time.Duration
	Body    []byte
}

func (q Request) check() error {
	for _, s := range []string{q.Method, q.Target, q.ContentType, q.Accept} {
		if len(s) > math.MaxUint16 {
			return fmt.Errorf("a request of %d bytes without its body is too long", len(s))
		}
	}
	if len(q.Body) > MaxBody {
		return fmt.Errorf("a body of %d bytes is too long; at most %d can be sent", len(q.Body), MaxBody)
	}
	return nil
}

func (q Request) append(b []byte) []byte {
	for _, s := range [...]string{q.Method, q.Target, q.ContentType, q.Accept} {
		b = appendWord(b, s)
	}
	ms := min(max(q.Timeout, 0).Milliseconds(), math.MaxUint32)
	if q.Timeout > 0 {
		ms = max(ms, 1)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(ms))
	return append(b, q.Body...)
}

func parseRequest(b []byte) (q Request, err error) {
	for _, s := range [...]*string{&q.Method, &q.Target, &q.ContentType, &q.Accept} {
		if *s, b, err = takeWord(b); err != nil {
			return q, err
		}
	}
	if len(b) < 4 {
		return q, fmt.Errorf("%w: a request without its timeout", ErrFrame)
	}
	q.Timeout = time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
	q.Body = b[4:]
	return q, nil
}

type answer struct {
	status      int
	contentType string
	body        []byte
}

func (a answer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(a.status))
	b = appendWord(b, a.contentType)
	return append(b, a.body...)
}

func parseAnswer(b []byte) (a answer, err error) {
	if len(b) < 2 {
		return a, fmt.Errorf("%w: an answer without a status", ErrFrame)
	}
	a.status = int(binary.BigEndian.Uint16(b))
	a.contentType, a.body, err = takeWord(b[2:])
	return a, err
}
