package messages

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// A Body is a message's content. One that is received can be opened any number
// of times while its handler runs; one that is sent from a reader, once.
type Body struct {
	size   int64
	inline []byte
	path   string    // of a spooled body
	reader io.Reader // of one to be sent
}

// Bytes is a body in memory.
func Bytes(b []byte) Body { return Body{size: int64(len(b)), inline: b} }

// Reader is a body that Send reads to its end and spools; it needs little memory
// whatever the size. The size may be -1 when it is not known; otherwise a reader
// that ends elsewhere is an error.
func Reader(r io.Reader, size int64) Body { return Body{size: size, reader: r} }

// Size returns the number of bytes, -1 for one that is not known before it is
// read.
func (b Body) Size() int64 { return b.size }

// Open returns the content from its beginning.
func (b Body) Open() (io.ReadCloser, error) {
	switch {
	case b.path != "":
		return os.Open(b.path)
	case b.reader != nil:
		return io.NopCloser(b.reader), nil
	}
	return io.NopCloser(bytes.NewReader(b.inline)), nil
}

// Bytes returns the content when it has at most limit bytes, and ErrTooLarge
// otherwise.
func (b Body) Bytes(limit int64) ([]byte, error) {
	if b.size > limit {
		return nil, fmt.Errorf("a body of %d bytes where %d are expected at most: %w", b.size, limit, ErrTooLarge)
	}
	if b.path == "" && b.reader == nil {
		return b.inline, nil
	}
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(out)) > limit {
		err = fmt.Errorf("a body of more than %d bytes: %w", limit, ErrTooLarge)
	}
	return out, err
}
