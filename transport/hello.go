package transport

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A hello is the first thing that each side of a carrier says, after TLS has
// told who it is:
//
//	2 bytes   length of what follows, most significant first
//	16 bytes  incarnation
//	4 bytes   features
//	...       what later versions say; not read by this one
//
// The called says it only when it takes the carrier, so that a caller which
// reads one knows that its certificate was accepted.
type hello struct {
	incarnation incarnation
	features    features
}

// An incarnation is one life of a filer's process. What two processes share ends
// with either, and a new one must not be taken for the old.
type incarnation [16]byte

// features are what the filer can do on links, bit by bit.
type features uint32

const (
	// canSCTP: the filer's kernel has SCTP, and it listens there too.
	canSCTP features = 1 << iota
	// forBulk: this carrier is the one for bulk data.
	forBulk
)

const (
	helloSize = 16 + 4
	maxHello  = 1 << 10
)

func (h hello) write(w io.Writer) error {
	out := binary.BigEndian.AppendUint16(make([]byte, 0, 2+helloSize), helloSize)
	out = append(out, h.incarnation[:]...)
	out = binary.BigEndian.AppendUint32(out, uint32(h.features))
	_, err := w.Write(out)
	return err
}

func readHello(r io.Reader) (hello, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return hello{}, err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n < helloSize || n > maxHello {
		return hello{}, &FrameError{fmt.Sprintf("a hello of %d bytes, it has %d to %d", n, helloSize, maxHello)}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return hello{}, err
	}
	var h hello
	copy(h.incarnation[:], body)
	h.features = features(binary.BigEndian.Uint32(body[16:]))
	return h, nil
}
