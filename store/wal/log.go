package wal

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// SegmentSize is the size of a segment unless one append needs more.
const SegmentSize = 8 << 20

var (
	// ErrGap: an entry does not follow the last one.
	ErrGap = errors.New("gap in the log")
	// ErrMiddle: only the beginning or the end of a log can be deleted.
	ErrMiddle = errors.New("cannot delete entries from the middle of the log")
)

// A DamagedError says which file is not as it was written.
type DamagedError struct {
	Path string // of a segment, or of the directory when one is missing
	What string
}

func (e *DamagedError) Error() string { return e.Path + " is damaged: " + e.What }

// A Log is the log in one directory. Its methods may be called concurrently: raft
// shortens a log behind a snapshot while it appends.
type Log struct {
	dir         string
	segmentSize int64
	dropped     int64

	change sync.Mutex // held by whoever appends, deletes or closes
	closed bool
	buffer []byte // of appends

	mu       sync.RWMutex
	segments []*segment // by serial; appends go to the last
	first    uint64     // index of entries[0]
	entries  []position
}

var (
	_ raft.LogStore          = (*Log)(nil)
	_ raft.MonotonicLogStore = (*Log)(nil)
)

// A position is where an entry stands.
type position struct {
	segment *segment
	offset  int64
	body    uint32 // length
}

// Exists reports whether there is a log in the directory.
func Exists(dir string) (bool, error) {
	serials, err := list(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return len(serials) > 0, err
}

// Open opens the log in a directory, and makes it if it is not there. Its error
// is a *DamagedError when the files are not as they were written; they are left
// as they are then.
func Open(dir string) (*Log, error) { return open(dir, SegmentSize) }

func open(dir string, segmentSize int64) (_ *Log, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, segmentSize: segmentSize}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.removeUnfinished(); err != nil {
		return nil, err
	}
	if err := l.replay(); err != nil {
		return nil, err
	}
	if len(l.segments) == 0 {
		return l, l.grow(1, segmentSize)
	}
	return l, nil
}

// Dropped is how many bytes of an append that a power cut tore were found and
// cleared at opening.
func (l *Log) Dropped() int64 { return l.dropped }

// Close closes the files, when an append that is under way has ended: raft's
// goroutines may outlive a shutdown that the library began by itself. Later appends
// are refused with os.ErrClosed.
func (l *Log) Close() error {
	l.change.Lock()
	defer l.change.Unlock()
	l.closed = true
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	l.segments, l.entries = nil, nil
	return errors.Join(errs...)
}

// IsMonotonic implements raft.MonotonicLogStore: a gap is refused.
func (l *Log) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.entries) == 0 {
		return 0, nil
	}
	return l.first, nil
}

// LastIndex implements raft.LogStore.
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last(), nil
}

// last is the newest index, 0 when there is none. l.mu is held.
func (l *Log) last() uint64 {
	if len(l.entries) == 0 {
		return 0
	}
	return l.first + uint64(len(l.entries)) - 1
}

// GetLog implements raft.LogStore. What it reads is checked.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.entries) == 0 || index < l.first || index > l.last() {
		return raft.ErrLogNotFound
	}
	at := l.entries[index-l.first]
	b := make([]byte, padded(int(at.body)))
	if _, err := at.segment.file.ReadAt(b, at.offset); err != nil {
		return err
	}
	r, ok, err := parse(b, at.segment.serial, at.offset)
	if err == nil && !ok {
		err = errNoLength
	}
	if err == nil {
		err = decodeEntry(r.body, out)
	}
	if err == nil && out.Index != index {
		err = fmt.Errorf("it holds entry %d", out.Index)
	}
	if err != nil {
		return &DamagedError{at.segment.path, fmt.Sprintf("entry %d at byte %d: %v", index, at.offset, err)}
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (l *Log) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore: the entries are on disk when it returns.
// The first may have the index of an entry that is there already; it and what
// followed it is replaced then. After an error the log must be opened anew:
// nobody can tell what is on the disk.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.change.Lock()
	defer l.change.Unlock()
	if l.closed {
		return fmt.Errorf("append to the log: %w", os.ErrClosed)
	}
	for i, e := range entries {
		if i > 0 && e.Index != entries[i-1].Index+1 {
			return fmt.Errorf("%w: entry %d follows entry %d", ErrGap, e.Index, entries[i-1].Index)
		}
		if len(e.Data)+len(e.Extensions) > maxBody-entryFixed {
			return fmt.Errorf("entry %d has %d bytes; at most %d can be stored", e.Index, len(e.Data)+len(e.Extensions), maxBody-entryFixed)
		}
	}
	if last, _ := l.LastIndex(); last > 0 && entries[0].Index > last+1 {
		return fmt.Errorf("%w: entry %d follows entry %d", ErrGap, entries[0].Index, last)
	}
	total := int64(0)
	for _, e := range entries {
		total += int64(padded(bodySize(e)))
	}
	s, err := l.segmentFor(total)
	if err != nil {
		return err
	}
	start := s.end
	if err := l.write(s, entries); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		n := bodySize(e)
		if err := l.place(e.Index, position{s, start, uint32(n)}); err != nil {
			return err
		}
		start += int64(padded(n))
	}
	return nil
}

// chunk is about how much is encoded before it is written.
const chunk = 1 << 20

// write brings the entries to disk as one append: they are written in chunks, and
// synced together.
func (l *Log) write(s *segment, entries []*raft.Log) error {
	b, at := l.buffer[:0], s.end
	defer func() {
		if l.buffer = b[:0]; cap(b) > 2*chunk {
			l.buffer = nil
		}
	}()
	for i, e := range entries {
		b = appendEntry(b, e)
		if len(b) < chunk && i < len(entries)-1 {
			continue
		}
		seal(b, s.serial, at, s.end)
		if err := s.write(b, at); err != nil {
			return err
		}
		at += int64(len(b))
		b = b[:0]
	}
	return s.sync(at)
}

// segmentFor returns the newest segment, or a new one when there is no room for n
// bytes: an append never spans two.
func (l *Log) segmentFor(n int64) (*segment, error) {
	l.mu.RLock()
	s := l.segments[len(l.segments)-1]
	l.mu.RUnlock()
	if n <= s.room() {
		return s, nil
	}
	if err := l.grow(s.serial+1, max(l.segmentSize, headerSize+n)); err != nil {
		return nil, err
	}
	return l.segments[len(l.segments)-1], nil
}

func (l *Log) grow(serial uint64, size int64) error {
	s, err := createSegment(l.dir, serial, size)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, s)
	return nil
}

// DeleteRange implements raft.LogStore for the beginning, the end or the whole
// of the log.
//
// Deleting at the end writes nothing: the next entry voids what it replaces. Until
// then the old end would be back after a power cut, which raft allows, because it
// has not promised anybody yet that it is gone. Deleting at the beginning removes
// the segments that hold nothing else.
func (l *Log) DeleteRange(lo, hi uint64) error {
	l.change.Lock()
	defer l.change.Unlock()
	if l.closed {
		return fmt.Errorf("delete from the log: %w", os.ErrClosed)
	}
	l.mu.Lock()
	first, last := l.first, l.last()
	switch {
	case len(l.entries) == 0 || lo > last || hi < first || lo > hi:
		l.mu.Unlock()
		return nil
	case lo <= first && hi >= last:
		l.mu.Unlock()
		return l.reset()
	case lo <= first:
		l.entries = slices.Clone(l.entries[hi+1-first:])
		l.first = hi + 1
	case hi >= last:
		l.entries = l.entries[:lo-first]
	default:
		l.mu.Unlock()
		return fmt.Errorf("%w: %d to %d of %d to %d", ErrMiddle, lo, hi, first, last)
	}
	oldest := l.entries[0].segment
	l.mu.Unlock()
	return l.removeBefore(oldest)
}

// reset voids the whole log in one step: were its files just removed one by one, a
// power cut would leave a part of it.
func (l *Log) reset() error {
	b := appendReset(nil)
	s, err := l.segmentFor(int64(len(b)))
	if err != nil {
		return err
	}
	seal(b, s.serial, s.end, s.end)
	if err := errors.Join(s.write(b, s.end), s.sync(s.end+int64(len(b)))); err != nil {
		return err
	}
	l.mu.Lock()
	l.entries = nil
	l.mu.Unlock()
	return l.removeBefore(s)
}

// removeBefore removes the segments before one, the oldest first, so that what is
// left after a power cut has no gap.
func (l *Log) removeBefore(s *segment) error {
	l.mu.Lock()
	n := slices.Index(l.segments, s)
	old := slices.Clone(l.segments[:n])
	l.segments = slices.Delete(l.segments, 0, n)
	l.mu.Unlock()
	for _, o := range old {
		if err := o.remove(); err != nil {
			return err
		}
	}
	if len(old) == 0 {
		return nil
	}
	return syncDir(l.dir)
}
