package raftwire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the protocol that this package speaks.
const Version = 2

const magic = "nq-raft"

// Preamble opens every stream.
const Preamble = magic + string(rune(Version))

// Kind says what a frame holds.
type Kind byte

// The kinds of frames. Add at the end; what has been used is never used again.
const (
	Append     Kind = 1 // a call: raft.AppendEntriesRequest
	Vote       Kind = 2 // a call: raft.RequestVoteRequest
	PreVote    Kind = 3 // a call: raft.RequestPreVoteRequest
	TimeoutNow Kind = 4 // a call: raft.TimeoutNowRequest
	Install    Kind = 5 // a call: raft.InstallSnapshotRequest
	Chunk      Kind = 6 // data of a snapshot
	Taken      Kind = 7 // how much of a snapshot was taken
	Answer     Kind = 8 // to a call: the response that belongs to it
	Failure    Kind = 9 // instead of an answer: why there is none, as text
)

const (
	// HeaderSize is the length of a frame without its payload.
	HeaderSize = 4 + 1 + 4
	// MaxFrame bounds a payload. It is far beyond the largest log entry.
	MaxFrame = 64 << 20
	// MaxChunk bounds the data in a chunk.
	MaxChunk = 64 << 10
	// ChunkHead is the length of the offset before a chunk's data.
	ChunkHead = 8
)

var (
	// ErrVersion means that the peer speaks another version, or something else.
	ErrVersion = errors.New("another version of the raft protocol")
	// ErrMalformed is wrapped by every error about bytes that make no sense.
	ErrMalformed = errors.New("malformed raft frame")
)

// Header precedes a payload.
type Header struct {
	Kind Kind
	Call uint32
	Size int // of the payload
}

// Begin appends a frame's header, to which Finish adds the length when the payload
// has been appended.
func Begin(b []byte, k Kind, call uint32) []byte {
	b = append(b, 0, 0, 0, 0, byte(k))
	return binary.BigEndian.AppendUint32(b, call)
}

// Finish completes the frame that begins at start, and returns an error when it has
// become too long to be sent.
func Finish(b []byte, start int) error {
	n := len(b) - start - 4
	if n > MaxFrame+HeaderSize-4 {
		return fmt.Errorf("a frame of %d bytes is too long to be sent; at most %d can", n, MaxFrame)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(n))
	return nil
}

// AppendFrame appends a whole frame.
func AppendFrame(b []byte, k Kind, call uint32, payload ...byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(HeaderSize-4+len(payload)))
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint32(b, call)
	return append(b, payload...)
}

// BeginChunk appends what precedes the data of a chunk.
func BeginChunk(b []byte, call uint32, offset int64) []byte {
	return binary.BigEndian.AppendUint64(Begin(b, Chunk, call), uint64(offset))
}

// AppendTaken appends an acknowledgement of a snapshot's data.
func AppendTaken(b []byte, call uint32, total int64) []byte {
	var n [binary.MaxVarintLen64]byte
	return AppendFrame(b, Taken, call, n[:binary.PutUvarint(n[:], uint64(total))]...)
}

// ParseTaken reads the payload of an acknowledgement.
func ParseTaken(b []byte) (int64, error) {
	total, n := binary.Uvarint(b)
	if n <= 0 || n != len(b) || int64(total) < 0 {
		return 0, fmt.Errorf("%w: an acknowledgement of %d bytes", ErrMalformed, len(b))
	}
	return int64(total), nil
}

// A Reader reads one direction of a stream.
type Reader struct{ buffered *bufio.Reader }

// NewReader returns a reader of a stream.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 64<<10)} }

// Preamble reads the preamble. The error wraps ErrVersion when it is another
// one's.
func (r *Reader) Preamble() error {
	var b [len(Preamble)]byte
	if _, err := io.ReadFull(r.buffered, b[:]); err != nil {
		return err
	}
	switch {
	case string(b[:]) == Preamble:
		return nil
	case string(b[:len(magic)]) == magic:
		return fmt.Errorf("%w: the peer speaks version %d, this filer speaks version %d", ErrVersion, b[len(magic)], Version)
	default:
		return fmt.Errorf("%w: the stream begins with %q", ErrVersion, b)
	}
}

// Next reads the header of the next frame; io.EOF between two frames is a clean
// end. After an error that is a timeout it may be called again.
func (r *Reader) Next() (Header, error) {
	b, err := r.buffered.Peek(HeaderSize)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return Header{}, err
	}
	h, err := parseHeader(b)
	if err != nil {
		return Header{}, err
	}
	_, err = r.buffered.Discard(HeaderSize)
	return h, err
}

// parseHeader reads a header, of which all bytes are there.
func parseHeader(b []byte) (Header, error) {
	n := int64(binary.BigEndian.Uint32(b)) - (HeaderSize - 4)
	if n < 0 || n > MaxFrame {
		return Header{}, fmt.Errorf("%w: it has %d bytes", ErrMalformed, n)
	}
	return Header{Kind: Kind(b[4]), Call: binary.BigEndian.Uint32(b[5:]), Size: int(n)}, nil
}

// trust is how much memory is made for a length that has only been promised.
const trust = 1 << 20

// Payload reads the payload that belongs to the header, into memory of its own.
func (r *Reader) Payload(h Header) ([]byte, error) {
	b := make([]byte, min(h.Size, trust))
	for at := 0; ; {
		if _, err := io.ReadFull(r.buffered, b[at:]); err != nil {
			return nil, within(err)
		}
		if at = len(b); at == h.Size {
			return b, nil
		}
		b = append(b, make([]byte, min(h.Size-at, at))...)
	}
}

// Offset reads the offset that precedes the data of a chunk. After an error that is
// a timeout it may be called again.
func (r *Reader) Offset() (int64, error) {
	b, err := r.buffered.Peek(ChunkHead)
	if err != nil {
		return 0, within(err)
	}
	offset := int64(binary.BigEndian.Uint64(b))
	_, err = r.buffered.Discard(ChunkHead)
	return offset, err
}

// Read reads some of a payload. The caller sees to it that it is not more than
// what is left of it.
func (r *Reader) Read(b []byte) (int, error) {
	n, err := r.buffered.Read(b)
	return n, within(err)
}

// within makes an end in the middle of a frame an error.
func within(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
