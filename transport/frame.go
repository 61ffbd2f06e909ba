package transport

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// A frame is four bytes of length, most significant first, and that much JSON.

// A FrameError reports a frame that was refused for its form.
type FrameError struct{ Message string }

func (e *FrameError) Error() string { return "frame: " + e.Message }

func writeFrame(w io.Writer, most int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a frame: %w", err)
	}
	if len(body) > most {
		return &FrameError{fmt.Sprintf("%d bytes to send, the limit is %d", len(body), most)}
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(out, body...))
	return err
}

// readFrame reads one frame. The length is checked before anything is reserved
// for it. A clean end is io.EOF; an end inside a frame is io.ErrUnexpectedEOF.
func readFrame(r io.Reader, most int, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > uint32(most) {
		return &FrameError{fmt.Sprintf("%d bytes announced, the limit is %d", n, most)}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &FrameError{"not the JSON that was expected"} // the cause might quote a secret
	}
	return nil
}
