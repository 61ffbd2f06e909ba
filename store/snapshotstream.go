package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
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
	watchdog := time.AfterFunc(limits.stall, func() {
		s.end(fmt.Errorf("filer %s: the snapshot does not get on: %w", s.to, os.ErrDeadlineExceeded))
	})
	defer watchdog.Stop()
	var taken atomic.Int64
	moved := make(chan struct{}, 1) // holds one item when more was taken
	id, call, err := s.begin(resp, func(total int64) {
		watchdog.Reset(limits.stall)
		taken.Store(total)
		select {
		case moved <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	if err := s.send(raftwire.Install, id, req); err != nil {
		s.forget(id)
		return err
	}
	buf := make([]byte, 0, raftwire.HeaderSize+raftwire.ChunkHead+raftwire.MaxChunk)
	for sent := int64(0); ; {
		switch taken := taken.Load(); {
		case taken > sent:
			s.end(fmt.Errorf("%w: %d bytes of a snapshot were taken, of %d", raftwire.ErrMalformed, taken, sent))
		case taken == req.Size:
			watchdog.Reset(limits.finishing(req.Size))
		case sent < req.Size && sent-taken < limits.window:
			chunk := raftwire.BeginChunk(buf, id, sent)
			n := min(req.Size-sent, raftwire.MaxChunk)
			if err = s.sendChunk(chunk, chunk[len(chunk):int64(len(chunk))+n], data); err == nil {
				sent += n
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
		case <-moved:
		}
	}
}

// sendChunk fills a chunk behind its head with data, and sends it.
func (s *callStream) sendChunk(head, room []byte, data io.Reader) error {
	if _, err := io.ReadFull(data, room); err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	chunk := head[:len(head)+len(room)]
	if err := raftwire.Finish(chunk, 0); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.conn.Write(chunk)
	return err
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
	acked  time.Time
	err    error
}

// Read implements io.Reader.
func (d *snapshotReader) Read(b []byte) (n int, err error) {
	if d.err == nil && (d.chunk == 0 || time.Since(d.acked) > ackEvery) {
		d.err = d.acknowledge()
	}
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

// next begins with the next chunk.
func (d *snapshotReader) next() error {
	if d.got == d.size {
		return io.EOF
	}
	var h raftwire.Header
	var offset int64
	err := d.await(func() (err error) { h, err = d.stream.Next(); return err })
	if err == nil {
		err = d.await(func() (err error) { offset, err = d.stream.Offset(); return err })
	}
	if err != nil {
		return err
	}
	d.chunk = h.Size - raftwire.ChunkHead
	if h.Kind != raftwire.Chunk || h.Call != d.call || offset != d.got || d.chunk <= 0 || d.chunk > raftwire.MaxChunk || int64(d.chunk) > d.size-d.got {
		return fmt.Errorf("%w: %+v at offset %d within a snapshot of %d bytes, of which %d came", raftwire.ErrMalformed, h, offset, d.size, d.got)
	}
	return nil
}

// ackEvery is how long a chunk may take without a word: on a slow path the sender
// sees progress within it.
const ackEvery = time.Second

func (d *snapshotReader) acknowledge() error {
	d.acked = time.Now()
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
