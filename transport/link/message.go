package link

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A SizeError is a message that is larger than its reader or writer allows.
type SizeError struct{ Size, Max int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("a message of %d bytes, %d are allowed", e.Size, e.Max)
}

// WriteMessage writes p so that ReadMessage returns exactly it. A message of at
// most a few KiB is one Write.
func WriteMessage(w io.Writer, p []byte, limit int) error {
	if len(p) > limit {
		return &SizeError{len(p), limit}
	}
	const together = 16 << 10
	if len(p) <= together {
		_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(p)), uint32(len(p))), p...))
		return err
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p)))); err != nil {
		return err
	}
	_, err := w.Write(p)
	return err
}

// ReadMessage reads one message into buf, which grows as needed, and returns
// it. io.EOF is an end between messages, io.ErrUnexpectedEOF one within.
func ReadMessage(r io.Reader, buf []byte, limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > limit {
		return nil, &SizeError{n, limit}
	}
	// Memory is made as data comes, not as it is announced.
	const step = 1 << 20
	buf = buf[:0]
	for len(buf) < n {
		from := len(buf)
		to := min(n, max(from+step, 2*from))
		if cap(buf) < to {
			buf = append(make([]byte, 0, to), buf...)
		}
		buf = buf[:to]
		if _, err := io.ReadFull(r, buf[from:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}
