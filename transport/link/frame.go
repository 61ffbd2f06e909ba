package link

import (
	"encoding/binary"
	"fmt"

	"github.com/netquorum/netquorum"
)

// What is on the wire. Every frame begins with four bytes, the length of what
// follows them, and one byte, its kind; numbers have the most significant byte
// first. A carrier's first frame in each direction is a hello, no other is.
//
//	hello   version u16, incarnation u64, incarnation known of the peer u64 (0:
//	        none yet), the sender's filer id
//	data    stream u64, offset u64, payload
//	end     as data; the stream's last byte is the payload's. The end itself
//	        takes one offset more, so that it is acknowledged like data
//	ack     stream u64, offset u64 up to which all has arrived, offset u64 up to
//	        which data may be sent
//	ping    number u64
//	pong    number u64, of the ping
//	bye     why the sender ends the link, for people
const (
	kindHello = 1 + iota
	kindData
	kindEnd
	kindAck
	kindPing
	kindPong
	kindBye
)

const (
	version = 1

	headSize = 4 + 1
	dataHead = headSize + 16
	ackSize  = headSize + 24
	pingSize = headSize + 8
	maxText  = 256
	maxHello = 2 + 16 + 64

	// A frame of maxFrame fills four TLS records, one of maxSmall fills one.
	maxFrame   = 64 << 10
	maxSmall   = 16 << 10
	maxPayload = maxFrame - dataHead
)

// A head is a frame without its payload or text.
type head struct {
	kind   byte
	n      int    // bytes that follow the kind
	stream uint64 // data, end, ack
	offset uint64 // data, end, ack
	limit  uint64 // ack; the number of a ping or pong
}

func putHead(b []byte, kind byte, following int) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(following+1)), kind)
}

// setDataHead writes the head of a data frame into the first dataHead bytes.
func setDataHead(b []byte, kind byte, stream, offset uint64, payload int) {
	binary.BigEndian.PutUint32(b, uint32(1+16+payload))
	b[4] = kind
	binary.BigEndian.PutUint64(b[5:], stream)
	binary.BigEndian.PutUint64(b[13:], offset)
}

func putAck(b []byte, stream, offset, limit uint64) []byte {
	b = putHead(b, kindAck, 24)
	b = binary.BigEndian.AppendUint64(b, stream)
	b = binary.BigEndian.AppendUint64(b, offset)
	return binary.BigEndian.AppendUint64(b, limit)
}

func putPing(b []byte, kind byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(putHead(b, kind, 8), number)
}

func putBye(b []byte, why string) []byte {
	why = why[:min(len(why), maxText)]
	return append(putHead(b, kindBye, len(why)), why...)
}

// readFrame returns the next frame: its head, and its payload or text, which is
// to be taken from r once it was used. io.EOF is an end between frames.
func readFrame(r *reader) (h head, body []byte, err error) {
	b, err := r.peek(headSize)
	if err != nil {
		return head{}, nil, err
	}
	h = head{kind: b[4], n: int(binary.BigEndian.Uint32(b)) - 1}
	fixed, most := 0, 0
	switch h.kind {
	case kindData, kindEnd:
		fixed, most = 16, 16+maxPayload
	case kindAck:
		fixed, most = 24, 24
	case kindPing, kindPong:
		fixed, most = 8, 8
	case kindBye:
		most = maxText
	case kindHello:
		most = maxHello
	default:
		return head{}, nil, fmt.Errorf("%w: a frame of unknown kind %d", ErrProtocol, h.kind)
	}
	if h.n < fixed || h.n > most {
		return head{}, nil, fmt.Errorf("%w: a frame of kind %d has %d bytes", ErrProtocol, h.kind, h.n)
	}
	if b, err = r.peek(headSize + h.n); err != nil {
		return head{}, nil, err
	}
	b = b[headSize:]
	switch h.kind {
	case kindAck:
		h.limit = binary.BigEndian.Uint64(b[16:])
		fallthrough
	case kindData, kindEnd:
		h.stream, h.offset = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		// Offsets are sums elsewhere: they must not come round.
		if h.offset > 1<<62 || h.limit > 1<<62 {
			return head{}, nil, fmt.Errorf("%w: offset %d", ErrProtocol, max(h.offset, h.limit))
		}
	case kindPing, kindPong:
		h.limit = binary.BigEndian.Uint64(b)
	}
	return h, b[fixed:], nil
}

// frameBuffered reports whether readFrame needs no more data to return.
func frameBuffered(r *reader) bool {
	if r.buffered() < headSize {
		return false
	}
	return r.buffered()-4 >= int(binary.BigEndian.Uint32(r.slab.b[r.start:]))
}

// A hello is what a side says of its link when a carrier begins.
type hello struct {
	incarnation uint64
	knows       uint64 // the peer's; 0 when there was no carrier yet
	filer       netquorum.FilerID
}

func (h hello) encode() []byte {
	b := putHead(nil, kindHello, 2+16+len(h.filer))
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint64(b, h.incarnation)
	b = binary.BigEndian.AppendUint64(b, h.knows)
	return append(b, h.filer...)
}

func readHello(r *reader) (hello, error) {
	head, b, err := readFrame(r)
	if err != nil {
		return hello{}, err
	}
	if head.kind != kindHello {
		return hello{}, fmt.Errorf("%w: a frame of kind %d instead of a hello", ErrProtocol, head.kind)
	}
	r.take(headSize + head.n)
	if len(b) < 2+16 {
		return hello{}, fmt.Errorf("%w: a hello of %d bytes", ErrProtocol, len(b))
	}
	if v := binary.BigEndian.Uint16(b); v != version {
		return hello{}, fmt.Errorf("%w: links of version %d, this filer speaks %d", ErrProtocol, v, version)
	}
	h := hello{
		incarnation: binary.BigEndian.Uint64(b[2:]), knows: binary.BigEndian.Uint64(b[10:]),
		filer: netquorum.FilerID(b[18:]),
	}
	if h.incarnation == 0 {
		return hello{}, fmt.Errorf("%w: a hello without an incarnation", ErrProtocol)
	}
	return h, nil
}
