package messages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// A transfer is a body on its way to a peer.
type transfer struct {
	out    *out
	file   *os.File
	offset int64
}

func (t *transfer) close() { t.file.Close() }

// want: the peer asks for a body from an offset on.
func (s *outSession) want(id ID, offset int64) error {
	n := s.node
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.out(id)
	if o == nil || o.at != s.peer.id || !o.env.spooled || o.completing {
		return nil // it has been completed or moved on meanwhile
	}
	if offset > o.env.size {
		return fmt.Errorf("%w: offset %d of a body of %d bytes is wanted", errFormat, offset, o.env.size)
	}
	f, err := os.Open(n.spool.path(o.file))
	if err != nil {
		return fmt.Errorf("the body of %s: %w", id, err)
	}
	if i := slices.IndexFunc(s.transfers, func(t *transfer) bool { return t.out == o }); i >= 0 {
		s.transfers[i].close()
		s.transfers = slices.Delete(s.transfers, i, i+1)
	}
	s.transfers = append(s.transfers, &transfer{out: o, file: f, offset: offset})
	poke(s.wake[Bulk])
	return nil
}

// writeBulk writes bulk messages and the bodies of all. The stream is opened when
// it is needed.
func (s *outSession) writeBulk(ctx context.Context) error {
	var conn net.Conn
	ended := make(chan error, 1)
	defer func() {
		if conn != nil {
			conn.Close()
			<-ended
		}
	}()
	buf := make([]byte, 0, chunkSize+1024)
	for {
		b, err := s.bulk(buf)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-ended:
				ended <- err
				return err
			case <-s.wake[Bulk]:
			}
			continue
		}
		if conn == nil {
			if conn, err = s.node.open(ctx, s.peer.id, ClassBulk); err != nil {
				return err
			}
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if err := errors.Join(s.greet(conn, ClassBulk), conn.SetDeadline(time.Time{})); err != nil {
				ended <- nil
				return err
			}
			go func() { // the peer says nothing here; it ends the stream with the session
				_, err := io.Copy(io.Discard, conn)
				ended <- errors.Join(errPeerClosed, err)
			}()
		}
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
}

// bulk encodes what goes next on the bulk stream. Bodies of control messages come
// first; then messages and bodies take turns, and so do bodies among each other.
func (s *outSession) bulk(buf []byte) ([]byte, error) {
	n := s.node
	n.mu.Lock()
	i := slices.IndexFunc(s.transfers, func(t *transfer) bool { return t.out.env.priority == Control })
	if i < 0 && len(s.transfers) > 0 {
		if s.turn++; s.turn%2 == 0 || len(s.active[Bulk])+len(s.notes[Bulk]) == 0 {
			i = 0
		}
	}
	if i < 0 {
		n.mu.Unlock()
		return s.collect(Bulk)
	}
	t := s.transfers[i]
	s.transfers = slices.Delete(s.transfers, i, i+1)
	live := n.out(t.out.env.id) == t.out && !t.out.completing && t.out.at == s.peer.id
	n.mu.Unlock()
	if !live {
		t.close()
		return s.bulk(buf)
	}
	b := beginChunk(buf[:0], t.out.env.id, t.offset)
	at := len(b)
	b = slices.Grow(b, chunkSize)[:at+int(min(chunkSize, t.out.env.size-t.offset))]
	if _, err := t.file.ReadAt(b[at:], t.offset); err != nil {
		t.close()
		return nil, fmt.Errorf("the body of %s: %w", t.out.env.id, err)
	}
	t.offset += int64(len(b) - at)
	if t.offset == t.out.env.size {
		t.close()
	} else {
		n.mu.Lock()
		if slices.ContainsFunc(s.transfers, func(x *transfer) bool { return x.out == t.out }) {
			t.close() // it was asked for anew meanwhile
		} else {
			s.transfers = append(s.transfers, t)
		}
		n.mu.Unlock()
	}
	return endFrame(b, 0), nil
}
