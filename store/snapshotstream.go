package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/netquorum/netquorum/store/raftwire"
)

// snapshotLimits bound the progress of a snapshot on its way and not its duration:
// a large one on a slow path takes as long as it takes.
type snapshotLimits struct {
	stall  time.Duration // without a byte that moves
	window int64         // of bytes that are sent and not acknowledged
	// What comes after the last byte, when nothing moves any more: the receiver syncs
	// its file and restores its state from it.
	finish, finishPerMiB time.Duration
}

var defaultSnapshotLimits = snapshotLimits{stall: 10 * time.Second, window: 8 * raftwire.MaxChunk, finish: 30 * time.Second, finishPerMiB: time.Second}

func (l snapshotLimits) finishing(size int64) time.Duration {
	return l.finish + time.Duration(size>>20)*l.finishPerMiB
}

// install sends a snapshot. The stream carries nothing else meanwhile: raft sends a
// filer one snapshot at a time.
func (c *caller) install(req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader, limits snapshotLimits) error {
	s, err := c.connect(time.Now().Add(limits.stall))
	if err != nil {
		return err
	}
	id, call, err := s.begin(resp)
	if err != nil {
		return err
	}
	call.moved = make(chan struct{}, 1)
	watchdog := time.AfterFunc(limits.stall, func() {
		s.end(fmt.Errorf("filer %s: the snapshot does not get on: %w", s.to, os.ErrDeadlineExceeded))
	})
	defer watchdog.Stop()
	if err := s.send(raftwire.Install, id, req); err != nil {
		s.forget(id)
		return err
	}
	chunk := make([]byte, raftwire.HeaderSize+raftwire.MaxChunk)
	for sent := int64(0); ; {
		taken := call.taken.Load()
		switch {
		case taken > sent:
			s.end(fmt.Errorf("%w: %d bytes of a snapshot were taken, of %d", raftwire.ErrMalformed, taken, sent))
		case taken == req.Size:
			watchdog.Reset(limits.finishing(req.Size))
		case sent < req.Size && sent-taken < limits.window:
			n, err := s.sendChunk(id, chunk, req.Size-sent, data)
			if sent += n; err == nil {
				continue
			}
			s.end(err) // which answers the call
		}
		select {
		case err := <-call.done:
			if sent < req.Size {
				s.end(errors.New("a snapshot was broken off")) // the stream is in the middle of it
			}
			return err
		case <-call.moved:
			watchdog.Reset(limits.stall)
		}
	}
}

func (s *callStream) sendChunk(id uint32, chunk []byte, left int64, data io.Reader) (int64, error) {
	n := min(left, raftwire.MaxChunk)
	raftwire.Begin(chunk[:0], raftwire.Chunk, id)
	chunk = chunk[:raftwire.HeaderSize+n]
	if _, err := io.ReadFull(data, chunk[raftwire.HeaderSize:]); err != nil {
		return 0, fmt.Errorf("read the snapshot: %w", err)
	}
	if err := raftwire.Finish(chunk, 0); err != nil {
		return 0, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.conn.Write(chunk)
	return n, err
}

// install has raft install the snapshot that follows on the stream.
func (s *answerer) install(call uint32, req *raft.InstallSnapshotRequest, r *raftwire.Reader) error {
	d := &snapshotReader{answerer: s, stream: r, call: call, from: req.ID, size: req.Size}
	err := s.ask(call, raft.RPC{Command: req, Reader: d}, s.answers)
	if err == nil && d.got < d.size {
		err = fmt.Errorf("a snapshot was left after %d of %d bytes", d.got, d.size)
	}
	return errors.Join(err, s.conn.SetReadDeadline(time.Time{}))
}

// A snapshotReader is a snapshot as raft reads it: what raft does not take stays in
// the stream and holds up the sender. Raft does nothing else until it has read it
// all, not even vote. So when nothing comes, and no heartbeat either, the sender is
// taken for dead, and its successor does not have to wait.
type snapshotReader struct {
	*answerer
	stream *raftwire.Reader
	call   uint32
	from   []byte
	size   int64
	got    int64 // by raft
	chunk  int   // what is left of the chunk
	err    error
}

// Read implements io.Reader.
func (d *snapshotReader) Read(b []byte) (n int, err error) {
	if d.err == nil && d.chunk == 0 {
		d.err = d.next()
	}
	if d.err != nil {
		return 0, d.err
	}
	d.err = d.await(func() error {
		n, err = d.stream.Read(b[:min(len(b), d.chunk)])
		return err
	})
	d.chunk -= n
	d.got += int64(n)
	return n, d.err
}

// next acknowledges a chunk and begins with the next one.
func (d *snapshotReader) next() error {
	if err := d.acknowledge(); err != nil {
		return err
	}
	if d.got == d.size {
		return io.EOF
	}
	return d.await(func() error {
		h, err := d.stream.Next()
		if err == nil && (h.Kind != raftwire.Chunk || h.Call != d.call || h.Size == 0 || h.Size > raftwire.MaxChunk || int64(h.Size) > d.size-d.got) {
			err = fmt.Errorf("%w: %+v within a snapshot of %d bytes, of which %d came", raftwire.ErrMalformed, h, d.size, d.got)
		}
		d.chunk = h.Size
		return err
	})
}

func (d *snapshotReader) acknowledge() error {
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.write(raftwire.AppendTaken(d.buf[:0], d.call, d.got))
}

// await reads until something comes or there is no hope.
func (d *snapshotReader) await(read func() error) error {
	t := d.transport
	for began := time.Now(); ; {
		if err := d.conn.SetReadDeadline(time.Now().Add(t.urgent)); err != nil {
			return err
		}
		err := read()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		switch now := time.Now(); {
		case now.Sub(t.heard.of(d.from)) > t.urgent:
			return fmt.Errorf("filer %s fell silent within its snapshot", d.from)
		case now.Sub(began) > t.snapshot.stall:
			return fmt.Errorf("nothing came of the snapshot of filer %s for %v", d.from, t.snapshot.stall)
		}
	}
}
