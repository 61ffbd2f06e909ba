package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A diskLog stands between raft and the files. The library survives a failing
// disk in ways that lose data or hang the cluster; this is where that is
// prevented:
//
//   - after the first failed write every later one fails (see DiskError);
//   - a call that hangs is noticed from outside (see Options.DiskStall);
//   - damage that is met stops the filer before it is applied.
type diskLog struct {
	disk   diskStore
	log    string // where the log is
	votes  string // where term and vote are
	stall  time.Duration
	failed atomic.Pointer[DiskError]
	onFail func(error) // told once, of the first failed write
	onWipe func()      // told when raft has deleted the whole log
	fatal  func(error)
	Writes Histogram // durations of writes, each with its syncs
}

var (
	_ raft.LogStore          = (*diskLog)(nil)
	_ raft.StableStore       = (*diskLog)(nil)
	_ raft.MonotonicLogStore = (*diskLog)(nil)
)

// IsMonotonic makes raft delete the whole old log when it installs a snapshot.
// Otherwise a follower with a divergent tail keeps its entry at the snapshot's
// index, refuses what follows, and fetches the snapshot for ever
// (hashicorp/raft issues 697 and 704). That is half of the cure; the other half
// is Store.wiped.
func (d *diskLog) IsMonotonic() bool { return true }

// write runs one write under the watchdog and the latch.
func (d *diskLog) write(path, op string, f func() error) error {
	if err := d.failed.Load(); err != nil {
		return err
	}
	start := time.Now()
	watchdog := time.AfterFunc(d.stall, func() {
		d.fatal(fmt.Errorf("%s: %s has not returned for %v: the disk hangs", path, op, d.stall))
	})
	err := guard(path, f)
	watchdog.Stop()
	d.Writes.observe(time.Since(start))
	if err == nil {
		return nil
	}
	first := &DiskError{path, op, err}
	if d.failed.CompareAndSwap(nil, first) {
		d.onFail(first)
	}
	return d.failed.Load()
}

// guard turns a panic of the bolt library, which is how it reports damage that
// it meets, into an error.
func guard(path string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &DamagedError{path, fmt.Sprint(p)}
		}
	}()
	return f()
}

func (d *diskLog) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *diskLog) StoreLogs(ls []*raft.Log) error {
	return d.write(d.log, "append to log", func() error { return d.disk.StoreLogs(ls) })
}

func (d *diskLog) DeleteRange(lo, hi uint64) error {
	if err := d.write(d.log, "shorten log", func() error { return d.disk.DeleteRange(lo, hi) }); err != nil {
		return err
	}
	if last, err := d.LastIndex(); err == nil && last == 0 {
		d.onWipe()
	}
	return nil
}

// Set stores raft's vote, and SetUint64 its term. Raft panics when it cannot
// store a term, which would take down the whole daemon with its leases. Instead
// the goroutine that asked ends here: without this filer's vote nothing can go
// wrong, and onFail shuts the rest of the node down.
func (d *diskLog) Set(k, v []byte) error {
	err := d.write(d.votes, "store vote", func() error { return d.disk.Set(k, v) })
	if err != nil {
		runtime.Goexit()
	}
	return nil
}

func (d *diskLog) SetUint64(k []byte, v uint64) error {
	err := d.write(d.votes, "store term", func() error { return d.disk.SetUint64(k, v) })
	if err != nil {
		runtime.Goexit()
	}
	return nil
}

// GetLog reads one entry. Raft panics when it cannot read what it must apply, so
// damage stops the filer here, with a message that says what to do.
func (d *diskLog) GetLog(i uint64, l *raft.Log) error {
	err := damaged(d.disk.GetLog(i, l))
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		d.fatal(err)
	}
	return err
}

func (d *diskLog) FirstIndex() (uint64, error) { return d.disk.FirstIndex() }

func (d *diskLog) LastIndex() (uint64, error) { return d.disk.LastIndex() }

// Get passes the absence of a key on as it is: raft recognises it by its text.
func (d *diskLog) Get(k []byte) (v []byte, err error) {
	err = guard(d.votes, func() (e error) { v, e = d.disk.Get(k); return e })
	return v, err
}

func (d *diskLog) GetUint64(k []byte) (v uint64, err error) {
	err = guard(d.votes, func() (e error) { v, e = d.disk.GetUint64(k); return e })
	return v, err
}
