package messages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/netquorum/netquorum"
)

// openFiles opens the directory and makes the memory's picture of it. The file is
// made beside and renamed, because bolt's is not safe against a power cut while it
// is first made.
func (n *Node) openFiles() error {
	dir := n.cfg.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	path := filepath.Join(dir, "messages.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path, n.cfg.Self); err != nil {
			return fmt.Errorf("creating %s: %w", path, err)
		}
	}
	n.spool = spool{dir: filepath.Join(dir, "spool")}
	if err := os.MkdirAll(n.spool.dir, 0o700); err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	if err := inspect(path); err != nil {
		return fmt.Errorf("%s: %w; move the directory %s away to start with an empty outbox and inbox", path, err, dir)
	}
	err := guard(func() (err error) {
		if n.db, err = openOwn(path); err != nil {
			return err
		}
		if err = n.shrink(path); err == nil {
			err = errors.Join(n.begin(), n.load())
		}
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s is in use: another netquorum runs with this directory", path)
	case err != nil:
		err = fmt.Errorf("opening %s: %w; move the directory %s away to start with an empty outbox and inbox", path, err, dir)
		if n.db != nil && !errors.Is(err, errDamaged) {
			err = errors.Join(err, n.db.Close())
		}
	}
	return err
}

var errDamaged = errors.New("it is damaged")

// inspect reads all of a file. When bolt opens one for writing it looks for free
// pages in a goroutine of its own, whose panic would be the daemon's.
func inspect(path string) error {
	return guard(func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
		if err != nil {
			return err
		}
		err = db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return readAll(b) })
		})
		return errors.Join(err, db.Close())
	})
}

func readAll(b *bbolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return readAll(b.Bucket(k))
		}
		return nil
	})
}

// guard makes an error of what bolt does with a damaged file: it panics, or reads
// behind the file's end.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errDamaged, v)
		}
	}()
	return f()
}

// openOwn opens the file that has the path. Another process may have put a smaller
// one in its place while its lock was waited for.
func openOwn(path string) (*bbolt.DB, error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	after, err := os.Stat(path)
	if err == nil && !os.SameFile(before, after) {
		err = bolterrors.ErrTimeout
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func openBolt(path string) (*bbolt.DB, error) {
	return bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
}

func create(path string, self netquorum.FilerID) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openBolt(tmp)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		id := newIncarnation()
		return errors.Join(tx.Bucket(bucketMeta).Put(keyIncarnation, id[:]), tx.Bucket(bucketMeta).Put(keySelf, []byte(self)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// begin draws the numbers of this run's sessions: they follow all earlier ones.
func (n *Node) begin() error {
	return n.db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: no bucket %s", errFormat, name)
			}
		}
		if self := netquorum.FilerID(meta.Get(keySelf)); self != n.cfg.Self {
			return fmt.Errorf("%w: it belongs to %s and not to %s", ErrForeign, self, n.cfg.Self)
		}
		if copy(n.incarnation[:], meta.Get(keyIncarnation)) != len(n.incarnation) {
			return fmt.Errorf("%w: no incarnation", errFormat)
		}
		var runs uint64
		if b := meta.Get(keySession); len(b) == 8 {
			runs = binary.BigEndian.Uint64(b)
		}
		n.session = (runs + 1) << 32
		return meta.Put(keySession, binary.BigEndian.AppendUint64(nil, runs+1))
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load makes the memory's picture of the file, and removes files of the spool that
// no record names.
func (n *Node) load() error {
	named := map[string]bool{}
	err := n.db.View(func(tx *bbolt.Tx) error {
		return errors.Join(
			each(tx, bucketClients, func(k, v []byte) error { return n.loadClient(string(k), v) }),
			each(tx, bucketOut, func(_, v []byte) error { return n.loadOut(v, named) }),
			each(tx, bucketDone, func(k, v []byte) error { return n.loadDone(k, v) }),
			each(tx, bucketPeers, n.loadLatest),
			each(tx, bucketIn, func(k, v []byte) error { return n.loadIn(k, v, named) }),
			each(tx, bucketKeys, n.loadKey),
		)
	})
	if err != nil {
		return err
	}
	return n.spool.keep(named)
}

func each(tx *bbolt.Tx, bucket []byte, f func(k, v []byte) error) error {
	return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
		if err := f(k, v); err != nil {
			return fmt.Errorf("%s %q: %w", bucket, k, err)
		}
		return nil
	})
}
