package netapply

import (
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
)

// Netlink messages are a fixed header followed by attributes: length, type,
// value, padded to four bytes, and a value may be attributes again. This file
// reads and writes them; what they mean is elsewhere.

const (
	attrHeader  = 4
	attrTypeMax = 0x3fff // above are the flags "nested" and "network byte order"
)

// errAttributes reports a message whose attributes do not fit their lengths.
// The kernel sends none; it would mean that we read the wrong kind of message.
var errAttributes = errors.New("malformed netlink attributes")

// message is a netlink message under construction, without its first header.
type message struct{ b []byte }

// Len and Serialize make a message fit nl.NetlinkRequest.
func (m *message) Len() int          { return len(m.b) }
func (m *message) Serialize() []byte { return m.b }

func (m *message) bytes(kind uint16, v []byte) {
	m.header(kind, len(v))
	m.b = append(m.b, v...)
	m.pad()
}

func (m *message) pad() {
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

// header begins an attribute with a value of n bytes.
func (m *message) header(kind uint16, n int) {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(attrHeader+n))
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
}

func (m *message) u8(kind uint16, v uint8) {
	m.header(kind, 1)
	m.b = append(m.b, v, 0, 0, 0)
}

func (m *message) u16(kind uint16, v uint16) {
	m.header(kind, 2)
	m.b = append(binary.NativeEndian.AppendUint16(m.b, v), 0, 0)
}

func (m *message) u32(kind uint16, v uint32) {
	m.header(kind, 4)
	m.b = binary.NativeEndian.AppendUint32(m.b, v)
}

// address is of 4 or 16 bytes.
func (m *message) address(kind uint16, a netip.Addr) {
	if a.Is4() {
		four := a.As4()
		m.bytes(kind, four[:])
		return
	}
	sixteen := a.As16()
	m.bytes(kind, sixteen[:])
}

// text is a string with the closing zero that the kernel expects.
func (m *message) text(kind uint16, v string) { m.bytes(kind, append([]byte(v), 0)) }

// nest writes an attribute whose value is what fill writes.
func (m *message) nest(kind uint16, fill func()) {
	start := len(m.b)
	m.b = append(m.b, 0, 0, 0, 0)
	fill()
	binary.NativeEndian.PutUint16(m.b[start:], uint16(len(m.b)-start))
	binary.NativeEndian.PutUint16(m.b[start+2:], kind)
}

// An attribute is one type and value of a message.
type attribute struct {
	kind  uint16
	value []byte
}

// attributes yields the attributes in b. A last one that does not fit is
// yielded as errAttributes.
func attributes(b []byte) iter.Seq2[attribute, error] {
	return func(yield func(attribute, error) bool) {
		for len(b) >= attrHeader {
			n := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) & attrTypeMax
			if n < attrHeader || n > len(b) {
				yield(attribute{}, errAttributes)
				return
			}
			if !yield(attribute{kind, b[attrHeader:n]}, nil) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
		if len(b) > 0 {
			yield(attribute{}, errAttributes)
		}
	}
}

// number is the value of an attribute of any width up to 32 bits; zero when it
// has another.
func (a attribute) number() uint32 {
	switch len(a.value) {
	case 1:
		return uint32(a.value[0])
	case 2:
		return uint32(binary.NativeEndian.Uint16(a.value))
	case 4:
		return binary.NativeEndian.Uint32(a.value)
	}
	return 0
}

// text is the value of a string attribute, which may or may not be closed by a
// zero.
func (a attribute) text() string {
	for i, c := range a.value {
		if c == 0 {
			return string(a.value[:i])
		}
	}
	return string(a.value)
}
