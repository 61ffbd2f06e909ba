package messages

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/netquorum/netquorum"
)

// Kinds of frames; doc.go describes them.
const (
	frameHello = iota + 1
	frameWelcome
	framePut
	frameAccepted
	frameBusy
	frameReady
	frameRefused
	frameCompleted
	frameSettle
	frameWant
	frameChunk
	frameRecall
	frameGoodbye
)

const (
	magic        = "nqmg"
	wireVersion  = 1
	chunkSize    = 64 << 10
	frameHeader  = 4 + 1
	maxFrameSize = 128 << 10 // of what follows the length: a result or a chunk, and names
	maxReason    = 1 << 10
)

// beginFrame appends a frame's header; endFrame, given where it began, sets its
// length.
func beginFrame(b []byte, kind byte) []byte { return append(b, 0, 0, 0, 0, kind) }

func endFrame(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// readFrame reads one frame into buf, which it makes larger when it must. The
// length is checked before anything is made.
func readFrame(r *bufio.Reader, buf []byte) (kind byte, payload, grown []byte, err error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, buf, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n < 1 || n > maxFrameSize {
		return 0, nil, buf, fmt.Errorf("%w: a frame of %d bytes", errFormat, n)
	}
	n--
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	payload = buf[:n]
	if _, err := io.ReadFull(r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, buf, err
	}
	return header[4], payload, buf, nil
}

// readFrames gives every frame to take until one of both fails. What take is given
// is used again for the next.
func readFrames(r *bufio.Reader, buf []byte, take func(kind byte, p []byte) error) error {
	for {
		kind, p, grown, err := readFrame(r, buf)
		if err != nil {
			return err
		}
		buf = grown
		if err := take(kind, p); err != nil {
			return err
		}
	}
}

// A hello opens a stream. Number grows with every session of one life of the
// sender's state, so that a late stream of an earlier session is known as such.
type hello struct {
	version     uint16
	incarnation Incarnation // of the sender's directory
	number      uint64
	class       Class
}

func (h hello) append(b []byte) []byte {
	start := len(b)
	b = append(beginFrame(b, frameHello), magic...)
	b = binary.BigEndian.AppendUint16(b, h.version)
	b = append(b, h.incarnation[:]...)
	b = binary.BigEndian.AppendUint64(b, h.number)
	return endFrame(append(b, byte(h.class)), start)
}

func parseHello(p []byte) (h hello, err error) {
	d := decoder{b: p}
	if string(d.take(len(magic))) != magic {
		d.fail("no stream of messages")
	}
	h.version = d.u16()
	copy(h.incarnation[:], d.take(len(h.incarnation)))
	h.number = d.u64()
	if h.class = Class(d.u8()); h.class > ClassBulk {
		d.fail("class %d", h.class)
	}
	return h, d.end()
}

func appendWelcome(b []byte) []byte {
	start := len(b)
	return endFrame(binary.BigEndian.AppendUint16(beginFrame(b, frameWelcome), wireVersion), start)
}

func parseWelcome(p []byte) (version uint16, err error) {
	d := decoder{b: p}
	version = d.u16()
	return version, d.end()
}

func appendGoodbye(b []byte, reason string) []byte {
	start := len(b)
	return endFrame(appendString(beginFrame(b, frameGoodbye), clip(reason)), start)
}

func parseGoodbye(p []byte) (reason string, err error) {
	d := decoder{b: p}
	reason = d.string(maxReason)
	return reason, d.end()
}

// clip shortens words of others to what a frame may carry.
func clip(s string) string { return s[:min(len(s), maxReason)] }

// A put is a message, with its body when that is small.
func appendPut(b []byte, e *envelope, inline []byte) []byte {
	start := len(b)
	return endFrame(append(appendEnvelope(beginFrame(b, framePut), e), inline...), start)
}

func parsePut(p []byte, from netquorum.FilerID) (e envelope, inline []byte, err error) {
	d := decoder{b: p}
	e = d.envelope(from)
	if d.err == nil {
		want := e.size
		if e.spooled {
			want = 0
		}
		if int64(len(d.b)) != want {
			d.fail("a body of %d bytes where %d are announced", len(d.b), want)
		}
	}
	return e, d.b, d.err
}

// A note is a frame about one attempt of one message.
func appendNote(b []byte, kind byte, id ID, attempt uint32) []byte {
	start := len(b)
	return endFrame(binary.BigEndian.AppendUint32(appendRef(beginFrame(b, kind), id), attempt), start)
}

func parseNote(p []byte, filer netquorum.FilerID) (id ID, attempt uint32, err error) {
	d := decoder{b: p}
	id, attempt = d.ref(filer), d.u32()
	return id, attempt, d.end()
}

func appendReady(b []byte, service string) []byte {
	start := len(b)
	return endFrame(appendString(beginFrame(b, frameReady), service), start)
}

func parseReady(p []byte) (service string, err error) {
	d := decoder{b: p}
	service = d.name("service", false)
	return service, d.end()
}

// A refusal says that a filer does not host a message's virtual server, and who
// does as far as it knows.
type refusal struct {
	id       ID
	priority Priority
	attempt  uint32
	place    Place // without a filer when it knows of none
}

func (r refusal) append(b []byte) []byte {
	start := len(b)
	b = append(appendRef(beginFrame(b, frameRefused), r.id), byte(r.priority))
	b = binary.BigEndian.AppendUint32(b, r.attempt)
	b = appendString(b, string(r.place.Filer))
	return endFrame(binary.BigEndian.AppendUint64(b, r.place.Epoch), start)
}

func parseRefusal(p []byte, filer netquorum.FilerID) (r refusal, err error) {
	d := decoder{b: p}
	r.id, r.priority, r.attempt = d.ref(filer), d.priority(), d.u32()
	r.place = Place{Filer: netquorum.FilerID(d.name("filer", true)), Epoch: d.u64()}
	return r, d.end()
}

// A verdict is how a handler's run ended.
type verdict struct {
	outcome Outcome
	epoch   uint64
	reason  string
	result  []byte
}

func appendVerdict(b []byte, v *verdict) []byte {
	b = append(b, byte(v.outcome))
	b = binary.BigEndian.AppendUint64(b, v.epoch)
	b = appendString(b, clip(v.reason))
	return append(b, v.result...)
}

func (d *decoder) verdict() (v verdict) {
	v.outcome = Outcome(d.u8())
	v.epoch = d.u64()
	v.reason = d.string(maxReason)
	v.result, d.b = d.b, nil
	if d.err == nil && (v.outcome > Withdrawn || len(v.result) > MaxResult) {
		d.fail("%s with %d bytes", v.outcome, len(v.result))
	}
	return v
}

func appendCompleted(b []byte, id ID, p Priority, v *verdict) []byte {
	start := len(b)
	return endFrame(appendVerdict(append(appendRef(beginFrame(b, frameCompleted), id), byte(p)), v), start)
}

func parseCompleted(p []byte, filer netquorum.FilerID) (id ID, priority Priority, v verdict, err error) {
	d := decoder{b: p}
	id, priority, v = d.ref(filer), d.priority(), d.verdict()
	return id, priority, v, d.end()
}

func appendWant(b []byte, id ID, offset int64) []byte {
	start := len(b)
	return endFrame(binary.BigEndian.AppendUint64(appendRef(beginFrame(b, frameWant), id), uint64(offset)), start)
}

func parseWant(p []byte, filer netquorum.FilerID) (id ID, offset int64, err error) {
	d := decoder{b: p}
	id, offset = d.ref(filer), int64(d.u64())
	if offset < 0 {
		d.fail("offset %d", offset)
	}
	return id, offset, d.end()
}

// beginChunk appends a chunk's frame up to its data; the caller appends that and
// calls endFrame.
func beginChunk(b []byte, id ID, offset int64) []byte {
	return binary.BigEndian.AppendUint64(appendRef(beginFrame(b, frameChunk), id), uint64(offset))
}

func parseChunk(p []byte, filer netquorum.FilerID) (id ID, offset int64, data []byte, err error) {
	d := decoder{b: p}
	id, offset = d.ref(filer), int64(d.u64())
	if len(d.b) > chunkSize || len(d.b) == 0 || offset < 0 {
		d.fail("a chunk of %d bytes at %d", len(d.b), offset)
	}
	return id, offset, d.b, d.err
}

// A recall tells that a placement of the epoch exists: what waits here for an
// earlier one will not be hosted any more.
func appendRecall(b []byte, server string, epoch uint64) []byte {
	start := len(b)
	return endFrame(binary.BigEndian.AppendUint64(appendString(beginFrame(b, frameRecall), server), epoch), start)
}

func parseRecall(p []byte) (server string, epoch uint64, err error) {
	d := decoder{b: p}
	server, epoch = d.name("virtual server", false), d.u64()
	return server, epoch, d.end()
}
