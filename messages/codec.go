package messages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/netquorum/netquorum"
)

// errFormat is wrapped by every error about bytes that are no frame or record.
var errFormat = errors.New("messages: bad format")

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

// A decoder takes values from the front of bytes. After the first failure it
// returns zero values, and err says what was wrong.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n int) []byte {
	if d.err == nil && len(d.b) < n {
		d.err = fmt.Errorf("%w: cut off", errFormat)
	}
	if d.err != nil {
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.u8()
	if v > 1 && d.err == nil {
		d.err = fmt.Errorf("%w: %d is no truth value", errFormat, v)
	}
	return v == 1
}

func (d *decoder) time() time.Time {
	if v := d.u64(); v != 0 {
		return time.Unix(0, int64(v))
	}
	return time.Time{}
}

// string takes a string of at most max bytes.
func (d *decoder) string(max int) string {
	n := int(d.u16())
	if n > max && d.err == nil {
		d.err = fmt.Errorf("%w: a string of %d bytes where %d are allowed", errFormat, n, max)
	}
	return string(d.take(n))
}

// name takes a name; an empty one where that is allowed.
func (d *decoder) name(what string, optional bool) string {
	s := d.string(MaxName)
	if d.err == nil && (s != "" || !optional) {
		if err := checkName(what, s); err != nil {
			d.err = fmt.Errorf("%w: %w", errFormat, err)
		}
	}
	return s
}

func (d *decoder) fail(format string, a ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errFormat}, a...)...)
	}
}

func (d *decoder) priority() Priority {
	p := Priority(d.u8())
	if p > Bulk {
		d.fail("%s", p)
	}
	return p
}

// end reports the first failure, or that something was left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%w: %d bytes too many", errFormat, len(d.b))
	}
	return d.err
}

// A ref is an id less its filer, which both ends of a session know.
func appendRef(b []byte, id ID) []byte {
	b = appendString(b, id.Client)
	b = append(b, id.Incarnation[:]...)
	return binary.BigEndian.AppendUint64(b, id.Seq)
}

func (d *decoder) ref(filer netquorum.FilerID) ID {
	id := ID{Filer: filer, Client: d.name("client", false)}
	copy(id.Incarnation[:], d.take(len(id.Incarnation)))
	id.Seq = d.u64()
	if id.Seq == 0 {
		d.fail("the sequence number 0")
	}
	return id
}

// An envelope is all of a message but its body.
type envelope struct {
	id       ID
	to       Target
	stream   string
	priority Priority
	discard  bool
	trace    uint64
	sent     time.Time
	size     int64
	spooled  bool // the body comes in chunks
	sum      [32]byte
	// attempt counts the targets that a message was given; epoch is that of the
	// placement which gave the current one.
	attempt uint32
	epoch   uint64
}

func appendEnvelope(b []byte, e *envelope) []byte {
	b = appendRef(b, e.id)
	b = appendString(b, e.to.Service)
	b = appendString(b, string(e.to.Filer))
	b = appendString(b, e.to.Server)
	b = appendString(b, e.stream)
	b = append(b, byte(e.priority))
	b = appendBool(b, e.discard)
	b = binary.BigEndian.AppendUint64(b, e.trace)
	b = appendTime(b, e.sent)
	b = binary.BigEndian.AppendUint32(b, e.attempt)
	b = binary.BigEndian.AppendUint64(b, e.epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(e.size))
	b = appendBool(b, e.spooled)
	if e.spooled {
		b = append(b, e.sum[:]...)
	}
	return b
}

// room is at least what appendEnvelope appends.
func (e *envelope) room() int {
	return 128 + len(e.id.Client) + len(e.to.Service) + len(e.to.Filer) + len(e.to.Server) + len(e.stream)
}

func (d *decoder) envelope(filer netquorum.FilerID) (e envelope) {
	e.id = d.ref(filer)
	e.to = Target{Service: d.name("service", false), Filer: netquorum.FilerID(d.name("filer", true)), Server: d.name("virtual server", true)}
	e.stream = d.name("stream", true)
	e.priority = d.priority()
	e.discard = d.bool()
	e.trace = d.u64()
	e.sent = d.time()
	e.attempt = d.u32()
	e.epoch = d.u64()
	e.size = int64(d.u64())
	if e.spooled = d.bool(); e.spooled {
		copy(e.sum[:], d.take(len(e.sum)))
	}
	switch {
	case d.err != nil:
	case (e.to.Filer == "") == (e.to.Server == ""):
		d.fail("the target is not one of a filer and a virtual server")
	case e.size < 0 || !e.spooled && e.size > MaxInline:
		d.fail("a body of %d bytes", e.size)
	}
	return e
}

// message makes what a handler sees.
func (e *envelope) message(body Body) *Message {
	return &Message{
		ID: e.id, To: e.to, Stream: e.stream, Priority: e.priority, Trace: e.trace,
		Discard: e.discard, Epoch: e.epoch, Sent: e.sent, Body: body,
	}
}
