package store

import (
	"math"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// An earlyLog lets a leader write its log while its followers write theirs. The
// library writes the leader's first and only then sends the entries, so that
// every commit waits for two disks one after the other.
//
// Raft allows to send first, as long as the leader does not count itself before
// its own copy is on disk (Ongaro's thesis, 10.2.1). The library counts it as
// soon as StoreLogs returns, so whatever follows from that is held back instead,
// until the entries are on disk:
//
//   - the state machine does not apply them, so nothing is answered and no read
//     sees them (machine.ApplyBatch waits with await);
//   - followers are not told that they are committed (transport.AppendEntries
//     names no more than through).
//
// Only ordinary entries are early. Who the members are takes effect when it is
// appended, and is written first. When this filer does not lead, what it has is on
// disk before anybody hears of it.
type earlyLog struct {
	disk    raft.LogStore
	workers sync.WaitGroup

	mu      sync.Mutex
	moved   *sync.Cond // waiting became shorter, or err or closed was set
	leading func() bool
	waiting []*raft.Log // sent and not yet on disk, without gaps
	writing bool
	err     error // of the first failed write: nothing is written any more
}

// maxEarly bounds how far the leader's disk may be behind.
const maxEarly = 1024

var _ raft.MonotonicLogStore = (*earlyLog)(nil)

func newEarlyLog(disk raft.LogStore) *earlyLog {
	e := &earlyLog{disk: disk, leading: func() bool { return false }}
	e.moved = sync.NewCond(&e.mu)
	return e
}

// lead sets how to find out whether this filer leads.
func (e *earlyLog) lead(leading func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leading = leading
}

// close waits for what is being written.
func (e *earlyLog) close() { e.workers.Wait() }

// IsMonotonic implements raft.MonotonicLogStore.
func (e *earlyLog) IsMonotonic() bool {
	m, ok := e.disk.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// StoreLog implements raft.LogStore.
func (e *earlyLog) StoreLog(l *raft.Log) error { return e.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (e *earlyLog) StoreLogs(ls []*raft.Log) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.leading() || slices.ContainsFunc(ls, func(l *raft.Log) bool { return l.Type == raft.LogConfiguration }) {
		if err := e.settle(); err != nil {
			return err
		}
		return e.disk.StoreLogs(ls)
	}
	for len(e.waiting) > maxEarly && e.err == nil {
		e.moved.Wait()
	}
	if e.err != nil {
		return e.err
	}
	e.waiting = append(e.waiting, ls...)
	if !e.writing {
		e.writing = true
		e.workers.Go(e.write)
	}
	return nil
}

// write brings to disk what waits, and ends when nothing does.
func (e *earlyLog) write() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.waiting) > 0 && e.err == nil {
		now := slices.Clone(e.waiting)
		e.mu.Unlock()
		err := e.disk.StoreLogs(now)
		e.mu.Lock()
		if e.err = err; err == nil {
			e.waiting = slices.Clone(e.waiting[len(now):])
		}
		e.moved.Broadcast()
	}
	e.writing = false
}

// settle waits until everything is on disk. e.mu is held.
func (e *earlyLog) settle() error {
	for len(e.waiting) > 0 && e.err == nil {
		e.moved.Wait()
	}
	return e.err
}

// await waits until the entry is on disk.
func (e *earlyLog) await(index uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.waiting) > 0 && e.waiting[0].Index <= index && e.err == nil {
		e.moved.Wait()
	}
	if len(e.waiting) > 0 && e.waiting[0].Index <= index {
		return e.err
	}
	return nil
}

// through is the newest entry of which every one up to it is on disk; without any
// that waits, whatever has been appended.
func (e *earlyLog) through() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) == 0 {
		return math.MaxUint64
	}
	return e.waiting[0].Index - 1
}

// GetLog implements raft.LogStore. A filer that does not lead any more tells a
// leader that it has an entry after looking it up here.
func (e *earlyLog) GetLog(index uint64, l *raft.Log) error {
	e.mu.Lock()
	if len(e.waiting) > 0 && index >= e.waiting[0].Index && index <= e.waiting[len(e.waiting)-1].Index {
		if e.leading() {
			*l = *e.waiting[index-e.waiting[0].Index]
			e.mu.Unlock()
			return nil
		}
		if err := e.settle(); err != nil {
			e.mu.Unlock()
			return err
		}
	}
	e.mu.Unlock()
	return e.disk.GetLog(index, l)
}

// FirstIndex implements raft.LogStore.
func (e *earlyLog) FirstIndex() (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, err := e.disk.FirstIndex()
	if err == nil && first == 0 && len(e.waiting) > 0 {
		first = e.waiting[0].Index
	}
	return first, err
}

// LastIndex implements raft.LogStore.
func (e *earlyLog) LastIndex() (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.waiting); n > 0 {
		return e.waiting[n-1].Index, nil
	}
	return e.disk.LastIndex()
}

// DeleteRange implements raft.LogStore. Raft deletes behind a snapshot while it
// appends, and must not wait then for a moment without appends.
func (e *earlyLog) DeleteRange(lo, hi uint64) error {
	e.mu.Lock()
	if len(e.waiting) > 0 && hi >= e.waiting[0].Index {
		if err := e.settle(); err != nil {
			e.mu.Unlock()
			return err
		}
	}
	e.mu.Unlock()
	return e.disk.DeleteRange(lo, hi)
}
