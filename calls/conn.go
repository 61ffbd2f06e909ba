package calls

import (
	"io"
	"net"
)

// A handled connection gives its data where it is read, without waking a
// goroutine of ours for it: a stream of a link does.
type handled interface {
	net.Conn
	Handle(data func(p []byte) error, end func(error))
}

// receive hands the frames of a connection to take, until the connection ends or
// take fails, and then calls end once: with io.EOF when it ended between frames.
// take must not wait where the connection is handled; r, when it is not nil, is
// read instead of the connection.
//
// run, which is nil for a handled connection, is for a goroutine of the caller's.
func receive(conn net.Conn, r io.Reader, most int, take func(frame) error, end func(error)) (run func()) {
	a := &assembler{most: most}
	finish := func(err error) {
		if err == io.EOF && !a.between() {
			err = io.ErrUnexpectedEOF
		}
		end(err)
	}
	if h, ok := conn.(handled); ok && r == nil {
		var failed error // why we ended it ourselves
		h.Handle(func(p []byte) error {
			failed = a.feed(p, take)
			return failed
		}, func(err error) {
			if failed != nil {
				err = failed
			}
			finish(err)
		})
		return nil
	}
	if r == nil {
		r = conn
	}
	return func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			if failed := a.feed(buf[:n], take); failed != nil {
				end(failed)
				return
			}
			if err != nil {
				finish(err)
				return
			}
		}
	}
}
