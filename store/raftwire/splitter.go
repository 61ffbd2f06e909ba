package raftwire

import "fmt"

// MaxAnswer bounds the payload of what a Splitter takes.
const MaxAnswer = 64 << 10

// A Splitter reads the answers on a stream for those who are given its bytes in
// pieces.
type Splitter struct {
	rest []byte // the beginning of a frame
}

// Feed calls frame for every frame that ends in the piece. The payload is valid
// during the call. An error, frame's included, is final.
func (s *Splitter) Feed(piece []byte, frame func(h Header, payload []byte) error) error {
	if len(s.rest) > 0 {
		s.rest = append(s.rest, piece...)
		piece = s.rest
	}
	for len(piece) >= HeaderSize {
		h, err := parseHeader(piece)
		if err != nil {
			return err
		}
		if h.Size > MaxAnswer {
			return fmt.Errorf("%w: an answer of %d bytes", ErrMalformed, h.Size)
		}
		end := HeaderSize + h.Size
		if len(piece) < end {
			break
		}
		if err := frame(h, piece[HeaderSize:end]); err != nil {
			return err
		}
		piece = piece[end:]
	}
	s.rest = append(s.rest[:0], piece...)
	return nil
}
