package messages

import (
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// shrinkFrom is how much of the file must be free before it is worth a copy.
const shrinkFrom = 32 << 20

// worthShrinking decides by the bytes of a file and those of them that are free.
// What is copied is less than what is won, so that a file whose size is needed now
// and then is left alone.
func worthShrinking(size, free int64) bool { return free >= shrinkFrom && free > size/2 }

// shrink gives the disk back what a time of many messages has left free: bolt uses
// that again but never returns it. What is in use is copied beside the file and
// renamed, before anything else has begun. Without room for the copy the file stays.
func (n *Node) shrink(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	free := int64(n.db.Stats().FreePageN) * int64(n.db.Info().PageSize)
	if !worthShrinking(info.Size(), free) {
		return nil
	}
	small, err := compact(n.db, path+".new")
	if err != nil {
		n.log.Warn("the file of messages stays as large as it is", "file", path, "bytes", info.Size(), "free", free, "error", err)
		return nil
	}
	if err := os.Rename(path+".new", path); err != nil {
		return errors.Join(err, small.Close())
	}
	large := n.db
	n.db = small
	return errors.Join(syncDir(filepath.Dir(path)), large.Close()) // which was locked until now, as small is
}

// compact copies what is in use, to the disk.
func compact(db *bbolt.DB, to string) (*bbolt.DB, error) {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // left by a crash
	}
	small, err := openBolt(to)
	if err != nil {
		return nil, err
	}
	small.NoSync = true // nobody reads it before it is whole
	if err = bbolt.Compact(small, db, maxBatchBytes); err == nil {
		err = small.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, small.Close(), os.Remove(to))
	}
	small.NoSync = false
	return small, nil
}
