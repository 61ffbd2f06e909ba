package messages

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// An op is a part of a transaction. do may be called more than once, each time in
// a transaction in which nothing of the earlier calls is left; when it fails, only
// this op is taken out. All others are called at most once, in the order of the
// transaction, and but for do each may be nil: begin before the first do and book
// after the sync, with the lock of the books held, which all of a transaction take
// together; done when all are booked, so that whoever it wakes finds the lock free.
// After a failure there may have been no begin.
type op struct {
	begin  func()
	do     func(*bbolt.Tx) error
	verify func() error // asked right before the commit; nil for nothing to ask
	book   func(error)
	done   func(error)
	bytes  int
}

// Bounds of one transaction, so that nobody waits long for another's bytes.
const (
	maxBatchOps   = 1024
	maxBatchBytes = 1 << 20
	minBatchBulk  = 8
)

// gatherTurns is how often in a row others get their turn without anything more to
// write: some microseconds, where a sync takes hundreds.
const gatherTurns = 64

// A committer is the only writer of the file. It makes one transaction of all that
// waits while the one before is synced: control first, and always some bulk.
type committer struct {
	db    *bbolt.DB
	books sync.Locker // held by nobody who waits for the committer

	mu      sync.Mutex
	work    *sync.Cond
	queues  [2][]*op     // by priority
	waiting atomic.Int64 // in the queues
	failed  error
	closed  bool
	syncs   uint64
	ops     uint64
	ended   chan struct{}
	onFail  func(error)
}

func newCommitter(db *bbolt.DB, books sync.Locker, onFail func(error)) *committer {
	c := &committer{db: db, books: books, ended: make(chan struct{}), onFail: onFail}
	c.work = sync.NewCond(&c.mu)
	go c.run()
	return c
}

// submit never waits. When the file has failed or is closed, the op ends at once,
// in a goroutine of its own.
func (c *committer) submit(p Priority, o *op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.unusable(); err != nil {
		go c.settle([]*op{o}, err)
		return
	}
	c.queues[p] = append(c.queues[p], o)
	c.waiting.Add(1)
	c.work.Signal()
}

func (c *committer) unusable() error {
	switch {
	case c.failed != nil:
		return c.failed
	case c.closed:
		return ErrClosed
	}
	return nil
}

// close lets what is queued go to the disk, and waits for it.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.work.Signal()
	c.mu.Unlock()
	<-c.ended
}

func (c *committer) run() {
	defer close(c.ended)
	for {
		c.mu.Lock()
		for len(c.queues[Control])+len(c.queues[Bulk]) == 0 {
			if c.closed {
				c.mu.Unlock()
				return
			}
			c.work.Wait()
		}
		c.mu.Unlock()
		c.gather()
		c.mu.Lock()
		batch := c.take()
		c.mu.Unlock()
		c.commit(batch)
	}
}

// gather lets run whoever the last transaction woke and is about to submit the
// next, so that one transaction is made of it and not two. Other processors may
// still be at it when this one has nothing else to do: it is over when some turns
// in a row have brought nothing.
func (c *committer) gather() {
	for quiet, before := 0, int64(0); quiet < gatherTurns; quiet++ {
		runtime.Gosched()
		waiting := c.waiting.Load()
		if waiting >= maxBatchOps {
			return
		}
		if waiting > before {
			quiet = 0
		}
		before = waiting
	}
}

// take removes the next transaction's ops from the queues.
func (c *committer) take() []*op {
	var batch []*op
	bytes := 0
	from := func(p Priority, least int) {
		q, n := c.queues[p], 0
		for n < len(q) && (n < least || len(batch) < maxBatchOps && bytes < maxBatchBytes) {
			batch = append(batch, q[n])
			bytes += q[n].bytes
			n++
		}
		c.queues[p] = slices.Delete(q, 0, n)
	}
	from(Control, 1)
	from(Bulk, minBatchBulk)
	c.waiting.Add(-int64(len(batch)))
	return batch
}

// commit writes a batch, less the ops that fail.
func (c *committer) commit(batch []*op) {
	c.books.Lock()
	for _, o := range batch {
		if o.begin != nil {
			o.begin()
		}
	}
	c.books.Unlock()
	for len(batch) > 0 {
		c.mu.Lock()
		err := c.failed
		c.mu.Unlock()
		bad := -1
		if err == nil {
			bad, err = c.try(batch)
		}
		if bad >= 0 {
			c.settle(batch[bad:bad+1], err)
			batch = slices.Delete(batch, bad, bad+1)
			continue
		}
		if err != nil {
			err = c.fail(err)
		}
		c.settle(batch, err)
		return
	}
}

// settle tells what became of ops.
func (c *committer) settle(ops []*op, err error) {
	c.books.Lock()
	for _, o := range ops {
		if o.book != nil {
			o.book(err)
		}
	}
	c.books.Unlock()
	for _, o := range ops {
		if o.done != nil {
			o.done(err)
		}
	}
}

// try writes all of a batch. It returns the index of an op that failed, or -1 and
// what the disk said.
func (c *committer) try(batch []*op) (bad int, err error) {
	tx, err := c.db.Begin(true)
	if err != nil {
		return -1, err
	}
	defer tx.Rollback() // does nothing after a commit
	for i, o := range batch {
		if err := o.do(tx); err != nil {
			return i, err
		}
	}
	for i, o := range batch {
		if o.verify == nil {
			continue
		}
		if err := o.verify(); err != nil {
			return i, err
		}
	}
	if err := tx.Commit(); err != nil {
		return -1, err
	}
	c.mu.Lock()
	c.syncs++
	c.ops += uint64(len(batch))
	c.mu.Unlock()
	return -1, nil
}

// fail remembers the first failure for ever.
func (c *committer) fail(err error) error {
	c.mu.Lock()
	first := c.failed == nil
	if first {
		c.failed = fmt.Errorf("%w: %w; restart the daemon when the disk is well", ErrDisk, err)
	}
	err = c.failed
	c.mu.Unlock()
	if first {
		c.onFail(err)
	}
	return err
}
